package import JSONText
package import LanguageModel

/// `config.json` of a mixture of experts in the form of `MixtralForCausalLM`, whose experts have the feed-forward shape of
/// a dense model.
package enum MixtralConfig {
    /// The text of `config.json`.
    ///
    /// - Parameters:
    ///   - model: the dense model that the mixture is made of.
    ///   - expertCount: experts per layer.
    ///   - expertsPerToken: of which so many work on each token.
    ///   - type: the element type of the tensors.
    ///   - kept: the dense model's file.
    package static func encode(
        _ model: ModelConfiguration, expertCount: Int, expertsPerToken: Int, type: FloatType, keeping kept: JSONObject
    ) -> [UInt8] {
        let members: [(JSONString, JSONValue)] = [
            ("architectures", ["MixtralForCausalLM"]), ("model_type", "mixtral"),
            ("num_local_experts", .integer(Int64(expertCount))),
            ("num_experts_per_tok", .integer(Int64(expertsPerToken))), ("output_router_logits", false),
            ("router_aux_loss_coef", 0.001), ("router_jitter_noise", 0.0), ("sliding_window", .null),
        ]
        var file = LlamaConfig.members(model, type: type, keeping: kept)
        // Llama's alone.
        for key: JSONString in ["attention_bias", "mlp_bias", "pretraining_tp"] { file[key] = nil }
        for (key, value) in members { file[key] = value }
        return LlamaConfig.text(.object(file))
    }
}
