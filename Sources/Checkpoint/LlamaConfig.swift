import JSONText
package import LanguageModel

/// A model's shape as Hugging Face's `config.json` for `LlamaForCausalLM`, and back.
package enum LlamaConfig {
    /// Why a `config.json` is refused.
    package enum Refusal: Error, Hashable, Sendable {
        /// It does not hold what it must.
        case malformed(String)
        /// It describes a model that is not implemented.
        case unsupported(String)
    }

    /// The text of `config.json`.
    ///
    /// Both spellings of the rotary base and of the element type are written: transformers 4 reads a file with the newer
    /// ones alone as if the base were 10000, without a word. The special token ids are written as null, because absent
    /// ones mean 1 and 2 to transformers.
    package static func encode(_ model: ModelConfiguration) -> [UInt8] {
        let base = JSONValue.number(model.ropeTheta)
        let value: JSONValue = [
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "attention_bias": false,
            "attention_dropout": 0.0, "bos_token_id": nil, "eos_token_id": nil, "pad_token_id": nil,
            "head_dim": integer(model.headWidth), "hidden_act": "silu", "hidden_size": integer(model.width),
            "initializer_range": 0.02, "intermediate_size": integer(model.feedForwardWidth),
            "max_position_embeddings": integer(model.contextLength), "mlp_bias": false,
            "num_attention_heads": integer(model.headCount), "num_hidden_layers": integer(model.layerCount),
            "num_key_value_heads": integer(model.keyValueHeadCount), "pretraining_tp": 1,
            "rms_norm_eps": .number(float: model.rmsNormEpsilon), "rope_theta": base, "rope_scaling": nil,
            "rope_parameters": ["rope_type": "default", "rope_theta": base],
            "tie_word_embeddings": .bool(model.tiedEmbeddings), "torch_dtype": "float32", "dtype": "float32",
            "transformers_version": "4.57.6", "use_cache": true, "vocab_size": integer(model.vocabularySize),
        ]
        return text(value)
    }

    /// The text of `generation_config.json`: no special tokens, the defaults of transformers otherwise.
    package static var generationConfig: [UInt8] {
        text([
            "_from_model_config": true, "bos_token_id": nil, "eos_token_id": nil, "pad_token_id": nil,
            "transformers_version": "4.57.6",
        ])
    }

    private static func integer(_ value: Int) -> JSONValue { .integer(Int64(value)) }

    private static func text(_ value: JSONValue) -> [UInt8] {
        do { return try value.encoded(.indented) } catch { preconditionFailure("a valid model has finite numbers") }
    }

    /// Reads the text of a `config.json` with the defaults that transformers has; whatever would change the model's
    /// output and is not implemented is refused.
    package static func decode(_ bytes: [UInt8]) throws(Refusal) -> ModelConfiguration {
        let root: JSONValue
        do { root = try JSONValue(parsing: bytes, limits: JSONLimits(byteCountMax: 1 << 20)) } catch {
            throw .malformed(error.description)
        }
        guard let file = root.object else { throw .malformed("it is \(root.kind), not an object") }
        try checkKind(file)
        let fields = Fields(file: file)
        let width = try fields.required("hidden_size")
        let heads = try fields.required("num_attention_heads")
        guard heads > 0 else { throw .malformed("num_attention_heads is \(heads)") }
        let model = ModelConfiguration(
            vocabularySize: try fields.required("vocab_size"), width: width,
            layerCount: try fields.required("num_hidden_layers"), headCount: heads,
            keyValueHeadCount: try fields.integer("num_key_value_heads") ?? heads,
            headWidth: try fields.integer("head_dim") ?? width / heads,
            feedForwardWidth: try fields.required("intermediate_size"),
            contextLength: try fields.integer("max_position_embeddings") ?? 2048, ropeTheta: try ropeTheta(file),
            rmsNormEpsilon: Float(try fields.number("rms_norm_eps") ?? 1e-6),
            tiedEmbeddings: try fields.bool("tie_word_embeddings") ?? false)
        do { try model.validate() } catch { throw .malformed(error.description) }
        return model
    }

    private static func checkKind(_ file: JSONObject) throws(Refusal) {
        guard file["model_type"] == "llama" else {
            throw .unsupported("model_type is \(describe(file["model_type"])), only \"llama\" is supported")
        }
        if let architectures = file["architectures"], !architectures.isNull,
            architectures != ["LlamaForCausalLM"]
        {
            throw .unsupported("architectures is \(describe(architectures)), only LlamaForCausalLM is supported")
        }
        let neutral: [(JSONString, [JSONValue])] = [
            ("hidden_act", ["silu", "swish"]), ("attention_bias", [false]), ("mlp_bias", [false]),
            ("pretraining_tp", [1]), ("quantization_config", []), ("partial_rotary_factor", [1, 1.0]),
        ]
        for (key, allowed) in neutral {
            guard let value = file[key], !value.isNull, !allowed.contains(value) else { continue }
            throw .unsupported("\(key) is \(describe(value))")
        }
    }

    /// The rotary base under its old and its new name, which must agree.
    private static func ropeTheta(_ file: JSONObject) throws(Refusal) -> Double {
        var bases: [Double] = []
        for (key, value) in [("rope_theta", file["rope_theta"])] {
            guard let value, !value.isNull else { continue }
            guard let base = value.double else { throw .malformed("\(key) is \(value.kind)") }
            bases.append(base)
        }
        for key: JSONString in ["rope_scaling", "rope_parameters"] {
            guard let value = file[key], !value.isNull else { continue }
            guard let parameters = value.object else { throw .malformed("\(key) is \(value.kind)") }
            let type = parameters["rope_type"] ?? parameters["type"] ?? "default"
            guard type == "default" else { throw .unsupported("the rotary embedding has the type \(describe(type))") }
            guard let base = parameters["rope_theta"], !base.isNull else { continue }
            guard let number = base.double else { throw .malformed("\(key).rope_theta is \(base.kind)") }
            bases.append(number)
        }
        guard Set(bases).count <= 1 else {
            throw .malformed("rope_theta and rope_parameters.rope_theta differ: \(bases)")
        }
        return bases.first ?? 10_000
    }

    private static func describe(_ value: JSONValue?) -> String {
        guard let value else { return "absent" }
        return String(decoding: value.line.prefix(80), as: UTF8.self)
    }

    /// Typed access to members; null counts as absent.
    private struct Fields {
        let file: JSONObject

        func required(_ key: JSONString) throws(Refusal) -> Int {
            guard let value = try integer(key) else { throw .malformed("\(key) is missing") }
            return value
        }

        func integer(_ key: JSONString) throws(Refusal) -> Int? {
            guard let value = file[key], !value.isNull else { return nil }
            guard let number = value.integer else { throw .malformed("\(key) is \(value.kind), not an integer") }
            return number
        }

        func number(_ key: JSONString) throws(Refusal) -> Double? {
            guard let value = file[key], !value.isNull else { return nil }
            guard let number = value.double else { throw .malformed("\(key) is \(value.kind), not a number") }
            return number
        }

        func bool(_ key: JSONString) throws(Refusal) -> Bool? {
            guard let value = file[key], !value.isNull else { return nil }
            guard let bool = value.bool else { throw .malformed("\(key) is \(value.kind), not a Boolean") }
            return bool
        }
    }
}
