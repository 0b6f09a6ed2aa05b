import Corpus
import Glibc
import JSONText
import Numerics
import Testing
import Tokenizing

/// Compressed text and JSON lines.
@Suite struct InputTests {
    let folder = TextFolder()

    private func corpus(_ pattern: String, byteCountMax: Int = 64 << 20) throws(CorpusError) -> Corpus {
        try Corpus(
            [DomainSource(name: "a", patterns: [folder[pattern]])], tokenizer: .bytes, contextLength: 16,
            byteCountMax: byteCountMax)
    }

    private func summary(_ pattern: String) throws(CorpusError) -> DomainSummary { try corpus(pattern).domains[0] }

    /// All the text of one pattern, in the corpus's order.
    private func text(_ pattern: String) throws -> [UInt8] {
        let text = try EvaluationText(
            [DomainSource(name: "a", patterns: [folder[pattern]])], part: .all, tokenizer: .bytes,
            contextLength: 1 << 30, windowCountMax: 1)
        return text.domains[0].windows.tokens.map { UInt8($0) }
    }

    private func words(_ count: Int, seed: UInt64) -> [UInt8] {
        var random = SeededRandom(seed: seed)
        return (0..<count).flatMap { _ in Array("word\(random.nextIndex(below: 5000))\n".utf8) }
    }

    private func line(_ text: String) -> String {
        String(decoding: (["text": .text(text)] as JSONValue).line, as: UTF8.self) + "\n"
    }

    @Test func compressedFilesAreReadByContentWhateverTheirNames() throws {
        let book = words(100_000, seed: 1)
        folder.write("plain/book", book)
        folder.write("gzip/book.txt", Compressed.gzip(book))
        folder.write("zstd/book.gz", Compressed.zstd(book))
        folder.write("name/book.zst", book)
        for name in ["plain", "gzip", "zstd", "name"] { #expect(try text(name) == book, "\(name)") }
        // The same text, compressed or not, is the same content.
        folder.write("all/a", book)
        folder.write("all/b", Compressed.gzip(book))
        folder.write("all/c", Compressed.zstd(book))
        #expect(try summary("all").redundantFileCount == 2)
        #expect(
            try HeldOutFile(path: folder["all/b"], tokenizer: .bytes).digest
                == HeldOutFile(path: folder["all/a"], tokenizer: .bytes).digest)
    }

    @Test func severalMembersAndFramesFollowEachOther() throws {
        let parts = (0..<5).map { words(2000, seed: UInt64($0)) }
        folder.write("g/a", parts.flatMap(Compressed.gzip) + [0, 0, 0])
        // A skippable frame of three bytes stands before the second frame.
        let skippable: [UInt8] = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]
        folder.write("z/a", skippable + parts.flatMap { Compressed.zstd($0) + skippable })
        #expect(try text("g") == parts.flatMap { $0 })
        #expect(try text("z") == parts.flatMap { $0 })
    }

    @Test func nothingOfADamagedFileIsUsed() throws {
        let book = words(50_000, seed: 3)
        for (name, compressed) in [("gzip", Compressed.gzip(book)), ("zstd", Compressed.zstd(book))] {
            for (index, cut) in [4, 17, compressed.count / 2, compressed.count - 1].enumerated() {
                folder.write("\(name)\(index)/bad", Array(compressed.prefix(cut)))
                #expect(throws: CorpusError.self) { try summary("\(name)\(index)") }
                folder.write("\(name)\(index)/good", words(100, seed: 4))
                let found = try summary("\(name)\(index)")
                #expect(found.unreadableFileCount == 1 && found.byteCount == words(100, seed: 4).count)
                #expect(found.unreadableExample?.hasSuffix("its compressed data is cut off") == true)
            }
            folder.write("\(name)-tail/bad", compressed + Array("tail".utf8))
            #expect(throws: CorpusError.self) { try summary("\(name)-tail") }
        }
        // A changed byte is found by gzip's checksum, if not before.
        var changed = Compressed.gzip(book)
        changed[changed.count / 2] ^= 0x10
        folder.write("changed/bad", changed)
        folder.write("changed/good", words(100, seed: 4))
        #expect(try summary("changed").unreadableExample?.contains("gzip data is damaged") == true)
    }

    @Test func arbitraryBytesBehindAMagicNumberNeverCrash() throws {
        var random = SeededRandom(seed: 5)
        folder.write("x/good", words(100, seed: 4))
        for round in 0..<200 {
            let magic: [UInt8] = round % 2 == 0 ? [0x1f, 0x8b, 0x08, 0] : [0x28, 0xb5, 0x2f, 0xfd]
            folder.write(
                "x/bad",
                magic + (0..<random.nextIndex(below: 200)).map { _ in UInt8(truncatingIfNeeded: random.next()) })
            let found = try summary("x")
            #expect(found.unreadableFileCount + found.trainingDocumentCount >= 1)
        }
    }

    @Test func whatExpandsWithoutEndIsCutAtTheLimit() throws {
        // 256 MiB of zeros in 256 kB.
        folder.write("bomb/a", Compressed.gzip([UInt8](repeating: 0, count: 256 << 20)))
        let found = try corpus("bomb", byteCountMax: 1 << 20).domains[0]
        #expect(found.trainingTokenCount + found.heldOutTokenCount == 1 << 20)
        #expect(found.filesBeyondLimitCount == 1)
    }

    @Test func eachLineOfJSONLinesIsADocument() throws {
        let texts = (0..<300).map { "document \($0) says \"\u{e9}\u{1F600}\" and\nmore lines of it\n" }
        let lines = texts.map(line).joined()
        folder.write("x/a.jsonl", lines)
        let found = try summary("x")
        #expect(found.trainingDocumentCount + found.heldOutDocumentCount == 300)
        #expect((5...30).contains(found.heldOutDocumentCount))
        #expect(found.byteCount == lines.utf8.count && found.malformedLineCount == 0)
        #expect(found.trainingTokenCount + found.heldOutTokenCount == texts.reduce(0) { $0 + $1.utf8.count })
        #expect(try text("x").sorted() == texts.flatMap { Array($0.utf8) }.sorted())
        for name in ["a.jsonl.gz", "a.ndjson.zst", "a.jsonl"] {
            folder.write("y/\(name)", name.hasSuffix("gz") ? Compressed.gzip(Array(lines.utf8)) : Array(lines.utf8))
        }
        // All three are the same content.
        #expect(try summary("y").redundantFileCount == 2)
        #expect(try text("y") == text("x"))
    }

    @Test func heldOutLinesFollowTheirTextAndNotTheirFile() throws {
        let texts = (0..<400).map { "document \($0) of this test, long enough for a window of its own" }
        folder.write("one/a.jsonl", texts.map(line).joined())
        for part in 0..<4 { folder.write("four/\(part).jsonl", texts[(part * 100)...].prefix(100).map(line).joined()) }
        let sides = try ["one", "four"].map { name in
            try corpus(name).heldOutWindows(countMax: .max)[0].windows.tokens.count
        }
        #expect(try summary("one").heldOutDocumentCount == summary("four").heldOutDocumentCount)
        #expect(sides[0] == sides[1])
    }

    @Test func unusableLinesAreCountedAndTheFirstIsNamed() throws {
        let good = (0..<50).map { line("text number \($0), which is good") }.joined()
        let bad = ["{\"text\": 3}", "[]", "{\"other\": \"x\"}", "nonsense", "{\"text\":\"a\",\"text\":\"b\"}"]
        folder.write(
            "x/a.jsonl",
            [UInt8](arrayLiteral: 0xef, 0xbb, 0xbf) + Array("\(good)\n  \r\n\(bad.joined(separator: "\n"))".utf8))
        let found = try summary("x")
        #expect(found.malformedLineCount == 5 && found.usableLineCount == 50)
        #expect(found.malformedExample == "\(folder["x/a.jsonl"]), line 53: its \"text\" is an integer, not a string")
        folder.write("none/a.jsonl", bad.joined(separator: "\n"))
        #expect(
            throws: CorpusError.noUsableLine(
                domain: "a", lineCount: 5,
                example: "\(folder["none/a.jsonl"]), line 1: its \"text\" is an integer, not a string")
        ) { try summary("none") }
    }

    @Test func anEndlessLineIsPassedOver() throws {
        let good = (0..<50).map { line("text number \($0), which is good") }.joined()
        let long = [UInt8](repeating: UInt8(ascii: "x"), count: 40 << 20)
        folder.write("x/a.jsonl.gz", Compressed.gzip(Array(good.utf8) + long + Array("\n\(good)nonsense".utf8)))
        let found = try summary("x")
        #expect(found.usableLineCount == 100 && found.malformedLineCount == 2)
        #expect(found.malformedExample == "\(folder["x/a.jsonl.gz"]), line 51: it is longer than 16 MiB")
    }

    @Test func aLimitCutsJSONLinesBetweenLines() throws {
        let lines = (0..<100).map { line("text number \($0), which is good") }
        folder.write("x/a.jsonl", lines.joined())
        let found = try corpus("x", byteCountMax: lines[0].utf8.count * 20).domains[0]
        #expect(found.malformedLineCount == 0 && (18...20).contains(found.usableLineCount))
        #expect(found.filesBeyondLimitCount == 1)
    }
}
