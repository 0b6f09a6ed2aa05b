import JSONText
import Numerics
import Testing
import Tokenizing

/// Learning vocabularies, against what `tokenizers` learnt.
@Suite struct TokenizerTrainingTests {
    private static func train(
        _ documents: [[UInt8]], _ settings: TokenizerTraining.Settings, threads: Int = 1
    ) throws -> Tokenizer {
        var training = try TokenizerTraining(settings, pool: WorkerPool(threadCount: threads))
        for document in documents { try training.add([document]) }
        return try training.train { _ in true }
    }

    @Test func mergesAreThoseOfTokenizers() throws {
        let tokenizer = try Self.train([Array(GoldenVectors.corpus.utf8)], .init(vocabularySize: 417))
        let merges = tokenizer.merges.map { merge in
            "\(tokenizer.tokenName(of: merge.left) ?? "") \(tokenizer.tokenName(of: merge.right) ?? "")"
        }
        #expect(merges == GoldenVectors.merges)
        #expect(tokenizer.vocabularySize == 257 + GoldenVectors.merges.count)
        #expect(tokenizer.roles.eos == 0)
        #expect(
            tokenizer.encode(GoldenVectors.corpus) == (try GoldenFile.tokenizer("gpt-2")).encode(GoldenVectors.corpus))
    }

    @Test(arguments: TokenizerTraining.Pattern.allCases) func threadsDoNotMatter(
        _ pattern: TokenizerTraining.Pattern
    ) throws {
        var random = SeededRandom(seed: 1)
        var text: [UInt8] = []
        let corpus = Array(GoldenVectors.corpus.utf8)
        while text.count < 1_500_000 {
            let start = random.nextIndex(below: corpus.count)
            text += corpus[start..<min(corpus.count, start + 1 + random.nextIndex(below: 600))]
            text += Array("\nword\(random.nextIndex(below: 5000))".utf8)
        }
        let settings = TokenizerTraining.Settings(vocabularySize: 1000, pattern: pattern)
        let one = try Self.train([text], settings)
        #expect(try Self.train([text], settings, threads: 3).tokenizerJSON == one.tokenizerJSON)
        #expect(try Tokenizer(tokenizerJSON: one.tokenizerJSON) == one)
        #expect((500...1000).contains(one.vocabularySize))
        #expect(one.ignoresMerges == (pattern == .llama3))
        #expect(one.ggufPreTokenizer != nil)
    }

    /// A merge that spells a special token gives its id, as in `tokenizers`.
    @Test func pairsOfTheTextOfATokenGiveThatToken() throws {
        let settings = TokenizerTraining.Settings(vocabularySize: 300, specialTokens: ["ab"])
        let tokenizer = try Self.train([Array("xabz yabz zab".utf8)], settings)
        #expect(tokenizer.merges.first?.result == 0)
        #expect(tokenizer.vocabularySize == 257 + tokenizer.merges.count - 1)
    }

    @Test func learningEndsWhereNothingRepeats() throws {
        let tokenizer = try Self.train([Array("abcdefg hij".utf8)], .init(vocabularySize: 5000))
        #expect(tokenizer.vocabularySize == 257)
        #expect(tokenizer.merges.isEmpty)
    }

    @Test func documentsAreApart() throws {
        let apart = try Self.train([Array("ab".utf8), Array("ab".utf8), Array("ab".utf8)], .init(vocabularySize: 300))
        #expect(apart.merges.count == 1)
    }

    @Test func nonsenseIsRefused() throws {
        #expect(throws: TokenizerTraining.Failure.vocabularySize(256, allowed: 257...(1 << 20))) {
            try Self.train([[65]], .init(vocabularySize: 256))
        }
        #expect(throws: TokenizerTraining.Failure.specialToken("")) {
            try Self.train([[65]], .init(vocabularySize: 300, specialTokens: [""]))
        }
        #expect(throws: TokenizerTraining.Failure.specialToken("a")) {
            try Self.train([[65]], .init(vocabularySize: 300, specialTokens: ["a", "a"]))
        }
        #expect(throws: TokenizerTraining.Failure.noText) { try Self.train([[]], .init(vocabularySize: 300)) }
        #expect(throws: TokenizerTraining.Failure.cancelled) {
            let text = (0..<3000).map { "w\($0 % 700) " }.joined()
            var training = try TokenizerTraining(.init(vocabularySize: 900), pool: WorkerPool(threadCount: 1))
            try training.add([Array(text.utf8)])
            _ = try training.train { _ in false }
        }
    }
}
