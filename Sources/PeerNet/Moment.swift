/// A point on the driver's monotonic clock, in nanoseconds; only differences mean anything.
package struct Moment: Hashable, Comparable, Sendable {
    /// Nanoseconds since the driver's arbitrary zero.
    package var nanoseconds: UInt64

    /// Takes nanoseconds since the driver's arbitrary zero.
    package init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

    /// The clock's zero.
    package static let zero = Moment(nanoseconds: 0)

    /// Orders by time.
    package static func < (left: Moment, right: Moment) -> Bool { left.nanoseconds < right.nanoseconds }

    /// The moment `duration` later, saturating at the clock's end and zero.
    package static func + (moment: Moment, duration: Duration) -> Moment {
        let step = duration.nanosecondsClamped
        let (sum, overflow) =
            step >= 0
            ? moment.nanoseconds.addingReportingOverflow(UInt64(step))
            : moment.nanoseconds.subtractingReportingOverflow(step.magnitude)
        if overflow { return Moment(nanoseconds: step >= 0 ? .max : 0) }
        return Moment(nanoseconds: sum)
    }

    /// The time from `earlier` to `later`; negative if they are the other way round.
    package static func - (later: Moment, earlier: Moment) -> Duration {
        later >= earlier
            ? .nanoseconds(Int64(clamping: later.nanoseconds - earlier.nanoseconds))
            : .nanoseconds(-Int64(clamping: earlier.nanoseconds - later.nanoseconds))
    }
}

extension Duration {
    /// Whole nanoseconds, clamped to the range of Int64 (292 years).
    package var nanosecondsClamped: Int64 {
        let (seconds, attoseconds) = components
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        if overflow { return seconds > 0 ? .max : .min }
        let (sum, overflowed) = product.addingReportingOverflow(attoseconds / 1_000_000_000)
        return overflowed ? (seconds > 0 ? .max : .min) : sum
    }

    /// Seconds as a floating-point number.
    package var inSeconds: Double {
        Double(components.seconds) + Double(components.attoseconds) * 1e-18
    }
}
