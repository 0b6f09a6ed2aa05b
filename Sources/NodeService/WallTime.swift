import Glibc

/// Points and lengths of wall-clock time as people write them.
enum WallTime {
    /// Unix time as text, in UTC.
    static func text(_ seconds: UInt64) -> String {
        var moment = time_t(clamping: seconds)
        var parts = tm()
        guard gmtime_r(&moment, &parts) != nil else { return "\(seconds)" }
        var text = [CChar](repeating: 0, count: 64)
        let count = strftime(&text, text.count, "%Y-%m-%d %H:%M UTC", &parts)
        return String(decoding: text.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Reads a length of time such as 7d, 12h, 30m or 45s.
    static func seconds(_ text: String) throws(UserError) -> UInt64 {
        let units: [Character: UInt64] = ["s": 1, "m": 60, "h": 3_600, "d": 86_400]
        if let unit = text.last.flatMap({ units[$0] }), let count = UInt64(text.dropLast()), count > 0 {
            let (seconds, overflow) = count.multipliedReportingOverflow(by: unit)
            if !overflow { return seconds }
        }
        throw UserError(
            "'\(text)' is no length of time", cure: "Write for example 7d, 12h, 30m or 45s", exitCode: .usage)
    }
}
