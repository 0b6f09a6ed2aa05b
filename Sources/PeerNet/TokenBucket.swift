/// A cap on a rate, as bytes that may be spent now: the level rises with time up to `burstBytes` and sinks with what is
/// taken. It may be negative, a debt that time pays back, so what is taken over any span stays within rate x span + burst
/// plus the largest single debt.
package struct TokenBucket: Sendable {
    /// The cap.
    package let bytesPerSecond: Int
    /// Most bytes that an idle time saves up.
    package let burstBytes: Int
    private var level: Double
    private var updatedAt: Moment

    /// Lowest cap that is worth keeping: below it, one frame takes seconds.
    package static let bytesPerSecondMin = 8000
    /// Highest cap, a terabyte a second, so that no sum of levels overflows.
    package static let bytesPerSecondMax = 1 << 40

    /// Starts with a full bucket; the cap is brought into its range.
    package init(bytesPerSecond: Int, burst: Duration, at now: Moment) {
        self.bytesPerSecond = min(max(bytesPerSecond, Self.bytesPerSecondMin), Self.bytesPerSecondMax)
        burstBytes = Int(Double(self.bytesPerSecond) * max(0, burst.inSeconds))
        level = Double(burstBytes)
        updatedAt = now
    }

    /// Bytes that may be spent now; negative: a debt.
    package mutating func level(at now: Moment) -> Int {
        if now > updatedAt {
            let burst = Double(burstBytes)
            // Above the burst, after bytes were given back, the level only waits to be spent.
            if level < burst { level = min(burst, level + (now - updatedAt).inSeconds * Double(bytesPerSecond)) }
            updatedAt = now
        }
        return Int(level.rounded(.down))
    }

    /// Spends bytes, whatever the level; a negative count gives back what was spent and not used.
    package mutating func take(_ count: Int) { level -= Double(count) }

    /// How long until the level is at least `target`, which must not be above `burstBytes`.
    package func wait(forLevel target: Int = 0, at now: Moment) -> Duration {
        let missing = Double(target) - level
        guard missing > 0 else { return .zero }
        return max(.zero, .seconds(missing / Double(bytesPerSecond)) - (now - updatedAt))
    }
}
