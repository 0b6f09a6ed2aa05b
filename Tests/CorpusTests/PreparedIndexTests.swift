import Glibc
import JSONText
import Numerics
import Testing
import Tokenizing

@testable import Corpus

/// The index of a prepared folder, and whatever may stand in its place.
@Suite struct PreparedIndexTests {
    private func random(_ random: inout SeededRandom) -> PreparedIndex {
        var index = PreparedIndex(tokenizer: .bytes)
        var fileCount = 0
        func file() -> PreparedIndex.File {
            fileCount += 1
            return PreparedIndex.File(
                name: "\(fileCount)-training.tokens",
                checksum: (0..<32).map { _ in UInt8(truncatingIfNeeded: random.next()) })
        }
        func part() -> PreparedIndex.Part {
            var part = PreparedIndex.Part()
            for _ in 0..<random.nextIndex(below: 4) {
                let count = 1 + random.nextIndex(below: 1 << 40)
                part.shards.append(PreparedIndex.Shard(file: file(), tokenCount: count))
                part.tokenCount += count
            }
            if part.tokenCount > 0 {
                part.documentCount = 1 + random.nextIndex(below: part.tokenCount)
                part.documents = file()
            }
            return part
        }
        for number in 0...random.nextIndex(below: 4) {
            index.domains.append(
                PreparedIndex.Domain(
                    name: "domain \(number) \u{e9}\"", byteCount: random.nextIndex(below: 1 << 50), heldOut: part(),
                    training: part()))
        }
        return index
    }

    @Test func indexesReadBackTheSame() throws {
        var source = SeededRandom(seed: 1)
        for _ in 0..<100 {
            let index = random(&source)
            #expect(try PreparedIndex(decoding: index.encoded) == index)
        }
    }

    @Test func changedBytesAreNoticed() throws {
        var source = SeededRandom(seed: 2)
        let index = random(&source)
        let bytes = index.encoded
        for _ in 0..<3000 {
            var changed = bytes
            let position = source.nextIndex(below: bytes.count)
            switch source.nextIndex(below: 3) {
            case 0: changed[position] = UInt8(truncatingIfNeeded: source.next())
            case 1: changed.remove(at: position)
            default: changed.removeLast(bytes.count - position)
            }
            // White space may change, content may not.
            if let decoded = try? PreparedIndex(decoding: changed) { #expect(decoded == index) }
        }
    }

    /// A valid index with one member of one object replaced, its checksum made anew.
    private func reason(_ text: String, _ replacement: String, in index: PreparedIndex) throws -> String? {
        let body = String(decoding: index.encoded, as: UTF8.self)
        let changed = body.replacing(text, with: replacement)
        try #require(changed != body)
        var object = try #require(try JSONValue(parsing: Array(changed.utf8)).object)
        object["checksum"] = nil
        object["checksum"] = .text(hexadecimal(ContentHash(of: JSONValue.object(object).line).bytes))
        do {
            _ = try PreparedIndex(decoding: JSONValue.object(object).line)
            return nil
        } catch { return error.reason }
    }

    private var sample: PreparedIndex {
        var index = PreparedIndex(tokenizer: .bytes)
        func file(_ name: String) -> PreparedIndex.File {
            PreparedIndex.File(name: name, checksum: [UInt8](repeating: 7, count: 32))
        }
        var part = PreparedIndex.Part()
        part.shards = [
            PreparedIndex.Shard(file: file("a.tokens"), tokenCount: 100),
            PreparedIndex.Shard(file: file("b.tokens"), tokenCount: 11),
        ]
        part.tokenCount = 111
        part.documentCount = 5
        part.documents = file("c.documents")
        index.domains = [
            PreparedIndex.Domain(name: "x", byteCount: 222, heldOut: PreparedIndex.Part(), training: part)
        ]
        return index
    }

    @Test(arguments: [
        ("\"tokens\": 111", "\"tokens\": 112", "less than their part"),
        ("\"tokens\": 111", "\"tokens\": 110", "more than their part"),
        ("\"tokens\": 100", "\"tokens\": 9223372036854775807", "no integer in its range"),
        ("\"tokens\": 100", "\"tokens\": 70368744177664", "more than their part"),
        ("\"tokens\": 100", "\"tokens\": 70368744177665", "no integer in its range"),
        ("\"tokens\": 100", "\"tokens\": -1", "no integer in its range"),
        ("\"tokens\": 100", "\"tokens\": 1e2", "no integer in its range"),
        ("\"documents\": 5", "\"documents\": 112", "no integer in its range"),
        ("\"documents\": 5", "\"documents\": 0", "do not fit its tokens"),
        ("b.tokens", "a.tokens", "named twice"), ("c.documents", "a.tokens", "named twice"),
        ("a.tokens", "../a.tokens", "not allowed"), ("a.tokens", "/etc/passwd", "not allowed"),
        ("a.tokens", ".hidden", "not allowed"), ("a.tokens", "", "not allowed"),
        ("a.tokens", "atoll-tokens.json", "not allowed"),
        ("\"name\": \"x\"", "\"name\": \"\"", "empty or too long"),
        ("\"version\": 1", "\"version\": 2", "has version 2"),
        ("\"token_bytes\": 2", "\"token_bytes\": 4", "does not fit the vocabulary"),
        ("\"vocabulary_size\": 256", "\"vocabulary_size\": 70000", "does not fit the vocabulary"),
        ("\"vocabulary_size\": 256", "\"vocabulary_size\": 0", "no integer in its range"),
        ("\"format\": \"atoll-tokens\"", "\"format\": \"other\"", "not an index"),
        ("\"bytes\": 222", "\"bytes\": \"222\"", "no integer in its range"),
        ("\"bytes\": 222", "\"bytes\": 222, \"more\": 1", "checksum"),
        ("0707", "07Z7", "no hash"), ("\"shards\": []", "\"shards\": {}", "no array"),
    ]) func contradictionsAreRefused(text: String, replacement: String, words: String) throws {
        let found = try reason(text, replacement, in: sample)
        #expect(found?.contains(words) == true, "\(found ?? "accepted")")
    }

    @Test func documentListsAreCheckedAsTheyAreRead() throws {
        let folder = TextFolder()
        folder.fill("x", count: 20)
        try folder.prepare([DomainSource(name: "x", patterns: [folder["x"]])], into: "out")
        let list = "out/0-training.documents"
        let bytes = try folder.read(list)
        var random = SeededRandom(seed: 3)
        for _ in 0..<500 {
            var changed = bytes
            let record = random.nextIndex(below: bytes.count / 24) * 24
            let value = random.nextIndex(below: 2) == 0 ? random.next() : UInt64(random.nextIndex(below: 5000))
            withUnsafeBytes(of: value.littleEndian) { changed.replaceSubrange(record..<record + 8, with: $0) }
            folder.write(list, changed)
            let prepared = try PreparedFolder(folder["out"])
            var ends: [Int] = []
            do {
                try prepared.forEachDocument(of: prepared.index.domains[0].training) {
                    ends.append($0.end)
                    return true
                }
            } catch { #expect(changed != bytes) }
            #expect(zip(ends, ends.dropFirst()).allSatisfy { $0 < $1 })
            #expect((ends.last ?? 0) <= prepared.index.domains[0].training.tokenCount)
        }
    }

    @Test func otherTokenizersAreRefused() throws {
        let folder = TextFolder()
        folder.fill("x", count: 20)
        try folder.prepare([DomainSource(name: "x", patterns: [folder["x"]])], into: "out")
        var object = try #require(try JSONValue(parsing: folder.read("out/atoll-tokens.json")).object)
        object["tokenizer"] = .text(String(repeating: "0", count: 64))
        object["checksum"] = nil
        object["checksum"] = .text(hexadecimal(ContentHash(of: JSONValue.object(object).line).bytes))
        folder.write("out/atoll-tokens.json", JSONValue.object(object).line)
        #expect(
            throws: CorpusError.otherTokenizer(path: folder["out"], vocabularySize: 256, modelVocabularySize: 256)
        ) {
            try Corpus(
                [DomainSource(name: "x", patterns: [folder["out"]])], tokenizer: .bytes, contextLength: 16)
        }
    }

    @Test func idsTakeTwoBytesUpTo65536AndFourBeyond() {
        for (size, width) in [(256, TokenWidth.two), (65_536, .two), (65_537, .four)] {
            #expect(TokenWidth(vocabularySize: size) == width)
            let ids = (0..<100).map { Int32($0 * (size - 1) / 99) }
            var bytes: [UInt8] = []
            width.append(ids, to: &bytes)
            #expect(
                bytes.count == 100 * width.rawValue && bytes[2] == UInt8(truncatingIfNeeded: ids[1]) || width == .four)
            var back: [Int32] = []
            bytes.withUnsafeBytes { width.decode($0, into: &back) }
            #expect(back == ids)
        }
    }

    @Test func documentsEndWithTheTokenizersEndOfText() {
        let encoder = UnitEncoder(tokenizer: .bytes, width: .two, endOfText: 300, excluded: [])
        let hash = ContentHash(of: [1])
        let open = encoder.encode(WorkUnit(kind: .piece(hash, isLast: false), bytes: [1, 2]))
        let last = encoder.encode(WorkUnit(kind: .piece(hash, isLast: true), bytes: [3]))
        #expect(open.bytes == [1, 0, 2, 0] && last.bytes == [3, 0, 44, 1])
        let lines = Array("{\"text\":\"a\"}\n{\"text\":\"\"}\n{\"text\":\"b\"}".utf8)
        let both = encoder.encode(WorkUnit(kind: .lines(path: "x", first: 1), bytes: lines))
        #expect(both.bytes == [97, 0, 44, 1, 98, 0, 44, 1])
        #expect(both.segments.map(\.range) == [0..<4, 4..<8] && both.segments.allSatisfy(\.endsDocument))
    }

    @Test func piecesAreCutBeforeWords() {
        let size = TextPieces.byteCountMax
        func cut(_ text: [UInt8]) -> Int { text.withUnsafeBytes { TextPieces.cut($0) } }
        var text = [UInt8](repeating: UInt8(ascii: " "), count: size + 1)
        #expect(cut(Array(text.prefix(size))) == size)
        #expect(cut(text) == size)
        text[size - 5] = UInt8(ascii: "\n")
        #expect(cut(text) == size - 4)
        text.replaceSubrange(size - 101..<size - 98, with: Array("x\nw".utf8))
        #expect(cut(text) == size - 99)
        // No character is cut, and what is not UTF-8 ends all the same.
        let euros = Array(String(repeating: "\u{20ac}", count: size / 3 + 1).utf8).prefix(size + 1)
        #expect(cut(Array(euros)) % 3 == 0)
        #expect(cut([UInt8](repeating: 0x80, count: size + 1)) == size)
    }
}
