import JSONText

extension Tokenizer {
    /// The canonical `tokenizer.json`: equal tokenizers give equal bytes. A charter names a tokenizer by the digest of
    /// these bytes.
    package var tokenizerJSON: [UInt8] {
        Self.text([
            "version": "1.0", "truncation": nil, "padding": nil, "added_tokens": [], "normalizer": nil,
            "pre_tokenizer": [
                "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false,
            ],
            "post_processor": nil,
            "decoder": ["type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false],
            "model": .object(modelJSON),
        ])
    }

    /// The `tokenizer_config.json` that makes `transformers` load `tokenizer.json` as it is.
    ///
    /// - Parameter contextLength: the longest text in tokens that the model was made for.
    package func configJSON(contextLength: Int) -> [UInt8] {
        Self.text([
            "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": .integer(Int64(contextLength)),
            "clean_up_tokenization_spaces": false, "add_bos_token": false, "add_eos_token": false,
        ])
    }

    private var modelJSON: JSONObject {
        var vocabulary = JSONObject()
        for (byte, name) in ByteCharacters.names.enumerated() { vocabulary[name] = .integer(Int64(byte)) }
        var model = JSONObject()
        model["type"] = "BPE"
        for key: JSONString in ["dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"] {
            model[key] = .null
        }
        for key: JSONString in ["fuse_unk", "byte_fallback", "ignore_merges"] { model[key] = false }
        model["vocab"] = .object(vocabulary)
        model["merges"] = []
        return model
    }

    private static func text(_ value: JSONValue) -> [UInt8] {
        do { return try value.encoded(.indented) } catch { preconditionFailure("tokenizer files hold no such number") }
    }

    /// Reads a `tokenizer.json`. Only the byte-level form is taken, however its members are ordered and whichever
    /// neutral members other programs have added; everything that could change an id is refused.
    package init(tokenizerJSON bytes: [UInt8]) throws(TokenizerError) {
        let root: JSONValue
        do { root = try JSONValue(parsing: bytes) } catch { throw .malformed(error.description) }
        guard let file = root.object else { throw .malformed("it is \(root.kind), not an object") }
        for key: JSONString in ["normalizer", "post_processor", "truncation", "padding"] {
            try Self.check(file[key] ?? .null, isOneOf: [.null], part: key.string)
        }
        try Self.check(file["added_tokens"] ?? [], isOneOf: [[]], part: "added_tokens")
        try Self.checkByteLevel(file["pre_tokenizer"] ?? .null, part: "pre_tokenizer", changesIDs: true)
        try Self.checkByteLevel(file["decoder"] ?? .null, part: "decoder", changesIDs: false)
        guard let model = file["model"]?.object else { throw .malformed("it has no model") }
        try Self.checkModel(model)
        self = .bytes
    }

    private static func checkByteLevel(_ value: JSONValue, part: String, changesIDs: Bool) throws(TokenizerError) {
        guard let stage = value.object else { throw .unsupported(part: part, found: value.kind) }
        try check(stage["type"] ?? .null, isOneOf: ["ByteLevel"], part: "\(part).type")
        guard changesIDs else { return }
        // Without the members their defaults hold, which are true.
        try check(stage["add_prefix_space"] ?? true, isOneOf: [false], part: "\(part).add_prefix_space")
        // With bytes as tokens a split changes nothing, so use_regex may be anything.
    }

    private static func checkModel(_ model: JSONObject) throws(TokenizerError) {
        try check(model["type"] ?? .null, isOneOf: ["BPE"], part: "model.type")
        for key: JSONString in ["dropout", "unk_token"] {
            try check(model[key] ?? .null, isOneOf: [.null], part: "model.\(key)")
        }
        for key: JSONString in ["continuing_subword_prefix", "end_of_word_suffix"] {
            try check(model[key] ?? .null, isOneOf: [.null, ""], part: "model.\(key)")
        }
        try check(model["merges"] ?? .null, isOneOf: [[]], part: "model.merges")
        guard let vocabulary = model["vocab"]?.object else { throw .malformed("it has no vocabulary") }
        guard vocabulary.members.count == ByteCharacters.names.count else {
            throw .unsupported(part: "the size of model.vocab", found: "\(vocabulary.members.count)")
        }
        for (byte, name) in ByteCharacters.names.enumerated() {
            let found = vocabulary[name]
            guard found == .integer(Int64(byte)) else {
                throw .unsupported(
                    part: "the id of \"\(name)\" in model.vocab", found: found.map(describe) ?? "missing")
            }
        }
    }

    private static func check(
        _ value: JSONValue, isOneOf allowed: [JSONValue], part: String
    ) throws(TokenizerError) {
        guard allowed.contains(value) else { throw .unsupported(part: part, found: describe(value)) }
    }

    private static func describe(_ value: JSONValue) -> String {
        switch value {
        case .array(let elements): elements.isEmpty ? "empty" : "not empty"
        case .object: "an object"
        case .null, .bool, .integer, .number, .string: String(decoding: value.line.prefix(80), as: UTF8.self)
        }
    }
}
