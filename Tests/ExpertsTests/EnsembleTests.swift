import Checkpoint
import Experts
import Glibc
import LanguageModel
import Numerics
import Testing
import Tokenizing

@Suite final class EnsembleTests {
    let folder: String
    let model = ModelConfiguration(
        vocabularySize: 256, width: 16, layerCount: 2, headCount: 2, keyValueHeadCount: 1, feedForwardWidth: 24,
        contextLength: 16)

    init() {
        var template = Array("/tmp/atoll-ensemble-XXXXXX".utf8CString)
        precondition(mkdtemp(&template) != nil, "a scratch folder must be made")
        folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit {
        for name in (try? SystemFiles().list(folder)) ?? [] {
            for file in (try? SystemFiles().list("\(folder)/\(name)")) ?? [] { unlink("\(folder)/\(name)/\(file)") }
            rmdir("\(folder)/\(name)")
        }
        rmdir(folder)
    }

    private func path(_ name: String) -> String { "\(folder)/\(name)" }

    /// A checkpoint with lively parameters, so that experts disagree.
    private func expert(_ name: String, seed: UInt64, model: ModelConfiguration? = nil) throws {
        let layout = ParameterLayout(model ?? self.model)
        let parameters = layout.initialParameters(seed: seed)
        for index in 0..<parameters.count { parameters[index] *= 8 }
        try ModelFolder.write(
            to: path(name), configuration: layout.configuration, tokenizer: .bytes, parameters: parameters)
    }

    private func loaded(_ names: String...) throws -> [ExpertSet.Loaded] {
        try ExpertSet(names.map(path)).load(names.map { _ in 1 })
    }

    private func sequences() -> [[Int32]] {
        var random = SeededRandom(seed: 5)
        return [40, 17, 2, 1, 9].map { count in (0..<count).map { _ in Int32(random.next() % 256) } }
    }

    @Test func lossesAreThoseOfEachExpertOnAnyNumberOfThreads() throws {
        try expert("a", seed: 1)
        try expert("b", seed: 2)
        try expert("c", seed: 3)
        let set = try ExpertSet(["a", "b", "c"].map(path))
        let losses = try set.tokenLosses(sequences(), threads: 1)
        #expect(try set.tokenLosses(sequences(), threads: 3) == losses)
        #expect(try set.tokenLosses(sequences(), threads: 8) == losses)
        #expect(losses.count == 3 && losses[0].map(\.count) == [39, 16, 1, 0, 8])
        for (name, expert) in zip(["a", "b", "c"], losses) {
            let folder = try ModelFolder(path(name))
            let alone = try SequenceEvaluation(
                layout: folder.layout, parameters: folder.readParameters(), sequences: sequences(),
                pool: WorkerPool(threadCount: 1))
            #expect(expert.reduce(0) { $0 + $1.reduce(0, +) } == alone.loss)
        }
    }

    @Test func expertsOfDifferentContextsShareTheShorterOne() throws {
        try expert("a", seed: 1)
        var longer = model
        longer.contextLength = 32
        try expert("b", seed: 1, model: longer)
        let set = try ExpertSet(["a", "b"].map(path))
        #expect(set.contextLength == 16)
        let losses = try set.tokenLosses(sequences(), threads: 2)
        #expect(losses[0] == losses[1])
    }

    @Test func expertsMustShareTheirTokens() throws {
        try expert("a", seed: 1)
        var larger = model
        larger.vocabularySize = 300
        try expert("b", seed: 1, model: larger)
        #expect(throws: EnsembleError.different(path("a"), path("b"), what: "the vocabulary size")) {
            try ExpertSet([self.path("a"), self.path("b")])
        }
        #expect(throws: EnsembleError.noExperts) { try ExpertSet([]) }
        #expect(throws: EnsembleError.self) { try ExpertSet([self.path("none")]) }
    }

    @Test func idsBeyondTheVocabularyAreRefused() throws {
        try expert("a", seed: 1)
        #expect(throws: EnsembleError.model(.tokenOutOfRange(token: 256, vocabularySize: 256))) {
            try ExpertSet([self.path("a")]).tokenLosses([[1, 256]], threads: 1)
        }
    }

    // MARK: Averages

    @Test func aMergedCheckpointIsAsGoodAsTheAverageInMemory() throws {
        try expert("a", seed: 1)
        try expert("b", seed: 2)
        let weights = [0.3, 0.7]
        try WeightedAverage(of: [path("a"), path("b")], weights: weights).write(to: path("merged"))
        let average = ParameterAverage.of(try loaded("a", "b").map(\.parameters), weights: weights)
        let merged = try ModelFolder(path("merged"))
        #expect(try merged.readParameters().array.map(\.bitPattern) == average.array.map(\.bitPattern))
        let evaluator = Evaluator(layout: merged.layout, pool: WorkerPool(threadCount: 1))
        let windows = sequences()[0].prefix(34).map { $0 }
        #expect(
            try evaluator.meanLoss(merged.readParameters(), windows: windows)
                == evaluator.meanLoss(average, windows: windows))
        let a = try loaded("a")[0].parameters
        for weights in [[1.0, 0], [0.1, 0.3]] {
            #expect(ParameterAverage.of([a, a], weights: weights).array == a.array)
        }
    }

    // MARK: Generation

    private let settings = SamplingSettings(temperature: 1, topK: 20, topP: 0.9, repetitionPenalty: 1.2)

    private func generate(
        _ generator: any TextGenerator, _ prompts: [[Int32]], _ count: Int
    ) throws -> [[Int32]] {
        try generator.read(prompts.enumerated().map { ($0.offset, $0.element) })
        var texts = prompts.map { _ in [Int32]() }
        for _ in 0..<count {
            let drawn = try generator.next(settings, sequences: Array(prompts.indices))
            for (text, token) in drawn.enumerated() { texts[text].append(token) }
        }
        return texts
    }

    private let prompts: [[Int32]] = [[1, 2, 3, 4, 5, 6, 7, 8, 9], [200], [30, 31]]

    @Test func oneExpertAndEqualExpertsDrawWhatTheExpertDraws() throws {
        try expert("a", seed: 1)
        let a = try loaded("a")[0]
        // Past the context, so that its newest half is read again.
        let alone = try generate(
            Generator(layout: a.layout, parameters: a.parameters, sequences: 3, seed: 9), prompts, 24)
        for (experts, prior) in [([a], [1.0]), ([a, a, a], [0.2, 0.3, 0.5])] {
            for rule in MixtureRule.allCases {
                let ensemble = EnsembleGenerator(experts, prior: prior, rule: rule, sequences: 3, seed: 9)
                #expect(try generate(ensemble, prompts, 24) == alone)
            }
        }
    }

    @Test func textsDependOnTheSeedButNotOnThreadsOrOnEachOther() throws {
        try expert("a", seed: 1)
        try expert("b", seed: 2)
        let experts = try loaded("a", "b")
        func texts(_ seed: UInt64, threads: Int) throws -> [[Int32]] {
            try generate(
                EnsembleGenerator(
                    experts, prior: [0.5, 0.5], rule: .bayes, sequences: 3, seed: seed, threads: threads), prompts, 12)
        }
        let first = try texts(3, threads: 1)
        #expect(try texts(3, threads: 2) == first)
        #expect(try texts(3, threads: 4) == first)
        #expect(try texts(4, threads: 1) != first)
        let second = EnsembleGenerator(
            experts, prior: [0.5, 0.5], rule: .bayes, seed: 3, firstStream: 1)
        #expect(try generate(second, [prompts[1]], 12) == [first[1]])
    }

    /// The weights after a text that an ensemble has made are those of the text read by a new one, and follow the experts'
    /// losses on it.
    @Test func weightsFollowTheText() throws {
        try expert("a", seed: 1)
        try expert("b", seed: 2)
        let experts = try loaded("a", "b")
        let prior = [0.25, 0.75]
        let writer = EnsembleGenerator(experts, prior: prior, rule: .bayes, seed: 1)
        let text = prompts[2] + (try generate(writer, [prompts[2]], 8))[0]
        let reader = EnsembleGenerator(experts, prior: prior, rule: .bayes, seed: 1)
        try reader.read([(0, text)])
        let losses = try ExpertSet(["a", "b"].map(path)).tokenLosses([text], threads: 1)
        let evidence = zip(prior, losses).map { $0 * exp(-$1[0].reduce(0, +)) }
        for weights in [writer.weights(), reader.weights()] {
            #expect(abs(weights[0] - evidence[0] / (evidence[0] + evidence[1])) < 1e-4)
        }
    }

    /// What is drawn follows Σ w_j p_j, not the mean of logits.
    @Test func probabilitiesAreMixed() throws {
        try expert("a", seed: 1)
        try expert("b", seed: 2)
        let experts = try loaded("a", "b")
        let prompt: [Int32] = [7]
        let count = 4000
        var expected = [Double](repeating: 0, count: 256)
        for (expert, share) in zip(experts, [0.3, 0.7]) {
            let generator = Generator(layout: expert.layout, parameters: expert.parameters, seed: 0)
            try generator.read(prompt)
            let powers = generator.logits().map { exp(Double($0)) }
            let sum = powers.reduce(0, +)
            for token in powers.indices { expected[token] += share * powers[token] / sum }
        }
        let ensemble = EnsembleGenerator(experts, prior: [0.3, 0.7], rule: .bayes, sequences: count, seed: 2)
        try ensemble.read((0..<count).map { ($0, prompt) })
        let drawn = try ensemble.next(SamplingSettings(temperature: 1, topK: nil), sequences: Array(0..<count))
        var counts = [Double](repeating: 0, count: 256)
        for token in drawn { counts[Int(token)] += 1 }
        // Chi-squared over the tokens that are expected at least five times: mean 1 per degree of freedom.
        let often = expected.indices.filter { expected[$0] * Double(count) >= 5 }
        let statistic = often.reduce(0) { sum, token in
            let mean = expected[token] * Double(count)
            return sum + (counts[token] - mean) * (counts[token] - mean) / mean
        }
        #expect(often.count > 10)
        #expect(statistic < Double(often.count) + 5 * (2 * Double(often.count)).squareRoot())
    }
}
