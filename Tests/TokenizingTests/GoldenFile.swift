import JSONText
import Testing
import Tokenizing

/// `tokenizer.json` files around the golden vocabulary.
enum GoldenFile {
    static let llama3 =
        #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"#
        + #"|\s*[\r\n]+|\s+(?!\S)|\s+"#

    static func byteLevel(regex: Bool, prefix: Bool = false) -> JSONValue {
        [
            "type": "ByteLevel", "add_prefix_space": .bool(prefix), "trim_offsets": true,
            "use_regex": .bool(regex),
        ]
    }

    static func sequence(_ stages: JSONValue...) -> JSONValue {
        ["type": "Sequence", "pretokenizers": .array(stages)]
    }

    static func split(_ pattern: String) -> JSONValue {
        ["type": "Split", "pattern": ["Regex": .text(pattern)], "behavior": "Isolated", "invert": false]
    }

    /// The pre-tokenizer of each set of golden ids.
    static func preTokenizer(_ name: String) -> JSONValue {
        switch name {
        case "llama-3": sequence(split(llama3), byteLevel(regex: false))
        case "qwen2":
            sequence(
                split(llama3.split(separator: "{1,3}").joined()), byteLevel(regex: false))
        case "smollm": sequence(["type": "Digits", "individual_digits": true], byteLevel(regex: true))
        case "prefix": byteLevel(regex: true, prefix: true)
        default: byteLevel(regex: true)
        }
    }

    /// The characters of the byte map in their order, which are the first entries after the special token.
    static let alphabet: [String] = {
        let own = Array(33...126) + Array(161...172) + Array(174...255)
        return (own + Array(0x100...0x143)).compactMap { Unicode.Scalar(UInt32($0)).map { String(Character($0)) } }
    }()

    /// A file; the members of old files that `tokenizers` writes today are left out of `isOld` ones.
    static func file(_ name: String, isOld: Bool = false) -> JSONObject {
        var vocabulary = JSONObject()
        var merges: [JSONValue] = []
        vocabulary["<|endoftext|>"] = 0
        func add(_ name: String) { vocabulary[JSONString(name)] = .integer(Int64(vocabulary.members.count)) }
        for name in alphabet { add(name) }
        for merge in GoldenVectors.merges {
            let parts = merge.utf8.split(separator: UInt8(ascii: " ")).map {
                String(decoding: Array($0), as: UTF8.self)
            }
            add(parts[0] + parts[1])
            merges.append(isOld ? .text(merge) : .array(parts.map { .text($0) }))
        }
        if name == "ignoring" { add("hot") }
        var model = JSONObject()
        model["type"] = "BPE"
        if !isOld {
            model["ignore_merges"] = .bool(name == "ignoring")
            model["byte_fallback"] = false
            model["fuse_unk"] = false
        }
        model["vocab"] = .object(vocabulary)
        model["merges"] = .array(merges)
        var file = JSONObject()
        file["added_tokens"] = .array(addedTokens(name))
        file["pre_tokenizer"] = preTokenizer(name)
        if name == "added" { file["post_processor"] = template }
        file["decoder"] = byteLevel(regex: true)
        file["model"] = .object(model)
        return file
    }

    private static func addedTokens(_ name: String) -> [JSONValue] {
        let first = added(0, "<|endoftext|>", special: true)
        guard name == "added" else { return [first] }
        return [
            first, added(338, "<s>", special: true), added(339, "</s>", special: true),
            added(340, "<pad>", strips: true), added(341, "the", singleWord: true), added(342, "<s>the"),
        ]
    }

    static func added(
        _ id: Int64, _ content: String, special: Bool = false, strips: Bool = false, singleWord: Bool = false
    ) -> JSONValue {
        [
            "id": .integer(id), "content": .text(content), "special": .bool(special), "lstrip": .bool(strips),
            "rstrip": .bool(strips), "single_word": .bool(singleWord), "normalized": .bool(singleWord),
        ]
    }

    private static let template: JSONValue = [
        "type": "TemplateProcessing",
        "single": [
            ["SpecialToken": ["id": "<s>", "type_id": 0]], ["Sequence": ["id": "A", "type_id": 0]],
            ["SpecialToken": ["id": "</s>", "type_id": 0]],
        ],
        "pair": [],
        "special_tokens": [
            "<s>": ["id": "<s>", "ids": [338], "tokens": ["<s>"]],
            "</s>": ["id": "</s>", "ids": [339], "tokens": ["</s>"]],
        ],
    ]

    static func tokenizer(_ name: String, isOld: Bool = false) throws -> Tokenizer {
        try Tokenizer(tokenizerJSON: JSONValue.object(file(name, isOld: isOld)).encoded())
    }
}
