import JSONText
import Testing
import Tokenizing

@Suite struct TokenizerTests {
    let tokenizer = Tokenizer.bytes

    @Test func idsAreBytes() {
        let bytes = Array(UInt8.min...UInt8.max)
        #expect(tokenizer.encode(bytes) == (0..<256).map(Int32.init))
        #expect(tokenizer.decode(tokenizer.encode(bytes)) == bytes)
        #expect(tokenizer.encode("é") == [0xc3, 0xa9])
        #expect(tokenizer.vocabularySize == 256)
    }

    @Test func idsOutsideTheVocabularyDecodeToNothing() {
        #expect(tokenizer.decode([256]) == nil)
        #expect(tokenizer.decode([-1]) == nil)
        #expect(tokenizer.byteCount(of: 255) == 1)
        #expect(tokenizer.byteCount(of: 256) == nil)
    }

    @Test func fileIsReadBack() throws {
        #expect(try Tokenizer(tokenizerJSON: tokenizer.tokenizerJSON) == tokenizer)
    }

    @Test func fileMapsEveryByteToItsCharacter() throws {
        let file = try #require(JSONValue(parsing: tokenizer.tokenizerJSON).object)
        let vocabulary = try #require(file["model"]?.object?["vocab"]?.object)
        #expect(vocabulary.members.count == 256)
        #expect(vocabulary["A"] == 65)
        #expect(vocabulary["\u{120}"] == 32)
        #expect(vocabulary["\u{100}"] == 0)
        #expect(vocabulary["\u{143}"] == 173)
        #expect(vocabulary["\u{ff}"] == 255)
    }

    /// Edits of the file, by path, that are not implemented or make no sense.
    static let edits: [([JSONString], JSONValue)] = [
        (["normalizer"], ["type": "NFC"]),
        (["post_processor"], ["type": "TemplateProcessing"]),
        (["added_tokens"], [["id": 257, "content": "<s>"]]),
        (["pre_tokenizer"], nil),
        (["truncation"], ["max_length": 5]),
        (["pre_tokenizer", "type"], "Whitespace"),
        (["decoder"], nil),
        (["model", "type"], "Unigram"),
        (["model", "merges"], [["a", "b"]]),
        (["model", "dropout"], 0.1),
        (["model", "continuing_subword_prefix"], "##"),
        (["model", "vocab", "A"], 66),
        (["model", "vocab", "ab"], 1_000_000),
    ]

    @Test(arguments: edits.indices) func otherTokenizersAreRefused(_ index: Int) throws {
        let (path, value) = Self.edits[index]
        let file = try JSONValue(parsing: tokenizer.tokenizerJSON)
        let edited = try Self.replace(path[...], in: file, by: value).encoded()
        #expect(throws: TokenizerError.self) { try Tokenizer(tokenizerJSON: edited) }
    }

    @Test func refusalNamesThePart() throws {
        let file = try JSONValue(parsing: tokenizer.tokenizerJSON)
        let edited = try Self.replace(["model", "type"], in: file, by: "Unigram").encoded()
        do {
            _ = try Tokenizer(tokenizerJSON: edited)
            Issue.record("it was taken")
        } catch {
            #expect(error == .unsupported(part: "model.type", found: "\"Unigram\""))
        }
    }

    @Test func garbageIsRefused() {
        for bytes: [UInt8] in [[], [0xff], Array("[]".utf8), Array("{}".utf8), Array("{\"model\":1}".utf8)] {
            #expect(throws: TokenizerError.self) { try Tokenizer(tokenizerJSON: bytes) }
        }
        let file = tokenizer.tokenizerJSON
        for count in stride(from: 0, to: file.count - 1, by: 7) {
            #expect(throws: TokenizerError.self) { try Tokenizer(tokenizerJSON: Array(file.prefix(count))) }
        }
    }

    private static func replace(_ path: ArraySlice<JSONString>, in value: JSONValue, by new: JSONValue) -> JSONValue {
        guard let key = path.first, var object = value.object else { return new }
        object[key] = replace(path.dropFirst(), in: object[key] ?? .null, by: new)
        return .object(object)
    }
}
