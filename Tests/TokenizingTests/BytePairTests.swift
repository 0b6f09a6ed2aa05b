import JSONText
import Numerics
import Testing

@testable import Tokenizing

/// Encoding and decoding, against ids that `tokenizers` gave.
@Suite struct BytePairTests {
    static let names = GoldenVectors.ids.keys.sorted()

    @Test(arguments: names) func idsAreThoseOfTokenizers(_ name: String) throws {
        let golden = try #require(GoldenVectors.ids[name])
        #expect(golden.count == GoldenVectors.texts.count)
        for isOld in [false, true] where !(isOld && name == "ignoring") {
            let tokenizer = try GoldenFile.tokenizer(name, isOld: isOld)
            for (text, ids) in zip(GoldenVectors.texts, golden) {
                #expect(
                    tokenizer.encode(text, addSpecialTokens: name == "added") == ids,
                    "\(name): \(text.debugDescription)")
            }
        }
    }

    @Test(arguments: names.filter { $0 != "prefix" && $0 != "added" }) func textIsDecodedExactly(_ name: String) throws
    {
        let tokenizer = try GoldenFile.tokenizer(name)
        for text in GoldenVectors.texts + [GoldenVectors.corpus] {
            let ids = tokenizer.encode(text)
            #expect(tokenizer.decode(ids) == Array(text.utf8))
            #expect(ids.reduce(0) { $0 + (tokenizer.byteCount(of: $1) ?? 0) } == text.utf8.count)
        }
    }

    @Test(arguments: names) func fileIsReadBack(_ name: String) throws {
        let tokenizer = try GoldenFile.tokenizer(name)
        let written = tokenizer.tokenizerJSON
        let again = try Tokenizer(tokenizerJSON: written, config: tokenizer.configJSON(contextLength: 256))
        #expect(again == tokenizer)
        #expect(again.tokenizerJSON == written)
    }

    @Test func oldAndNewFilesAreOne() throws {
        #expect(try GoldenFile.tokenizer("gpt-2", isOld: true) == GoldenFile.tokenizer("gpt-2"))
    }

    @Test func specialTokensAroundATextAreAddedOnRequestOnly() throws {
        let tokenizer = try GoldenFile.tokenizer("added")
        #expect(tokenizer.encode("x").count == 1)
        #expect(tokenizer.encode("x", addSpecialTokens: true) == [338] + tokenizer.encode("x") + [339])
        #expect(tokenizer.addsBOS)
        #expect(tokenizer.decode([338, 69, 339], skippingSpecialTokens: true) == tokenizer.decode([69]))
        #expect(tokenizer.vocabularySize == 343)
        #expect(tokenizer.decode([343]) == nil)
    }

    @Test func rolesComeFromTheConfiguration() throws {
        let file = try JSONValue.object(GoldenFile.file("added")).encoded()
        let config: JSONValue = [
            "bos_token": "<|endoftext|>", "eos_token": ["content": "</s>"], "pad_token": "<pad>", "unk_token": nil,
            "chat_template": "{{ messages }}",
        ]
        let tokenizer = try Tokenizer(tokenizerJSON: file, config: config.encoded())
        #expect(tokenizer.roles.bos == 0)
        #expect(tokenizer.roles.eos == 339)
        #expect(tokenizer.roles.pad == 340)
        #expect(tokenizer.roles.unknown == nil)
        #expect(!tokenizer.addsBOS)
        let written = try #require(JSONValue(parsing: tokenizer.configJSON(contextLength: 64)).object)
        #expect(written["eos_token"] == "</s>")
        #expect(written["chat_template"] == "{{ messages }}")
        #expect(written["model_max_length"] == 64)
        // Without it: what stands around a text.
        #expect(try Tokenizer(tokenizerJSON: file).roles.bos == 338)
        #expect(try GoldenFile.tokenizer("gpt-2").roles.eos == 0)
    }

    @Test func exportersLearnWhatTheFileSays() throws {
        let names = ["gpt-2": "gpt-2", "llama-3": "llama-bpe", "smollm": "smollm", "qwen2": "qwen2", "prefix": nil]
        for (name, expected) in names { #expect(try GoldenFile.tokenizer(name).ggufPreTokenizer == expected) }
        let tokenizer = try GoldenFile.tokenizer("gpt-2")
        let first = try #require(tokenizer.merges.first)
        let (left, right) = (
            try #require(tokenizer.tokenName(of: first.left)), try #require(tokenizer.tokenName(of: first.right))
        )
        #expect("\(left) \(right)" == GoldenVectors.merges.first)
        #expect(tokenizer.tokenName(of: first.result) == left + right)
        #expect(tokenizer.tokenBytes(of: 221) == [0x20])
        #expect(tokenizer.addedTokens.map(\.content) == ["<|endoftext|>"])
    }

    // MARK: Bytes that are no text

    /// (bytes, what Python's `bytes.decode("utf-8", "replace")` makes of them).
    static let broken: [([UInt8], String)] = [
        ([0x61, 0xff, 0x62], "a\u{fffd}b"), ([0xc3], "\u{fffd}"), ([0xe2, 0x82], "\u{fffd}"),
        ([0xe2, 0x82, 0x41], "\u{fffd}A"), ([0xed, 0xa0, 0x80], "\u{fffd}\u{fffd}\u{fffd}"),
        ([0xf0, 0x9f, 0x98], "\u{fffd}"), ([0xf0, 0x80, 0x80], "\u{fffd}\u{fffd}\u{fffd}"),
        ([0xf4, 0x90, 0x80, 0x80], "\u{fffd}\u{fffd}\u{fffd}\u{fffd}"), ([0xc0, 0xaf], "\u{fffd}\u{fffd}"),
        ([0xe1, 0x80, 0xe2, 0xf0, 0x91, 0x92, 0xf1, 0xbf, 0x41], "\u{fffd}\u{fffd}\u{fffd}\u{fffd}A"),
    ]

    @Test(arguments: broken) func invalidPartsBecomeReplacementCharacters(_ bytes: [UInt8], _ text: String) throws {
        let tokenizer = try GoldenFile.tokenizer("gpt-2")
        #expect(tokenizer.encode(bytes) == tokenizer.encode(text))
        let padded = Array("0123456789".utf8) + bytes + [0x7e]
        #expect(tokenizer.encode(padded) == tokenizer.encode("0123456789\(text)~"))
    }

    // MARK: Long and parallel

    @Test func threadsDoNotMatter() throws {
        var random = SeededRandom(seed: 3)
        var text: [UInt8] = []
        while text.count < 600_000 {
            text += Array(GoldenVectors.texts[random.nextIndex(below: GoldenVectors.texts.count)].utf8)
            text += Array(["\n", "\n\n", " \nthe", "\r\n", "9\n"][random.nextIndex(below: 5)].utf8)
        }
        let pool = WorkerPool(threadCount: 3)
        for name in Self.names {
            let tokenizer = try GoldenFile.tokenizer(name)
            #expect(tokenizer.encode(text, pool: pool) == tokenizer.encode(text), "\(name)")
        }
    }

    /// The definition: merge the strongest pair, leftmost first, until there is none.
    static func mergeByDefinition(_ bytes: [UInt8], _ tokenizer: Tokenizer) -> [Int32] {
        var ids = bytes.flatMap { byte in (0..<257).map(Int32.init).filter { tokenizer.tokenBytes(of: $0) == [byte] } }
        let merges = tokenizer.merges
        while true {
            var best: (rank: Int, at: Int)?
            for at in 0..<max(0, ids.count - 1) {
                guard let rank = merges.firstIndex(where: { $0.left == ids[at] && $0.right == ids[at + 1] }) else {
                    continue
                }
                if best.map({ rank < $0.rank }) ?? true { best = (rank, at) }
            }
            guard let best else { return ids }
            ids.replaceSubrange(best.at...(best.at + 1), with: [merges[best.rank].result])
        }
    }

    @Test func piecesOfAnyLengthAreMergedByTheDefinition() throws {
        let tokenizer = try GoldenFile.tokenizer("gpt-2")
        var random = SeededRandom(seed: 5)
        let letters = Array("thersaonit".utf8)
        for count in [2, 3, 17, 47, 48, 49, 63, 64, 65, 66, 130] {
            let piece = (0..<count).map { _ in letters[random.nextIndex(below: letters.count)] }
            #expect(tokenizer.encode(piece) == Self.mergeByDefinition(piece, tokenizer), "\(count)")
        }
    }

    @Test(.timeLimit(.minutes(1))) func hostilePiecesAreNotQuadratic() throws {
        let tokenizer = try GoldenFile.tokenizer("gpt-2")
        let piece = [UInt8](repeating: UInt8(ascii: "a"), count: 2 << 20)
        let ids = tokenizer.encode(piece)
        #expect(tokenizer.decode(ids) == piece)
        let spaces = [UInt8](repeating: UInt8(ascii: " "), count: 2 << 20)
        #expect(tokenizer.decode(tokenizer.encode(spaces)) == spaces)
    }

    @Test func cacheForgetsAndRemembers() throws {
        let tokenizer = try GoldenFile.tokenizer("gpt-2")
        var random = SeededRandom(seed: 9)
        var text = ""
        for _ in 0..<120_000 { text += " \(String(random.next() >> 40, radix: 36))" }
        let once = tokenizer.encode(text)
        #expect(tokenizer.decode(once) == Array(text.utf8))
        #expect(tokenizer.encode(text) == once)
    }
}
