import Numerics
import Testing

@testable import LanguageModel

extension Generator {
    /// Takes a token as if it had been drawn.
    func force(_ token: Int32) {
        readDrawn([0])
        sequences[0].drawn = token
    }
}

@Suite struct GeneratorTests {
    /// Beside the odd one: grouped heads over several pages of the cache, one head for all, heads wider than a packed
    /// block, and everything a multiple of a vector.
    static let configurations = [
        oddConfiguration(), oddConfiguration(tied: false),
        ModelConfiguration(
            vocabularySize: 40, width: 32, layerCount: 2, headCount: 4, keyValueHeadCount: 2, headWidth: 16,
            feedForwardWidth: 48, contextLength: 600),
        ModelConfiguration(
            vocabularySize: 33, width: 24, layerCount: 1, headCount: 26, keyValueHeadCount: 1, headWidth: 2,
            feedForwardWidth: 16, contextLength: 40),
        ModelConfiguration(
            vocabularySize: 21, width: 16, layerCount: 1, headCount: 2, keyValueHeadCount: 1, headWidth: 270,
            feedForwardWidth: 16, contextLength: 30),
    ]

    private func generator(
        _ layout: ParameterLayout, sequences: Int = 1, seed: UInt64 = 1, threads: Int = 1,
        kernels: Kernels = .best
    ) -> Generator {
        Generator(
            layout: layout, parameters: GradientTests.lively(layout), sequences: sequences, seed: seed,
            pool: WorkerPool(threadCount: threads), kernels: kernels)
    }

    private func largestDifference(_ a: [Float], _ b: some Sequence<Float>) -> Float {
        zip(a, b).reduce(0) { max($0, abs($1.0 - $1.1)) }
    }

    // MARK: Cache and full forward pass

    @Test(arguments: configurations)
    func everyPositionHasTheLogitsOfTheFullForwardPass(configuration: ModelConfiguration) throws {
        let layout = ParameterLayout(configuration)
        let tokens = randomTokens(configuration.contextLength, below: configuration.vocabularySize, seed: 4)
        let evaluator = Evaluator(layout: layout, batchSize: 1, pool: WorkerPool(threadCount: 2))
        let expected = try evaluator.logits(GradientTests.lively(layout), tokens: tokens)
        let stepped = generator(layout, threads: 2)
        let vocabulary = configuration.vocabularySize
        for (position, token) in tokens.enumerated() {
            // The first tokens as a prompt, the rest as steps, which is how drawn ones are read.
            if position < 3 { try stepped.read([token]) } else { stepped.force(token) }
            let difference = largestDifference(
                stepped.logits(), expected[(position * vocabulary)..<((position + 1) * vocabulary)])
            #expect(difference < 1e-4, "position \(position)")
        }
    }

    @Test(arguments: configurations)
    func aPromptInChunksGivesTheBitsOfOneTokenAtATime(configuration: ModelConfiguration) throws {
        let layout = ParameterLayout(configuration)
        let tokens = randomTokens(configuration.contextLength, below: configuration.vocabularySize, seed: 5)
        let whole = generator(layout, threads: 2)
        try whole.read(tokens)
        let single = generator(layout)
        for token in tokens { try single.read([token]) }
        #expect(whole.logits() == single.logits())
        let pieces = generator(layout)
        for part in [tokens[..<7], tokens[7..<24], tokens[24...]] { try pieces.read(Array(part)) }
        #expect(whole.logits() == pieces.logits())
    }

    @Test(arguments: InstructionSet.available)
    func everyInstructionSetAgrees(instructionSet: InstructionSet) throws {
        let layout = ParameterLayout(oddConfiguration())
        let (one, best) = (generator(layout, kernels: .built(for: instructionSet)), generator(layout))
        for generator in [one, best] { try generator.read([3, 1, 4, 1, 5]) }
        #expect(largestDifference(one.logits(), best.logits()) < 1e-4)
        for generator in [one, best] { generator.force(9) }
        #expect(largestDifference(one.logits(), best.logits()) < 1e-4)
    }

    @Test func aFullContextGoesOnFromItsNewestHalf() throws {
        let layout = ParameterLayout(oddConfiguration())
        let tokens = randomTokens(75, below: 19, seed: 6)
        let prompted = generator(layout)
        try prompted.read(tokens)
        let stepped = generator(layout)
        try stepped.read([tokens[0]])
        for token in tokens.dropFirst() { stepped.force(token) }
        // 29 fill the context; 14 of them and 15 new ones fill it again: at 30, 45, 60 and 75 tokens 15 are left.
        #expect(stepped.logits() == prompted.logits())
        #expect(prompted.sequences[0].tokens == Array(tokens.suffix(15)))
        #expect(stepped.sequences[0].tokens == prompted.sequences[0].tokens)
        let fresh = generator(layout)
        try fresh.read(Array(tokens.suffix(15)))
        #expect(fresh.logits() == prompted.logits())
    }

    // MARK: Draws

    private func text(_ generator: Generator, _ settings: SamplingSettings, count: Int = 40) throws -> [Int32] {
        try generator.read([1, 2, 3])
        return try (0..<count).map { _ in try generator.next(settings) }
    }

    @Test func oneSeedGivesOneTextOnAnyNumberOfThreadsBeyondTheContextToo() throws {
        let layout = ParameterLayout(oddConfiguration())
        let settings = SamplingSettings(temperature: 1, topK: 12, topP: 0.9, repetitionPenalty: 1.1)
        let once = try text(generator(layout, seed: 4), settings)
        #expect(try text(generator(layout, seed: 4, threads: 3), settings) == once)
        #expect(try text(generator(layout, seed: 5), settings) != once)
        #expect(once.allSatisfy { (0..<19).contains($0) })
    }

    @Test func sequencesAreIndependentOfEachOther() throws {
        let layout = ParameterLayout(oddConfiguration())
        let settings = SamplingSettings(temperature: 1, repetitionPenalty: 1.2)
        let prompts: [[Int32]] = [[1, 2, 3], [4], Array(repeating: 7, count: 40), [5, 6], [1, 2, 3]]
        let together = generator(layout, sequences: 5, seed: 8, threads: 2)
        try together.read(prompts.enumerated().map { ($0.offset, $0.element) })
        var texts = [[Int32]](repeating: [], count: 5)
        for step in 0..<50 {
            // Some end early.
            let active = (0..<5).filter { step < 20 || $0 % 2 == 0 }
            for (sequence, token) in zip(active, try together.next(settings, sequences: active)) {
                texts[sequence].append(token)
            }
        }
        for (number, prompt) in prompts.enumerated() {
            let alone = Generator(
                layout: layout, parameters: GradientTests.lively(layout), seed: 8, firstStream: UInt64(number))
            try alone.read(prompt)
            #expect(try texts[number].map { _ in try alone.next(settings) } == texts[number])
        }
        // The same prompt goes on differently, since every sequence has random numbers of its own.
        #expect(texts[0] != texts[4])
    }

    @Test func zeroTemperatureTakesTheLikeliestToken() throws {
        let greedy = generator(ParameterLayout(oddConfiguration()))
        try greedy.read([5])
        for _ in 0..<40 {
            let logits = greedy.logits()
            let likeliest = logits.indices.max { logits[$0] < logits[$1] }
            #expect(try greedy.next(SamplingSettings(temperature: 0)) == likeliest.map(Int32.init))
        }
        let layout = ParameterLayout(oddConfiguration())
        let texts = (
            try text(generator(layout, seed: 1), SamplingSettings(temperature: 0)),
            try text(generator(layout, seed: 2), SamplingSettings(temperature: 2, topK: 1))
        )
        #expect(texts.0 == texts.1)
    }

    @Test func topKNeverDrawsOutsideTheLikeliest() throws {
        let generator = generator(ParameterLayout(oddConfiguration()))
        try generator.read([5])
        for _ in 0..<30 {
            let logits = generator.logits()
            let allowed = logits.indices.sorted { logits[$0] > logits[$1] }.prefix(3)
            #expect(allowed.contains(Int(try generator.next(SamplingSettings(temperature: 5, topK: 3)))))
        }
    }

    // MARK: Refusals

    @Test func tokensOutsideTheVocabularyAreRefused() {
        let generator = generator(ParameterLayout(oddConfiguration()))
        #expect(throws: ModelError.tokenOutOfRange(token: 19, vocabularySize: 19)) { try generator.read([19]) }
    }

    @Test func aModelThatComputesNoNumbersIsRefused() throws {
        let layout = ParameterLayout(oddConfiguration())
        let parameters = GradientTests.lively(layout)
        for index in try #require(layout.tensor(named: "model.norm.weight")).range { parameters[index] = 3e38 }
        let generator = Generator(layout: layout, parameters: parameters, seed: 0)
        try generator.read([1])
        #expect(throws: ModelError.nonFiniteLogits) { try generator.next(SamplingSettings()) }
    }
}
