import Checkpoint
import JSONText
import LanguageModel
import Testing

@Suite struct LlamaConfigTests {
    /// A whole configuration with these members on top.
    private func decode(_ members: String, heads: Int = 2) throws(LlamaConfig.Refusal) -> ModelConfiguration {
        let text =
            #"{"model_type":"llama","vocab_size":10,"hidden_size":8,"num_hidden_layers":1,"#
            + #""num_attention_heads":\#(heads),"intermediate_size":4,"max_position_embeddings":512\#(members)}"#
        return try LlamaConfig.decode(Array(text.utf8))
    }

    private func object(_ bytes: [UInt8]) throws -> JSONObject { try #require(JSONValue(parsing: bytes).object) }

    @Test func presetsSurviveTheRoundTrip() throws {
        for (_, model) in ModelConfiguration.presets {
            #expect(try LlamaConfig.decode(LlamaConfig.encode(model)) == model)
        }
    }

    @Test func defaultsAreThoseOfTransformers() throws {
        let text =
            #"{"model_type":"llama","vocab_size":10,"hidden_size":8,"num_hidden_layers":1,"#
            + #""num_attention_heads":2,"intermediate_size":4,"rope_scaling":{},"num_key_value_heads":null}"#
        let model = try LlamaConfig.decode(Array(text.utf8))
        #expect(
            model
                == ModelConfiguration(
                    vocabularySize: 10, width: 8, layerCount: 1, headCount: 2, feedForwardWidth: 4, contextLength: 2048,
                    ropeTheta: 10_000, rmsNormEpsilon: 1e-6, tiedEmbeddings: false))
    }

    static let scalings: [(text: String, RopeScaling)] = [
        (#""rope_type":"linear","factor":4"#, .linear(factor: 4)),
        (#""type":"linear","factor":2.5"#, .linear(factor: 2.5)),
        (#""rope_type":"dynamic","factor":2.0"#, .dynamic(factor: 2)),
        (
            #""rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,"#
                + #""original_max_position_embeddings":128"#,
            .llama3(factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalContextLength: 128)
        ),
        (
            #""rope_type":"yarn","factor":4.0,"original_max_position_embeddings":128"#,
            .yarn(.init(factor: 4, originalContextLength: 128))
        ),
        (
            #""rope_type":"yarn","factor":null,"original_max_position_embeddings":128,"attention_factor":1.5,"#
                + #""beta_fast":16,"beta_slow":0,"truncate":false"#,
            .yarn(
                .init(
                    factor: 4, originalContextLength: 128, betaFast: 16, betaSlow: 1, attentionFactor: 1.5,
                    truncatesRange: false))
        ),
    ]

    @Test(arguments: scalings.indices) func scalingIsReadInBothSpellings(_ index: Int) throws {
        let (text, scaling) = Self.scalings[index]
        let old = try decode(#","rope_theta":5e5,"rope_scaling":{\#(text)}"#)
        #expect(old.ropeScaling == scaling)
        #expect(old.ropeTheta == 5e5)
        #expect(try decode(#","rope_parameters":{"rope_theta":5e5,\#(text)}"#) == old)
        #expect(
            try decode(#","rope_theta":5e5,"rope_scaling":{\#(text)},"rope_parameters":{"rope_theta":5e5,\#(text)}"#)
                == old)
        let written = LlamaConfig.encode(old)
        #expect(try LlamaConfig.decode(written) == old)
        // Each spelling says all of it alone.
        for spelling: JSONString in ["rope_scaling", "rope_parameters"] {
            var file = try object(written)
            file[spelling] = nil
            if spelling == "rope_scaling" { file["rope_theta"] = nil }
            #expect(try LlamaConfig.decode(JSONValue.object(file).line) == old)
        }
    }

    @Test func theOriginalLengthOfLlama3StandsOutsideToo() throws {
        func outer(_ original: Int) throws -> JSONValue? {
            var model = ModelConfiguration.nano
            model.ropeScaling = .llama3(
                factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalContextLength: original)
            return try object(LlamaConfig.encode(model))["original_max_position_embeddings"]
        }
        #expect(try outer(128) == 128)
        #expect(try outer(8192) == nil)
        // The outer one alone is enough; without any it is the context length.
        let llama3 = #"{"rope_type":"llama3","factor":8,"low_freq_factor":1,"high_freq_factor":4}"#
        for (member, expected) in [(#","original_max_position_embeddings":64"#, 64), ("", 512)] {
            #expect(
                try decode(#","rope_scaling":\#(llama3)\#(member)"#).ropeScaling
                    == .llama3(
                        factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalContextLength: expected))
        }
    }

    @Test func theAttentionFactorFollowsFromTwoScales() throws {
        let yarn = #"{"rope_type":"yarn","factor":4.0,"original_max_position_embeddings":128,"#
        let model = try decode(#","rope_scaling":\#(yarn)"mscale":1.0,"mscale_all_dim":0.5}"#)
        guard case .yarn(let found) = model.ropeScaling else { Issue.record("it is no yarn"); return }
        #expect(abs(found.attentionFactor - 1.0648216253695715) < 1e-12)
        #expect(try LlamaConfig.decode(LlamaConfig.encode(model)) == model)
    }

    static let refused = [
        // Types that are not implemented, or lack their numbers.
        #","rope_scaling":{"rope_type":"longrope","factor":2}"#, #","rope_scaling":{"rope_type":"linear"}"#,
        #","rope_scaling":{"rope_type":7}"#, #","rope_scaling":"linear""#, #","rope_parameters":[]"#,
        #","rope_scaling":{"rope_type":"linear","factor":"2"}"#,
        #","rope_scaling":{"rope_type":"linear","factor":0.5}"#,
        #","rope_scaling":{"rope_type":"llama3","factor":8}"#,
        #","rope_scaling":{"rope_type":"yarn","factor":2,"original_max_position_embeddings":0}"#,
        #","rope_scaling":{"rope_type":"yarn","factor":2,"original_max_position_embeddings":1.5}"#,
        // What the generations of transformers read differently.
        #","rope_theta":1000,"rope_parameters":{"rope_theta":2000}"#,
        #","rope_scaling":{"rope_type":"linear","factor":2},"rope_parameters":{"rope_type":"default"}"#,
        #","rope_scaling":{"rope_type":"linear","factor":2},"rope_parameters":{"rope_type":"linear","factor":3}"#,
        #","rope_scaling":{"rope_type":"linear","type":"dynamic","factor":2}"#,
        #","original_max_position_embeddings":64,"rope_scaling":"#
            + #"{"rope_type":"yarn","factor":2,"original_max_position_embeddings":128}"#,
        #","rope_scaling":{"rope_type":"dynamic","factor":2,"original_max_position_embeddings":128}"#,
        // Rotation of a part of the head, or by layer.
        #","partial_rotary_factor":0.5"#, #","rope_parameters":{"partial_rotary_factor":0.5}"#,
        #","rope_parameters":{"full_attention":{"rope_type":"default"}}"#,
    ]

    @Test(arguments: refused.indices) func otherFilesAreRefused(_ index: Int) throws {
        #expect(throws: LlamaConfig.Refusal.self) { try decode(Self.refused[index]) }
    }

    @Test func headsThatDoNotFillTheWidthNeedTheirOwn() throws {
        #expect(throws: LlamaConfig.Refusal.self) { try decode("", heads: 3) }
        #expect(throws: LlamaConfig.Refusal.self) { try decode(#","head_dim":null"#, heads: 3) }
        #expect(try decode(#","head_dim":6"#, heads: 3).queryWidth == 18)
    }

    @Test func biasesAreNamed() {
        for key in ["attention_bias", "mlp_bias"] {
            do {
                _ = try decode(#","\#(key)":true"#)
                Issue.record("it was taken")
            } catch {
                #expect(error == .unsupported("\(key) is true, but models with biases are not supported"))
            }
        }
    }

    @Test func whatMeansNothingHereIsKept() throws {
        let kept = try object(
            Array(
                #"""
                {"architectures":["LlamaForCausalLM"],"my_key":{"a":[1,2.5,null]},"eos_token_id":[3,4],"bos_token_id":1,
                "model_type":"llama","torch_dtype":"bfloat16","rope_scaling":{"type":"linear","factor":2.0},
                "original_max_position_embeddings":64,"hidden_size":99,"attention_dropout":0.1}
                """#.utf8))
        let written = try object(LlamaConfig.encode(.nano, type: .float16, keeping: kept))
        for key: JSONString in ["architectures", "my_key", "eos_token_id", "bos_token_id", "attention_dropout"] {
            #expect(written[key] == kept[key])
        }
        #expect(written["pad_token_id"] == nil)
        #expect(written["original_max_position_embeddings"] == nil)
        #expect(written["torch_dtype"] == "float16" && written["dtype"] == "float16")
        #expect(written["rope_scaling"] == .null)
        #expect(try LlamaConfig.decode(LlamaConfig.encode(.nano, keeping: kept)) == .nano)
    }
}
