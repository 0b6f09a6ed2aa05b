import Numerics
import Testing
import Tokenizing

@testable import Corpus

/// Corpora of a tokenizer with merges and an end-of-text token.
@Suite struct BytePairCorpusTests {
    let folder = TextFolder()

    private func words(_ count: Int, seed: UInt64) -> [UInt8] {
        var random = SeededRandom(seed: seed)
        let ends = [" ", " ", ", ", "\n", "\n\n  ", " \u{e9}t\u{e9} ", ".\n"]
        return (0..<count).flatMap { _ in
            Array("word\(random.nextIndex(below: 900))\(ends[random.nextIndex(below: ends.count)])".utf8)
        }
    }

    private func tokenizer(_ pattern: TokenizerTraining.Pattern) throws -> Tokenizer {
        var training = try TokenizerTraining(
            TokenizerTraining.Settings(vocabularySize: 600, pattern: pattern), pool: WorkerPool(threadCount: 1))
        try training.add([words(5000, seed: 1)])
        return try training.train { _ in true }
    }

    @Test(arguments: TokenizerTraining.Pattern.allCases)
    func longTextGetsTheIDsOfTheTextInOnePiece(pattern: TokenizerTraining.Pattern) throws {
        let tokenizer = try tokenizer(pattern)
        let end = try #require(tokenizer.roles.eos)
        let text = words(150_000, seed: 2)
        #expect(text.count > 4 * TextPieces.byteCountMax)
        folder.write("book", text)
        let found = try LoadedText.load(
            DomainSource(name: "x", patterns: [folder["book"]]), tokenizer: tokenizer, byteCountMax: 1 << 30,
            excluded: [])
        var ids: [Int32] = []
        try found.tokens.read(0..<found.tokens.count, into: &ids)
        #expect(ids == tokenizer.encode(text) + [end])
    }

    @Test func preparedTextIsThatTextWithTheEndOfEachDocument() throws {
        let tokenizer = try tokenizer(.gpt2)
        let end = try #require(tokenizer.roles.eos)
        for index in 0..<50 { folder.write("x/\(index)", words(100, seed: UInt64(index))) }
        folder.write("x/big", words(60_000, seed: 99))
        folder.write("x/a.jsonl", (0..<100).map { "{\"text\":\"line number \($0)\"}\n" }.joined())
        let summary = try Preparation(
            [DomainSource(name: "x", patterns: [folder["x"]])], tokenizer: tokenizer, threadCount: 2,
            shardByteCountMax: 10_000
        ).write(to: FolderOutput(folder["out"]), observer: CountingObserver())[0]
        #expect(summary.trainingDocumentCount + summary.heldOutDocumentCount == 151)
        var all: [[Int32]] = []
        for name in ["x", "out"] {
            let text = try LoadedText.load(
                DomainSource(name: "x", patterns: [folder[name]]), tokenizer: tokenizer, byteCountMax: 1 << 30,
                excluded: [])
            var ids: [Int32] = []
            try text.tokens.read(0..<text.tokens.count, into: &ids)
            all.append(ids)
        }
        #expect(all[0] == all[1] && all[0].last == end)
        #expect(all[0].count { $0 == end } == 151)
        // The index knows the tokenizer.
        #expect(
            throws: CorpusError.otherTokenizer(path: folder["out"], vocabularySize: 600, modelVocabularySize: 256)
        ) {
            try Corpus(
                [DomainSource(name: "x", patterns: [folder["out"]])], tokenizer: .bytes, contextLength: 16)
        }
    }
}
