import LanguageModel
import Numerics
import Testing

@Suite struct GeneratorTests {
    private func generator(seed: UInt64, layout: ParameterLayout = ParameterLayout(oddConfiguration())) -> Generator {
        Generator(layout: layout, parameters: GradientTests.lively(layout), seed: seed)
    }

    private func text(_ generator: Generator, _ settings: SamplingSettings, count: Int = 40) throws -> [Int32] {
        try generator.read([1, 2, 3])
        return (0..<count).map { _ in generator.next(settings) }
    }

    @Test func oneSeedGivesOneTextBeyondTheContextToo() throws {
        let settings = SamplingSettings(temperature: 1, topK: nil)
        let once = try text(generator(seed: 4), settings)
        #expect(try text(generator(seed: 4), settings) == once)
        #expect(try text(generator(seed: 5), settings) != once)
        #expect(once.allSatisfy { (0..<19).contains($0) })
    }

    @Test func zeroTemperatureAndTopOneTakeTheLikeliestToken() throws {
        let greedy = generator(seed: 1)
        try greedy.read([5])
        for _ in 0..<10 {
            let logits = greedy.logits
            let likeliest = logits.indices.max { logits[$0] < logits[$1] }
            #expect(greedy.next(SamplingSettings(temperature: 0)) == likeliest.map(Int32.init))
        }
        let settings = (SamplingSettings(temperature: 0), SamplingSettings(temperature: 2, topK: 1))
        let (first, second) = (generator(seed: 1), generator(seed: 2))
        let texts = (try text(first, settings.0), try text(second, settings.1))
        #expect(texts.0 == texts.1)
    }

    @Test func topKNeverDrawsOutsideTheLikeliest() throws {
        let generator = generator(seed: 3)
        try generator.read([5])
        for _ in 0..<30 {
            let logits = generator.logits
            let allowed = logits.indices.sorted { logits[$0] > logits[$1] }.prefix(3)
            #expect(allowed.contains(Int(generator.next(SamplingSettings(temperature: 5, topK: 3)))))
        }
    }

    @Test func tokensOutsideTheVocabularyAreRefused() {
        #expect(throws: ModelError.tokenOutOfRange(token: 19, vocabularySize: 19)) { try generator(seed: 1).read([19]) }
    }
}
