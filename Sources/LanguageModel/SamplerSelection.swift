/// Finds the value down to which the largest of many floats weigh enough together, without sorting them: three passes over
/// histograms of their bits, each of which looks into one bin of the one before.
struct RadixSelection {
    private var histogram = [Double](repeating: 0, count: 1 << 11)

    /// Bits of a key that each pass looks at, highest first.
    private static let passes: [(shift: UInt32, bits: UInt32)] = [(21, 11), (10, 11), (0, 10)]

    /// An integer that is ordered as the floats are; -0 comes before 0, which no logit's rank depends on.
    static func key(_ value: Float) -> UInt32 {
        let bits = value.bitPattern
        return bits & 0x8000_0000 == 0 ? bits | 0x8000_0000 : ~bits
    }

    /// The key of the largest value such that it and all larger ones weigh at least `target` together (of the smallest
    /// value if all weigh less), and the weight of those that are larger.
    ///
    /// - Complexity: linear in `count`.
    mutating func threshold(
        _ count: Int, atLeast target: Double, _ value: (Int) -> Float, _ weight: (Int) -> Double
    ) -> (key: UInt32, above: Double) {
        var (prefix, above) = (UInt32(0), 0.0)
        for (shift, bits) in Self.passes {
            let size = 1 << Int(bits)
            for bin in 0..<size { histogram[bin] = 0 }
            var lowest = size
            for index in 0..<count {
                let key = Self.key(value(index))
                // Only keys that share all higher bits with the prefix.
                guard shift + bits == 32 || (key ^ prefix) >> (shift + bits) == 0 else { continue }
                let bin = Int(key >> shift) & (size - 1)
                histogram[bin] += weight(index)
                lowest = min(lowest, bin)
            }
            var bin = size - 1
            while bin > lowest && above + histogram[bin] < target {
                above += histogram[bin]
                bin -= 1
            }
            prefix |= UInt32(bin) << shift
        }
        return (prefix, above)
    }
}
