import Compression
import Glibc

/// A seeded generator (splitmix64).
struct SplitMix: RandomNumberGenerator {
    private var state: UInt64
    init(_ seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
    /// Uniform in (0, 1).
    mutating func uniform() -> Double { (Double(next() >> 11) + 0.5) * 0x1p-53 }
    /// Two independent standard normal values.
    mutating func normalPair() -> (Double, Double) {
        let radius = (-2 * log(uniform())).squareRoot()
        let angle = 2 * Double.pi * uniform()
        return (radius * cos(angle), radius * sin(angle))
    }
}

extension Codec {
    /// Every family, with its lowest, its usual and its highest levels.
    static let samples: [Codec] =
        [.float32, .float16, .e3m0] + (1...8).map { .uniform(bits: $0) }
        + [.statistical(bits: 2), .statistical(bits: 4), .topK(kept: 2), .topK(kept: 64), .topK(kept: 1024)]
        + [.lowRank(rank: 1), .lowRank(rank: 4), .lowRank(rank: 64)]

    func encode(_ values: [Float], columns: Int? = nil, bins: StatisticalBins = .lloyd) throws -> [UInt8] {
        var memory = EncoderMemory()
        return try encode(values, columns: columns, bins: bins, memory: &memory)
    }

    func encode(
        _ values: [Float], columns: Int? = nil, bins: StatisticalBins = .lloyd, memory: inout EncoderMemory
    ) throws -> [UInt8] {
        let shape = TileShape(count: values.count, columns: columns)
        var bytes = [UInt8](repeating: 0xAA, count: byteCount(of: shape))
        try values.withUnsafeBufferPointer { values in
            try bytes.withUnsafeMutableBytes { bytes in
                try encode(values, shape: shape, bins: bins, memory: &memory, into: bytes)
            }
        }
        return bytes
    }

    func decode(_ bytes: [UInt8], count: Int, columns: Int? = nil) throws -> [Float] {
        var values = [Float](repeating: .nan, count: count)
        try bytes.withUnsafeBytes { bytes in
            try values.withUnsafeMutableBufferPointer { values in
                try decode(bytes, shape: TileShape(count: count, columns: columns), into: values)
            }
        }
        return values
    }
}

/// Seeded standard normal values.
func gaussian(_ seed: UInt64, _ count: Int, scale: Float = 1) -> [Float] {
    var random = SplitMix(seed)
    return (0..<count).map { _ in Float(random.normalPair().0) * scale }
}

/// The norm of the difference over the norm of the first.
func relativeError(_ values: [Float], _ others: [Float]) -> Double {
    var error = 0.0
    var norm = 0.0
    for (value, other) in zip(values, others) {
        let difference = Double(other) - Double(value)
        error += difference * difference
        norm += Double(value) * Double(value)
    }
    return (error / norm).squareRoot()
}

/// The obvious E3M0: each value becomes the nearest of the fifteen levels, the larger of two equally near ones.
func referenceE3M0(_ values: [Float]) -> [Float] {
    var result: [Float] = []
    for start in stride(from: 0, to: values.count, by: 256) {
        let block = values[start..<min(start + 256, values.count)]
        let scale = block.map(\.magnitude).max() ?? 0
        for value in block {
            var best: Float = 0
            for level in 1...7 where scale >= 0x1p-100 {
                let candidate = scale * Float(sign: .plus, exponent: level - 7, significand: 1)
                let isNearer =
                    (Double(candidate) - Double(value.magnitude)).magnitude
                    <= (Double(best) - Double(value.magnitude)).magnitude
                if isNearer { best = candidate }
            }
            result.append(value.sign == .minus && scale >= 0x1p-100 ? -best : best)
        }
    }
    return result
}

extension Double {
    /// The natural logarithm.
    var logarithm: Double { log(self) }
}
