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
    func encode(_ values: [Float]) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0xAA, count: byteCount(ofValues: values.count))
        try values.withUnsafeBufferPointer { values in
            try bytes.withUnsafeMutableBytes { try encode(values, into: $0) }
        }
        return bytes
    }

    func decode(_ bytes: [UInt8], count: Int) throws -> [Float] {
        var values = [Float](repeating: .nan, count: count)
        try bytes.withUnsafeBytes { bytes in
            try values.withUnsafeMutableBufferPointer { try decode(bytes, into: $0) }
        }
        return values
    }
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
