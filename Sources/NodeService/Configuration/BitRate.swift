/// A rate as people write it: `20Mbit/s`, `2 Mbit/s`, `800kbit/s`, `1.5 Gbit/s`, or in bytes: `250 kB/s`, `3MB/s`.
package struct BitRate: Hashable, Sendable, CustomStringConvertible {
    /// The rate in bytes per second; from `range`.
    package let bytesPerSecond: Int

    /// 64 kbit/s, below which the protocols' time limits cannot be kept, to 1 Tbit/s.
    package static let range = 8_000...125_000_000_000

    /// What a rate must look like, for messages.
    package static let expectation = "a rate from 64 kbit/s to 1000 Gbit/s such as '20 Mbit/s' or '2 MB/s'"

    /// Bytes per second of one unit, by its name in lower case; `b` alone would leave open whether bits are meant.
    private static let units: [(suffix: String, bytes: Double)] = [
        ("kbit/s", 125), ("mbit/s", 125_000), ("gbit/s", 125_000_000), ("kb/s", 1000), ("mb/s", 1_000_000),
        ("gb/s", 1_000_000_000),
    ]

    /// Takes bytes per second; nil outside of `range`.
    package init?(bytesPerSecond: Int) {
        guard Self.range.contains(bytesPerSecond) else { return nil }
        self.bytesPerSecond = bytesPerSecond
    }

    /// Reads a number with a unit; nil for anything else, and outside of `range`.
    package init?(_ text: String) {
        // `Mb/s` means bits to some and bytes to others.
        guard !text.hasSuffix("b/s") else { return nil }
        let lowered = text.lowercased()
        guard let unit = Self.units.first(where: { lowered.hasSuffix($0.suffix) }) else { return nil }
        let number = lowered.dropLast(unit.suffix.count).trimmingSuffix { $0 == " " }
        guard !number.isEmpty, number.allSatisfy({ $0.isNumber && $0.isASCII || $0 == "." }),
            let value = Double(number), value.isFinite, value * unit.bytes <= Double(Self.range.upperBound)
        else { return nil }
        self.init(bytesPerSecond: Int((value * unit.bytes).rounded()))
    }

    /// The rate in the greatest unit of bits that gives a whole number, which `init` reads back.
    package var description: String {
        let bits = bytesPerSecond * 8
        for (name, unit) in [("Gbit/s", 1_000_000_000), ("Mbit/s", 1_000_000), ("kbit/s", 1000)] where bits % unit == 0
        {
            return "\(bits / unit) \(name)"
        }
        return "\(Double(bits) / 1000) kbit/s"
    }
}

extension Substring {
    fileprivate func trimmingSuffix(while matches: (Character) -> Bool) -> Substring {
        var rest = self
        while let last = rest.last, matches(last) { rest.removeLast() }
        return rest
    }
}
