import JSONText
import Numerics
import Testing
import Tokenizing

/// Files that are damaged or ask for what is not implemented.
@Suite struct TokenizerFileTests {
    /// Edits of a good file, by path; nil removes.
    static let edits: [(path: [JSONString], value: JSONValue?)] = [
        (["normalizer"], ["type": "NFC"]), (["truncation"], ["max_length": 4]),
        (["padding"], ["strategy": "BatchLongest"]),
        (["decoder"], nil), (["pre_tokenizer"], nil), (["pre_tokenizer"], ["type": "Whitespace"]),
        (["pre_tokenizer"], ["type": "Sequence"]), (["pre_tokenizer"], ["type": "Sequence", "pretokenizers": []]),
        (["pre_tokenizer"], GoldenFile.sequence(GoldenFile.split("a|b"), GoldenFile.byteLevel(regex: false))),
        (
            ["pre_tokenizer"],
            GoldenFile.sequence(GoldenFile.split(GoldenFile.llama3), GoldenFile.byteLevel(regex: true))
        ),
        (
            ["pre_tokenizer"],
            GoldenFile.sequence(GoldenFile.split(GoldenFile.llama3), GoldenFile.byteLevel(regex: false, prefix: true))
        ),
        (["pre_tokenizer", "use_regex"], 1), (["post_processor"], ["type": "Other"]), (["post_processor"], 3),
        (["post_processor"], ["type": "TemplateProcessing", "single": [["SpecialToken": ["id": "<x>"]]]]),
        (
            ["post_processor"],
            [
                "type": "TemplateProcessing",
                "single": [["SpecialToken": ["id": "x"]], ["Sequence": ["id": "A"]]],
                "special_tokens": ["x": ["ids": [99_999]]],
            ]
        ),
        (["added_tokens"], 5), (["added_tokens"], [["id": 0]]), (["added_tokens"], [["id": -1, "content": "x"]]),
        (["added_tokens"], [GoldenFile.added(5, "<new>")]), (["added_tokens"], [GoldenFile.added(1 << 40, "<new>")]),
        (["added_tokens"], [GoldenFile.added(0, "<|endoftext|>"), GoldenFile.added(0, "<|endoftext|>")]),
        (["added_tokens"], [GoldenFile.added(338, String(repeating: "x", count: 2000))]),
        (["model"], nil), (["model", "type"], "WordPiece"), (["model", "dropout"], 0.5), (["model", "vocab"], nil),
        (["model", "vocab", "zz"], -1), (["model", "vocab", "zz"], 3), (["model", "vocab", "zz"], 1.5),
        (["model", "vocab", "zz"], 2_000_000_000), (["model", "vocab", "t"], nil), (["model", "merges"], nil),
        (["model", "merges"], ["a"]), (["model", "merges"], [["a"]]), (["model", "merges"], [["a", "zz"]]),
        (["model", "merges"], ["a b c"]), (["model", "merges"], [["x", "q"]]), (["model", "merges"], [3]),
        (["model", "ignore_merges"], "yes"), (["model", "continuing_subword_prefix"], "##"),
        (["model", "unk_token"], 7),
    ]

    @Test(arguments: edits.indices) func isRefusedWithAReason(_ index: Int) throws {
        let (path, value) = Self.edits[index]
        let file = Self.edited(.object(GoldenFile.file("gpt-2")), path[...], value)
        do throws(TokenizerError) {
            _ = try Tokenizer(tokenizerJSON: file.line)
            Issue.record("taken: \(path) = \(String(describing: value))")
        } catch { #expect(error.description.utf8.count > 30) }
    }

    @Test func whatChangesNoIDIsTaken() throws {
        let plain = try GoldenFile.tokenizer("gpt-2")
        let edits: [(path: [JSONString], value: JSONValue?)] = [
            (["post_processor"], ["type": "ByteLevel", "trim_offsets": false]), (["model", "byte_fallback"], true),
            (["model", "unk_token"], "<|endoftext|>"), (["model", "dropout"], nil), (["model", "new"], 1),
            (["pre_tokenizer"], GoldenFile.sequence(GoldenFile.byteLevel(regex: true))),
        ]
        for (path, value) in edits {
            let file = Self.edited(.object(GoldenFile.file("gpt-2")), path[...], value)
            let tokenizer = try Tokenizer(tokenizerJSON: file.line)
            for text in GoldenVectors.texts { #expect(tokenizer.encode(text) == plain.encode(text)) }
        }
    }

    @Test func bytesWithoutAnEntryVanishOrBecomeTheUnknownToken() throws {
        var file: JSONValue = .object(GoldenFile.file("gpt-2"))
        file = Self.edited(file, ["model", "merges"], [])
        file = Self.edited(file, ["model", "vocab"], ["a": 0, "b": 1, "[UNK]": 2])
        file = Self.edited(file, ["added_tokens"], [])
        #expect(try Tokenizer(tokenizerJSON: file.line).encode("axxb x") == [0, 1])
        file = Self.edited(file, ["model", "unk_token"], "[UNK]")
        #expect(try Tokenizer(tokenizerJSON: file.line).encode("axxb x") == [0, 2, 2, 1, 2, 2])
        file = Self.edited(file, ["model", "fuse_unk"], true)
        #expect(try Tokenizer(tokenizerJSON: file.line).encode("axxb x") == [0, 2, 1, 2])
        file = Self.edited(file, ["model", "byte_fallback"], true)
        #expect(throws: TokenizerError.self) { try Tokenizer(tokenizerJSON: file.line) }
    }

    @Test func ofRepeatedMergesTheLastCounts() throws {
        var merges = GoldenVectors.merges.map { JSONValue.text($0) }
        merges.append(merges[0])
        let file = Self.edited(.object(GoldenFile.file("gpt-2")), ["model", "merges"], .array(merges))
        let tokenizer = try Tokenizer(tokenizerJSON: file.line)
        #expect(tokenizer.merges.count == GoldenVectors.merges.count)
        #expect(tokenizer.merges.last?.result == 257)
    }

    /// Random damage: a refusal or a tokenizer that works, never a crash.
    @Test func damagedFilesNeverCrash() throws {
        let good = JSONValue.object(GoldenFile.file("added")).line
        var random = SeededRandom(seed: 11)
        var taken = 0
        for _ in 0..<600 {
            var bytes = good
            for _ in 0...random.nextIndex(below: 3) {
                let place = random.nextIndex(below: bytes.count)
                switch random.nextIndex(below: 4) {
                case 0: bytes[place] = UInt8(truncatingIfNeeded: random.next())
                case 1: bytes.remove(at: place)
                case 2: bytes[place] = Array("0123456789\"{}[],:\\".utf8)[random.nextIndex(below: 18)]
                default:
                    let end = min(bytes.count, place + random.nextIndex(below: 40))
                    bytes.removeSubrange(place..<end)
                }
            }
            guard let tokenizer = try? Tokenizer(tokenizerJSON: bytes) else { continue }
            taken += 1
            for text in GoldenVectors.texts.suffix(4) {
                let ids = tokenizer.encode(text, addSpecialTokens: true)
                #expect(ids.allSatisfy { tokenizer.byteCount(of: $0) != nil })
            }
        }
        #expect((1..<600).contains(taken))
    }

    private static func edited(_ value: JSONValue, _ path: ArraySlice<JSONString>, _ new: JSONValue?) -> JSONValue {
        guard let key = path.first, var object = value.object else { return new ?? .null }
        object[key] = path.count == 1 ? new : edited(object[key] ?? .null, path.dropFirst(), new)
        return .object(object)
    }
}
