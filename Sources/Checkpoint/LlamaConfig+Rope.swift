import JSONText
import LanguageModel

/// The rotary embedding in `config.json`: `rope_theta` and `rope_scaling` to transformers 4, `rope_parameters` with the
/// base inside to transformers 5.
extension LlamaConfig {
    /// Reads base and scaling under all of their names. Where two names are there they must agree, because the
    /// generations of transformers differ in which one they take.
    static func rope(
        _ file: JSONObject, contextLength: Int
    ) throws(Refusal) -> (theta: Double, scaling: RopeScaling?) {
        var theta = try Fields(file: file).number("rope_theta")
        var scaling: RopeScaling??
        for key: JSONString in ["rope_scaling", "rope_parameters"] {
            guard let value = file[key], !value.isNull else { continue }
            guard let parameters = value.object else { throw .malformed("\(key) is \(value.kind)") }
            // An empty object counts as absent, as it does in transformers.
            guard !parameters.members.isEmpty else { continue }
            let fields = Fields(file: parameters, prefix: "\(key).")
            if let base = try fields.number("rope_theta") {
                guard theta == nil || theta == base else {
                    throw .malformed("rope_theta and \(key).rope_theta differ")
                }
                theta = base
            }
            let found = try ropeScaling(fields, file: file, contextLength: contextLength)
            guard scaling == nil || scaling == .some(found) else {
                throw .malformed("rope_scaling and rope_parameters differ")
            }
            scaling = .some(found)
        }
        return (theta ?? 10_000, scaling ?? nil)
    }

    private static func ropeScaling(
        _ fields: Fields, file: JSONObject, contextLength: Int
    ) throws(Refusal) -> RopeScaling? {
        let type = fields.file["rope_type"] ?? fields.file["type"] ?? "default"
        if let old = fields.file["type"], old != type {
            throw .malformed("\(fields.prefix)type and \(fields.prefix)rope_type differ")
        }
        if let share = try fields.number("partial_rotary_factor"), share != 1 {
            throw .unsupported("\(fields.prefix)partial_rotary_factor is \(share)")
        }
        switch type {
        case "default":
            for member in fields.file.members where member.value.object != nil {
                throw .unsupported("\(fields.prefix)\(member.key) is an object: rotary embeddings that differ by layer")
            }
            return nil
        case "linear": return .linear(factor: try fields.requiredNumber("factor"))
        case "dynamic":
            // Up to the context length nothing is scaled, in either generation.
            if let original = try fields.integer("original_max_position_embeddings"), original != contextLength {
                throw .unsupported(
                    "\(fields.prefix)original_max_position_embeddings is \(original), "
                        + "but dynamic scaling starts at max_position_embeddings, \(contextLength)")
            }
            return .dynamic(factor: try fields.requiredNumber("factor"))
        case "llama3":
            return .llama3(
                factor: try fields.requiredNumber("factor"),
                lowFrequencyFactor: try fields.requiredNumber("low_freq_factor"),
                highFrequencyFactor: try fields.requiredNumber("high_freq_factor"),
                originalContextLength: try originalContextLength(fields, file) ?? contextLength)
        case "yarn": return .yarn(try yarn(fields, file: file, contextLength: contextLength))
        default:
            throw .unsupported(
                "the rotary embedding has the type \(describe(type)), supported are default, linear, dynamic, llama3 "
                    + "and yarn")
        }
    }

    private static func yarn(
        _ fields: Fields, file: JSONObject, contextLength: Int
    ) throws(Refusal) -> RopeScaling.Yarn {
        let original = try originalContextLength(fields, file) ?? contextLength
        guard original > 0 else { throw .malformed("original_max_position_embeddings is \(original)") }
        guard fields.file["factor"] != nil else { throw .malformed("\(fields.prefix)factor is missing") }
        // Null stands for the ratio of the lengths.
        let factor = try fields.number("factor") ?? Double(contextLength) / Double(original)
        var attentionFactor = try fields.number("attention_factor")
        let scales = (try fields.number("mscale") ?? 0, try fields.number("mscale_all_dim") ?? 0)
        if attentionFactor == nil, scales.0 != 0, scales.1 != 0 {
            attentionFactor =
                RopeScaling.Yarn.defaultAttentionFactor(factor, scale: scales.0)
                / RopeScaling.Yarn.defaultAttentionFactor(factor, scale: scales.1)
        }
        // Zero counts as absent, as it does in transformers.
        func orDefault(_ value: Double?, _ standard: Double) -> Double {
            value.flatMap { $0 == 0 ? nil : $0 } ?? standard
        }
        return RopeScaling.Yarn(
            factor: factor, originalContextLength: original,
            betaFast: orDefault(try fields.number("beta_fast"), 32),
            betaSlow: orDefault(try fields.number("beta_slow"), 1), attentionFactor: attentionFactor,
            truncatesRange: try fields.bool("truncate") ?? true)
    }

    /// The context length before scaling: transformers 5 prefers the outer one, transformers 4 reads the inner one only.
    private static func originalContextLength(_ fields: Fields, _ file: JSONObject) throws(Refusal) -> Int? {
        let key: JSONString = "original_max_position_embeddings"
        let (inner, outer) = (try fields.integer(key), try Fields(file: file).integer(key))
        if let inner, let outer, inner != outer {
            throw .malformed("\(key) is \(outer) and in \(fields.prefix)\(key) \(inner)")
        }
        return inner ?? outer
    }

    // MARK: Writing

    /// The members that describe the rotary embedding, in both spellings.
    static func encodeRope(_ model: ModelConfiguration) -> [(JSONString, JSONValue)] {
        let base: (JSONString, JSONValue) = ("rope_theta", .number(model.ropeTheta))
        guard let scaling = model.ropeScaling else {
            return [base, ("rope_scaling", nil), ("rope_parameters", object([("rope_type", "default"), base]))]
        }
        let (type, numbers, original) = describe(scaling)
        var members: [(JSONString, JSONValue)] = [("rope_type", .text(type))] + numbers
        var outer: [(JSONString, JSONValue)] = []
        if let original {
            members.append(("original_max_position_embeddings", .integer(Int64(original))))
            // llama.cpp's converter looks for the length of Llama 3 here, and takes 8192 if there is none.
            if type == "llama3", original != 8192 {
                outer = [("original_max_position_embeddings", .integer(Int64(original)))]
            }
        }
        return [base, ("rope_scaling", object(members)), ("rope_parameters", object(members + [base]))] + outer
    }

    /// Name, numbers and original context length. Numbers are written with a fraction: transformers 4 warns otherwise.
    private static func describe(
        _ scaling: RopeScaling
    ) -> (type: String, numbers: [(JSONString, JSONValue)], original: Int?) {
        switch scaling {
        case .linear(let factor): return ("linear", [("factor", .number(factor))], nil)
        case .dynamic(let factor): return ("dynamic", [("factor", .number(factor))], nil)
        case .llama3(let factor, let low, let high, let original):
            return (
                "llama3",
                [
                    ("factor", .number(factor)), ("low_freq_factor", .number(low)),
                    ("high_freq_factor", .number(high)),
                ], original
            )
        case .yarn(let yarn):
            var numbers: [(JSONString, JSONValue)] = [
                ("factor", .number(yarn.factor)), ("beta_fast", .number(yarn.betaFast)),
                ("beta_slow", .number(yarn.betaSlow)),
            ]
            if yarn.attentionFactor != RopeScaling.Yarn.defaultAttentionFactor(yarn.factor) {
                numbers.append(("attention_factor", .number(yarn.attentionFactor)))
            }
            if !yarn.truncatesRange { numbers.append(("truncate", false)) }
            return ("yarn", numbers, yarn.originalContextLength)
        }
    }

    private static func object(_ members: [(JSONString, JSONValue)]) -> JSONValue {
        var object = JSONObject()
        for (key, value) in members { object[key] = value }
        return .object(object)
    }
}
