import JSONText

extension Tokenizer {
    /// The canonical `tokenizer.json`: equal tokenizers give equal bytes. A charter names a tokenizer by the digest of
    /// these bytes.
    package var tokenizerJSON: [UInt8] {
        switch model {
        case .bytes:
            Self.text([
                "version": "1.0", "truncation": nil, "padding": nil, "added_tokens": [], "normalizer": nil,
                "pre_tokenizer": [
                    "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false,
                ],
                "post_processor": nil,
                "decoder": ["type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false],
                "model": .object(
                    Self.modelJSON(
                        vocabulary: ByteCharacters.names.enumerated().map { ($1, Int32($0)) }, merges: [])),
            ])
        case .bytePairs(let model):
            Self.text([
                "version": "1.0", "truncation": nil, "padding": nil,
                "added_tokens": .array(model.addedTokens.map(\.json)), "normalizer": nil,
                "pre_tokenizer": model.preTokenizerJSON, "post_processor": model.postProcessorJSON,
                "decoder": model.decoderJSON, "model": .object(Self.modelJSON(model)),
            ])
        }
    }

    /// The `tokenizer_config.json` that makes `transformers` load `tokenizer.json` as it is.
    ///
    /// - Parameter contextLength: the longest text in tokens that the model was made for; nil if there is no model.
    package func configJSON(contextLength: Int?) -> [UInt8] {
        var object = JSONObject()
        object["tokenizer_class"] = "PreTrainedTokenizerFast"
        object["model_max_length"] = contextLength.map { .integer(Int64($0)) }
        object["clean_up_tokenization_spaces"] = false
        guard case .bytePairs(let model) = model else {
            object["add_bos_token"] = false
            object["add_eos_token"] = false
            return Self.text(.object(object))
        }
        // The flags would make transformers replace a post-processor, which says it already.
        if model.prefix.isEmpty, model.suffix.isEmpty {
            object["add_bos_token"] = false
            object["add_eos_token"] = false
        }
        let roles: [(key: JSONString, id: Int32?)] = [
            ("bos_token", roles.bos), ("eos_token", roles.eos), ("pad_token", roles.pad),
            ("unk_token", roles.unknown),
        ]
        for (key, id) in roles {
            if let id, let name = Self.name(of: id, in: model) { object[key] = .string(name) }
        }
        object["chat_template"] = chatTemplate
        return Self.text(.object(object))
    }

    private static func modelJSON(_ model: BytePairModel) -> JSONObject {
        var names = [JSONString](repeating: "", count: model.vocabularySize)
        for entry in model.entries { names[Int(entry.id)] = entry.name }
        var object = modelJSON(
            vocabulary: model.entries.map { ($0.name, $0.id) },
            merges: model.merges.map { .array([.string(names[Int($0.left)]), .string(names[Int($0.right)])]) })
        object["unk_token"] = model.unknownToken.map { .string($0) } ?? .null
        object["fuse_unk"] = .bool(model.fusesUnknown)
        object["ignore_merges"] = .bool(model.ignoresMerges)
        return object
    }

    private static func modelJSON(vocabulary: [(JSONString, Int32)], merges: [JSONValue]) -> JSONObject {
        var entries = JSONObject()
        for (name, id) in vocabulary { entries[name] = .integer(Int64(id)) }
        var model = JSONObject()
        model["type"] = "BPE"
        for key: JSONString in ["dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"] {
            model[key] = .null
        }
        for key: JSONString in ["fuse_unk", "byte_fallback", "ignore_merges"] { model[key] = false }
        model["vocab"] = .object(entries)
        model["merges"] = .array(merges)
        return model
    }

    private static func text(_ value: JSONValue) -> [UInt8] {
        do { return try value.encoded(.indented) } catch { preconditionFailure("tokenizer files hold no such number") }
    }
}
