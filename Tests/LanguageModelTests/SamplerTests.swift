import Glibc
import Numerics
import Testing

@testable import LanguageModel

@Suite struct SamplerTests {
    private func probabilities(
        _ logits: [Float], seen: [Int32] = [], _ settings: SamplingSettings
    ) -> [Double] {
        Sampler(vocabularySize: logits.count, kernels: .best).probabilities(logits, seen: seen, settings)
    }

    private func kept(_ logits: [Float], _ settings: SamplingSettings) -> [Int] {
        let result = probabilities(logits, settings)
        return result.indices.filter { result[$0] > 0 }
    }

    private static func plain(
        temperature: Float = 1, topK: Int? = nil, topP: Double = 1, minP: Double = 0, repetitionPenalty: Float = 1
    ) -> SamplingSettings {
        SamplingSettings(
            temperature: temperature, topK: topK, topP: topP, minP: minP, repetitionPenalty: repetitionPenalty)
    }

    // MARK: Golden values

    /// Computed by the logits processors of transformers 5.24.0 in the order of its `generate`.
    static let golden: [(settings: SamplingSettings, expected: [Int: Double])] = [
        (
            plain(temperature: 0.7, topK: 6),
            [2: 0.2483989, 5: 0.0416508, 9: 0.1216016, 13: 0.3550217, 16: 0.0595291, 20: 0.1737979]
        ),
        (plain(topK: 5), [2: 0.2476942, 9: 0.1502341, 13: 0.3180456, 16: 0.0911216, 20: 0.1929044]),
        (
            plain(topP: 0.8),
            [2: 0.2312812, 5: 0.0662632, 9: 0.1402791, 13: 0.2969709, 16: 0.0850836, 20: 0.180122]
        ),
        (plain(minP: 0.3), [2: 0.2725273, 9: 0.1652962, 13: 0.349932, 20: 0.2122445]),
        (
            plain(temperature: 1.7, topK: 9, topP: 0.85, minP: 0.15, repetitionPenalty: 1.5),
            [
                2: 0.2123455, 9: 0.1582375, 12: 0.0758534, 13: 0.2459857, 16: 0.1179168, 20: 0.1017909, 23: 0.0878703,
            ]
        ),
    ]

    @Test(arguments: golden) func probabilitiesAreThoseOfTransformers(
        settings: SamplingSettings, expected: [Int: Double]
    ) {
        let logits = (0..<24).map { Float(($0 * 37 + 11) % 29 - 14) / 4 }
        let result = probabilities(logits, seen: [3, 7, 20, 0, 5], settings)
        for (token, probability) in result.enumerated() {
            #expect(abs(probability - (expected[token] ?? 0)) < 1e-6, "token \(token)")
        }
    }

    @Test func thePenaltyDividesPositiveAndMultipliesNegativeLogitsOfWhatOccurred() {
        let logits: [Float] = [2, -2, 0, 1, 2, -2]
        let result = probabilities(logits, seen: [0, 1, 2], Self.plain(repetitionPenalty: 2))
        let weights: [Double] = [1, -4, 0, 1, 2, -2].map { (power: Double) in exp(power) }
        let sum = weights.reduce(0, +)
        for (token, weight) in weights.enumerated() { #expect(abs(result[token] - weight / sum) < 1e-6) }
        // It comes before temperature 0 takes the likeliest.
        let sampler = Sampler(vocabularySize: 6, kernels: .best)
        var random = SeededRandom(seed: 1)
        let settings = Self.plain(temperature: 0, repetitionPenalty: 1.5)
        #expect(sampler.draw(logits, seen: [0], settings, &random) == 4)
        #expect(sampler.draw(logits, seen: [], settings, &random) == 0)
        #expect(sampler.draw(logits, seen: [4, 0], settings, &random) == 0)
    }

    // MARK: Properties

    /// Seeded logits, in which `levels` values make many ties.
    private func logits(_ count: Int, seed: UInt64, levels: Int? = nil) -> [Float] {
        var random = SeededRandom(seed: seed)
        return (0..<count).map { _ in
            levels.map { Float(random.nextIndex(below: $0)) - 2 } ?? 3 * random.nextNormal()
        }
    }

    @Test(arguments: [nil, 5, 40]) func topPKeepsTheSmallestSetOfLikeliestThatReachesIt(levels: Int?) {
        for seed in 0..<40 as Range<UInt64> {
            let logits = logits(300, seed: seed, levels: levels)
            let all = probabilities(logits, Self.plain())
            let order = logits.indices.sorted {
                logits[$0] != logits[$1] ? logits[$0] > logits[$1] : $0 < $1
            }
            for share in [0.001, 0.1, 0.5, 0.9, 0.999] {
                let kept = Set(kept(logits, Self.plain(topP: share)))
                // The likeliest, the lower ids of equals.
                #expect(kept == Set(order.prefix(kept.count)))
                let sum = order.prefix(kept.count).reduce(0) { $0 + all[$1] }
                #expect(sum >= share - 1e-9)
                #expect(sum - all[order[kept.count - 1]] < share + 1e-9)
            }
        }
        #expect(kept([1, 3, 2], Self.plain(topP: 0)) == [1])
        #expect(kept([1, 3, 2], Self.plain(topP: 1)) == [0, 1, 2])
    }

    @Test func topKKeepsTiesAndTakesAnyK() {
        #expect(kept([1, 2, 2, 3, 0, 2], Self.plain(topK: 2)) == [1, 2, 3, 5])
        #expect(kept([1, 1, 1], Self.plain(topK: 1)) == [0, 1, 2])
        #expect(kept([-1, 1, 0], Self.plain(topK: 3)) == [0, 1, 2])
        #expect(kept([-1, 1, 0], Self.plain(topK: 1_000_000)) == [0, 1, 2])
        #expect(kept([-3, -1, -2, -.infinity], Self.plain(topK: 2)) == [1, 2])
        for seed in 0..<40 as Range<UInt64> {
            let logits = logits(1000, seed: seed)
            for k in [1, 2, 40, 999] {
                let lowest = logits.sorted(by: >)[k - 1]
                #expect(
                    kept(logits, Self.plain(temperature: 3, topK: k)) == logits.indices.filter { logits[$0] >= lowest })
            }
        }
    }

    @Test func drawsFollowTheProbabilities() {
        let logits = logits(12, seed: 3)
        let settings = Self.plain(temperature: 0.9, topK: 8, topP: 0.95)
        let expected = probabilities(logits, settings)
        let sampler = Sampler(vocabularySize: 12, kernels: .best)
        var random = SeededRandom(seed: 4)
        let draws = 20_000
        var counts = [Double](repeating: 0, count: 12)
        for _ in 0..<draws { counts[Int(sampler.draw(logits, seen: [], settings, &random) ?? 0)] += 1 }
        for token in 0..<12 {
            let deviation = (expected[token] * (1 - expected[token]) / Double(draws)).squareRoot()
            #expect(abs(counts[token] / Double(draws) - expected[token]) <= 5 * deviation, "token \(token)")
        }
    }

    @Test func extremeLogitsAndTemperatures() {
        var random = SeededRandom(seed: 5)
        let sampler = Sampler(vocabularySize: 3, kernels: .best)
        for temperature: Float in [.leastNonzeroMagnitude, 1e-30, 1e30, .greatestFiniteMagnitude] {
            let token = sampler.draw([1, -3e38, 3e38], seen: [], Self.plain(temperature: temperature), &random)
            #expect(token != nil)
            if temperature < 1 { #expect(token == 2) }
        }
        for logits: [Float] in [
            [.nan, 1, 2], [1, 2, .nan], [.infinity, 0, 0], [-.infinity, -.infinity, -.infinity],
        ] {
            #expect(sampler.draw(logits, seen: [], Self.plain(), &random) == nil)
            #expect(sampler.draw(logits, seen: [], Self.plain(temperature: 0), &random) == nil)
        }
        #expect(sampler.draw([-.infinity, 1, -.infinity], seen: [0], Self.plain(repetitionPenalty: 2), &random) == 1)
    }
}
