import LanguageModel
import Numerics
import Testing

/// A model small enough for finite differences, with every size odd in some way.
func oddConfiguration(tied: Bool = true, layers: Int = 2) -> ModelConfiguration {
    ModelConfiguration(
        vocabularySize: 19, width: 20, layerCount: layers, headCount: 4, keyValueHeadCount: 2, headWidth: 6,
        feedForwardWidth: 27, contextLength: 29, tiedEmbeddings: tied)
}

/// Seeded token ids.
func randomTokens(_ count: Int, below bound: Int, seed: UInt64) -> [Int32] {
    var random = SeededRandom(seed: seed)
    return (0..<count).map { _ in Int32(random.nextIndex(below: bound)) }
}

@Suite struct TrainingTests {
    @Test func lossFallsOnATinyProblem() throws {
        let configuration = oddConfiguration()
        let state = TrainingState(configuration: configuration, seed: 1)
        let trainer = Trainer(state: state, batchSize: 3, pool: WorkerPool(threadCount: 2))
        let windows = randomTokens(3 * 30, below: 19, seed: 2)
        var losses: [Double] = []
        for _ in 0..<120 { losses.append(try trainer.step(windows, learningRate: 0.01).loss) }
        #expect(abs(losses[0] - 2.944) < 0.1)
        #expect(losses[119] < 0.5)
    }

    @Test func generationWithCacheGivesTheLogitsOfTheFullForwardPass() throws {
        let layout = ParameterLayout(oddConfiguration())
        let parameters = layout.initialParameters(seed: 3)
        let tokens = randomTokens(29, below: 19, seed: 4)
        let evaluator = Evaluator(layout: layout, batchSize: 1, pool: WorkerPool(threadCount: 1))
        let expected = try evaluator.logits(parameters, tokens: tokens)
        let generator = Generator(layout: layout, parameters: parameters, seed: 0)
        for (position, token) in tokens.enumerated() {
            try generator.read([token])
            for (index, logit) in generator.logits.enumerated() {
                #expect(abs(logit - expected[position * 19 + index]) < 1e-5)
            }
        }
    }
}
