package import JSONText
package import LanguageModel

extension LlamaConfig {
    /// The text of `config.json`.
    ///
    /// Both spellings of the rotary embedding and of the element type are written: transformers 4 reads a file with the
    /// newer ones alone as if the base were 10000 and nothing scaled, without a word.
    ///
    /// - Parameters:
    ///   - type: the element type of the tensors.
    ///   - kept: the file of the checkpoint that the model was made of. What does not follow from the model stays as it
    ///     is there: special tokens, and keys that mean nothing here. Without one the special token ids are written as
    ///     null, because absent ones mean 1 and 2 to transformers.
    package static func encode(
        _ model: ModelConfiguration, type: FloatType = .float32, keeping kept: JSONObject? = nil
    ) -> [UInt8] {
        text(.object(members(model, type: type, keeping: kept)))
    }

    /// The members of `config.json`.
    static func members(_ model: ModelConfiguration, type: FloatType, keeping kept: JSONObject?) -> JSONObject {
        var file = kept ?? defaults
        file["original_max_position_embeddings"] = nil
        for (key, value) in shape(model) { file[key] = value }
        for (key, value) in encodeRope(model) { file[key] = value }
        for key: JSONString in ["torch_dtype", "dtype"] { file[key] = .text(type.rawValue) }
        return file
    }

    /// Members that do not follow from the model.
    private static let defaults: JSONObject = {
        var file = JSONObject()
        file["architectures"] = ["LlamaForCausalLM"]
        file["attention_dropout"] = 0.0
        for key: JSONString in ["bos_token_id", "eos_token_id", "pad_token_id"] { file[key] = .null }
        file["initializer_range"] = 0.02
        file["pretraining_tp"] = 1
        file["transformers_version"] = "4.57.6"
        file["use_cache"] = true
        return file
    }()

    private static func shape(_ model: ModelConfiguration) -> [(JSONString, JSONValue)] {
        [
            ("model_type", "llama"), ("attention_bias", false), ("head_dim", integer(model.headWidth)),
            ("hidden_act", "silu"), ("hidden_size", integer(model.width)),
            ("intermediate_size", integer(model.feedForwardWidth)),
            ("max_position_embeddings", integer(model.contextLength)), ("mlp_bias", false),
            ("num_attention_heads", integer(model.headCount)), ("num_hidden_layers", integer(model.layerCount)),
            ("num_key_value_heads", integer(model.keyValueHeadCount)),
            ("rms_norm_eps", .number(float: model.rmsNormEpsilon)),
            ("tie_word_embeddings", .bool(model.tiedEmbeddings)), ("vocab_size", integer(model.vocabularySize)),
        ]
    }

    /// The text of `generation_config.json`: no special tokens, the defaults of transformers otherwise.
    package static var generationConfig: [UInt8] {
        text([
            "_from_model_config": true, "bos_token_id": nil, "eos_token_id": nil, "pad_token_id": nil,
            "transformers_version": "4.57.6",
        ])
    }

    private static func integer(_ value: Int) -> JSONValue { .integer(Int64(value)) }

    static func text(_ value: JSONValue) -> [UInt8] {
        // A valid model has finite numbers, and so has whatever was read from a file.
        do { return try value.encoded(.indented) } catch { preconditionFailure("JSON has no other numbers") }
    }
}
