import JSONText
package import LanguageModel

/// A model's shape as Hugging Face's `config.json` for `LlamaForCausalLM`, and back.
package enum LlamaConfig {
    /// Why a `config.json` is refused.
    package enum Refusal: Error, Hashable, Sendable {
        /// It does not hold what it must.
        case malformed(String)
        /// It describes a model that atoll does not run.
        case unsupported(String)
    }

    /// Longest text; the largest in use have some kilobytes.
    static let byteCountMax = 1 << 20

    /// Reads the text of a `config.json`.
    static func parse(_ bytes: [UInt8]) throws(Refusal) -> JSONObject {
        let root: JSONValue
        do { root = try JSONValue(parsing: bytes, limits: JSONLimits(byteCountMax: byteCountMax)) } catch {
            throw .malformed("it is \(error.description)")
        }
        guard let file = root.object else { throw .malformed("it is \(root.kind), not an object") }
        return file
    }

    /// The model that a `config.json` describes, with the defaults that transformers has; whatever would change the
    /// model's output and that atoll does not know is refused.
    package static func decode(_ bytes: [UInt8]) throws(Refusal) -> ModelConfiguration {
        try decode(try parse(bytes))
    }

    /// The same for a text that was read.
    static func decode(_ file: JSONObject) throws(Refusal) -> ModelConfiguration {
        try checkKind(file)
        let fields = Fields(file: file)
        let width = try fields.required("hidden_size")
        let heads = try fields.required("num_attention_heads")
        guard heads > 0 else { throw .malformed("num_attention_heads is \(heads)") }
        let headWidth = try fields.integer("head_dim")
        guard headWidth != nil || width % heads == 0 else {
            throw .malformed("head_dim is missing, and num_attention_heads does not divide hidden_size")
        }
        let contextLength = try fields.integer("max_position_embeddings") ?? 2048
        let (theta, scaling) = try rope(file, contextLength: contextLength)
        let model = ModelConfiguration(
            vocabularySize: try fields.required("vocab_size"), width: width,
            layerCount: try fields.required("num_hidden_layers"), headCount: heads,
            keyValueHeadCount: try fields.integer("num_key_value_heads") ?? heads,
            headWidth: headWidth ?? width / heads, feedForwardWidth: try fields.required("intermediate_size"),
            contextLength: contextLength, ropeTheta: theta, ropeScaling: scaling,
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
        for key: JSONString in ["attention_bias", "mlp_bias"] {
            guard let value = file[key], !value.isNull, value != false else { continue }
            throw .unsupported("\(key) is \(describe(value)), but models with biases are not supported")
        }
        let neutral: [(JSONString, [JSONValue])] = [
            ("hidden_act", ["silu", "swish"]), ("pretraining_tp", [1]), ("quantization_config", []),
            ("partial_rotary_factor", [1, 1.0]),
        ]
        for (key, allowed) in neutral {
            guard let value = file[key], !value.isNull, !allowed.contains(value) else { continue }
            throw .unsupported("\(key) is \(describe(value))")
        }
    }

    static func describe(_ value: JSONValue?) -> String {
        guard let value else { return "absent" }
        return String(decoding: value.line.prefix(80), as: UTF8.self)
    }

    /// Typed access to members; null counts as absent.
    struct Fields {
        let file: JSONObject
        /// What messages put before a key: the way to the object.
        var prefix = ""

        func required(_ key: JSONString) throws(Refusal) -> Int {
            guard let value = try integer(key) else { throw .malformed("\(prefix)\(key) is missing") }
            return value
        }

        func requiredNumber(_ key: JSONString) throws(Refusal) -> Double {
            guard let value = try number(key) else { throw .malformed("\(prefix)\(key) is missing") }
            return value
        }

        func integer(_ key: JSONString) throws(Refusal) -> Int? {
            try member(key, "an integer") { $0.integer }
        }

        func number(_ key: JSONString) throws(Refusal) -> Double? {
            try member(key, "a number") { $0.double }
        }

        func bool(_ key: JSONString) throws(Refusal) -> Bool? {
            try member(key, "a Boolean") { $0.bool }
        }

        private func member<Value>(
            _ key: JSONString, _ wanted: String, _ convert: (JSONValue) -> Value?
        ) throws(Refusal) -> Value? {
            guard let value = file[key], !value.isNull else { return nil }
            guard let converted = convert(value) else {
                throw .malformed("\(prefix)\(key) is \(value.kind), not \(wanted)")
            }
            return converted
        }
    }
}
