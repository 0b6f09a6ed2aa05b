import LanguageModel
import Testing

/// Against the frequencies that transformers 5.24 computes (float32) for heads of 16.
@Suite struct RotaryEmbeddingTests {
    static func model(
        theta: Double = 10_000, contextLength: Int = 64, _ scaling: RopeScaling?
    ) -> ModelConfiguration {
        ModelConfiguration(
            vocabularySize: 8, width: 32, layerCount: 1, headCount: 2, headWidth: 16, feedForwardWidth: 8,
            contextLength: contextLength, ropeTheta: theta, ropeScaling: scaling)
    }

    struct Golden: Sendable {
        var model: ModelConfiguration
        var length: Int
        var radians: [Double]
        var amplitude = 1.0
    }

    static let plain = [1, 0.31622776, 0.1, 0.031622779, 0.01, 0.0031622779, 0.001, 0.00031622779]

    static let golden = [
        Golden(model: model(nil), length: 64, radians: plain),
        Golden(model: model(.linear(factor: 4)), length: 64, radians: plain.map { $0 / 4 }),
        Golden(model: model(.dynamic(factor: 2)), length: 64, radians: plain),
        Golden(model: model(.dynamic(factor: 2)), length: 3, radians: plain),
        Golden(
            model: model(.dynamic(factor: 2)), length: 100,
            radians: [
                1, 0.28394514, 0.080624841, 0.02289303, 0.0065003652, 0.001845747, 0.00052409089, 0.00014881307,
            ]),
        Golden(
            model: model(
                theta: 500,
                .llama3(factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalContextLength: 32)),
            length: 64,
            radians: [
                1, 0.23748969, 0.031185457, 0.012156156, 0.0055901702, 0.0025707141, 0.001182177, 0.00054363982,
            ]),
        Golden(
            model: model(contextLength: 256, .yarn(.init(factor: 4, originalContextLength: 64))), length: 256,
            radians: [
                1, 0.23717082, 0.049999997, 0.0079056947, 0.0024999999, 0.00079056947, 0.00025, 0.000079056947,
            ], amplitude: 1.138629436111989),
        Golden(
            model: model(
                contextLength: 2048,
                .yarn(
                    .init(
                        factor: 4, originalContextLength: 512, betaFast: 16, betaSlow: 2,
                        attentionFactor: 1.0648216253695715, truncatesRange: false))),
            length: 2048,
            radians: [
                1, 0.31622776, 0.075664401, 0.010796109, 0.0024999999, 0.00079056947, 0.00025, 0.000079056947,
            ], amplitude: 1.0648216253695715),
    ]

    @Test(arguments: golden.indices) func frequenciesAreThoseOfTransformers(_ index: Int) throws {
        let golden = Self.golden[index]
        try golden.model.validate()
        let found = RotaryFrequencies(golden.model, length: golden.length)
        #expect(abs(found.amplitude - golden.amplitude) < 1e-12)
        #expect(found.radians.count == golden.radians.count)
        for (ours, theirs) in zip(found.radians, golden.radians) { #expect(abs(ours / theirs - 1) < 2e-6) }
    }

    @Test func numbersOutOfRangeAreRefused() {
        func refuses(_ model: ModelConfiguration) -> Bool {
            do throws(ModelError) {
                try model.validate()
                return false
            } catch { return true }
        }
        #expect(!refuses(Self.model(nil)))
        for factor in [Double.nan, .infinity, 0, 0.5, -2, 1e7] {
            #expect(refuses(Self.model(.linear(factor: factor))))
            #expect(refuses(Self.model(.dynamic(factor: factor))))
            #expect(refuses(Self.model(.yarn(.init(factor: factor, originalContextLength: 8)))))
        }
        for (low, high, original) in [(1.0, 1.0, 8), (4, 1, 8), (0, 1, 8), (1, .nan, 8), (1, 4, 0), (1, 4, 1 << 40)] {
            let scaling = RopeScaling.llama3(
                factor: 8, lowFrequencyFactor: low, highFrequencyFactor: high, originalContextLength: original)
            #expect(refuses(Self.model(scaling)))
        }
        let yarns: [RopeScaling.Yarn] = [
            .init(factor: 2, originalContextLength: 0), .init(factor: 2, originalContextLength: 8, betaFast: 0.5),
            .init(factor: 2, originalContextLength: 8, betaSlow: -1),
            .init(factor: 2, originalContextLength: 8, attentionFactor: 0),
            .init(factor: 2, originalContextLength: 8, attentionFactor: .nan),
        ]
        for yarn in yarns { #expect(refuses(Self.model(.yarn(yarn)))) }
        #expect(refuses(Self.model(theta: 1, .yarn(.init(factor: 2, originalContextLength: 8)))))
        var narrow = Self.model(.dynamic(factor: 2))
        narrow.headWidth = 2
        #expect(refuses(narrow))
    }

    @Test func rangesThatCollapseStayFinite() {
        // A context of one token: both ends of the range fall on pair 0.
        let model = Self.model(.yarn(.init(factor: 2, originalContextLength: 1)))
        let found = RotaryFrequencies(model, length: 64)
        #expect(found.radians.allSatisfy { $0.isFinite && $0 > 0 })
    }
}
