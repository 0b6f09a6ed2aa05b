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

    private static let size = 256 + 1 + 160

    @Test func mergesAreThoseOfTokenizers() throws {
        let tokenizer = try Self.train([Array(GoldenVectors.corpus.utf8)], .init(vocabularySize: Self.size))
        let merges = tokenizer.merges.map { merge in
            "\(tokenizer.tokenName(of: merge.left) ?? "") \(tokenizer.tokenName(of: merge.right) ?? "")"
        }
        #expect(merges == GoldenVectors.merges)
        #expect(tokenizer.vocabularySize == Self.size)
        #expect(tokenizer.roles.eos == 0)
        #expect(
            tokenizer.encode(GoldenVectors.corpus) == (try GoldenFile.tokenizer("gpt-2")).encode(GoldenVectors.corpus))
    }

    @Test(arguments: TokenizerTraining.Pattern.allCases) func threadsDoNotMatter(
        _ pattern: TokenizerTraining.Pattern
    ) throws {
        var random = SeededRandom(seed: 1)
        var text: [UInt8] = []
        while text.count < 1_500_000 {
            text +=
                Array(GoldenVectors.corpus.utf8)[random.nextIndex(below: 400)..<(400 + random.nextIndex(below: 600))]
            text += Array("\nword\(random.nextIndex(below: 5000))".utf8)
        }
        let settings = TokenizerTraining.Settings(vocabularySize: 1000, pattern: pattern)
        let one = try Self.train([text], settings)
        #expect(try Self.train([text], settings, threads: 3).tokenizerJSON == one.tokenizerJSON)
        #expect(try Tokenizer(tokenizerJSON: one.tokenizerJSON) == one)
        #expect(one.vocabularySize == 1000)
        #expect(one.ignoresMerges == (pattern == .llama3))
        #expect(one.ggufPreTokenizer != nil)
    }

    /// Runs of one letter come to the same text by different pairs, so that an id is used again.
    @Test func pairsOfOneTextShareAnID() throws {
        let text = "aaaaaaa baaaa aaab aaaaa caaac aaaaaaaaaaa baaaaaab aaa aaaa"
        let tokenizer = try Self.train([Array(text.utf8)], .init(vocabularySize: 280, countMin: 1))
        #expect(Set(tokenizer.merges.map(\.result)).count < tokenizer.merges.count)
        #expect(tokenizer.decode(tokenizer.encode(text)) == Array(text.utf8))
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
