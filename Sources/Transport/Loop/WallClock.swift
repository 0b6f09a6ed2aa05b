import Glibc

/// The system's wall clock, for what outlives the process or is compared with other machines. It may jump; spans of time are
/// measured with `Loop.now`.
package enum WallClock {
    /// Nanoseconds since 1970: from 0, for a clock that was never set, to 2262.
    package static var nanoseconds: Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return nanoseconds(seconds: Int64(time.tv_sec), and: Int64(time.tv_nsec))
    }

    /// Whatever the system says, in range.
    static func nanoseconds(seconds: Int64, and nanoseconds: Int64) -> Int64 {
        let (whole, overflow) = max(0, seconds).multipliedReportingOverflow(by: 1_000_000_000)
        let (sum, carry) = whole.addingReportingOverflow(max(0, nanoseconds))
        return overflow || carry ? .max : sum
    }

    /// Seconds since 1970.
    package static var seconds: UInt64 { UInt64(nanoseconds / 1_000_000_000) }
}
