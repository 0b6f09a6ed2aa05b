import Checkpoint
import JSONText
import Testing

@testable import Experts

/// What a recipe says, and what is refused in it.
@Suite struct RecipeReadingTests {
    private let slerp: JSONValue = [
        "merge_method": "slerp", "base_model": "a",
        "slices": [["sources": [["model": "a", "layer_range": [0, 3]], ["model": "b", "layer_range": [0, 3]]]]],
        "parameters": [
            "t": [
                ["filter": "self_attn", "value": [0, 0.5, 1]], ["filter": "mlp", "value": [1, 0.5, 0]], ["value": 0.25],
            ]
        ], "dtype": "bfloat16",
    ]

    private func read(_ tree: JSONValue) throws(RecipeProblem) -> MergeRecipe {
        try MergeRecipe(tree, file: "r.yaml")
    }

    /// The slerp recipe with one member replaced, or removed.
    private func edited(_ key: JSONString, _ value: JSONValue?) throws -> JSONValue {
        var object = try #require(slerp.object)
        object[key] = value
        return .object(object)
    }

    /// Expects a refusal whose message and cure hold all of the words.
    private func expectRefusal(_ tree: JSONValue, _ words: String..., sourceLocation: SourceLocation = #_sourceLocation)
    {
        do throws(RecipeProblem) {
            _ = try read(tree)
            Issue.record("it was read", sourceLocation: sourceLocation)
        } catch {
            let text = "\(error). \(error.cure)."
            for word in words { #expect(text.contains(word), "\(text)", sourceLocation: sourceLocation) }
        }
    }

    @Test func `The usual slerp recipe`() throws {
        let recipe = try read(slerp)
        #expect(recipe.method == .slerp && recipe.base == "a" && recipe.type == .bfloat16 && !recipe.namesModels)
        #expect(recipe.slices.count == 1 && recipe.slices[0].sources.map(\.model) == ["a", "b"])
        #expect(recipe.slices[0].sources[1].layers == 0..<3)
        let t = try #require(recipe.parameters[.t])
        let name = "model.layers.0.self_attn.q_proj.weight"
        #expect([0, 0.25, 0.5, 1].map { t.value(for: name, at: $0) } == [0, 0.25, 0.5, 1])
        #expect([0, 0.25, 1].map { t.value(for: "model.layers.2.mlp.up_proj.weight", at: $0) } == [1, 0.75, 0])
        #expect(t.value(for: "model.norm.weight", at: 0) == 0.25)
    }

    @Test func `Numbers as text, Booleans as numbers, bare values among conditions`() throws {
        let recipe = try read([
            "merge_method": "ties", "base_model": "base",
            "models": [
                ["model": "a", "parameters": ["weight": "1e-5", "density": [0.5, "0.25"]]],
                ["model": "b", "parameters": ["weight": [["filter": "*", "value": 1]], "density": 1]],
            ], "parameters": ["normalize": true, "int8_mask": 1, "lambda": [["filter": "mlp", "value": 2], 0.5]],
        ])
        let source = recipe.slices[0].sources[0]
        #expect(source.parameters[.weight]?.value(for: "x", at: 0) == 1e-5)
        #expect(source.parameters[.density]?.value(for: "x", at: 1) == 0.25)
        #expect(recipe.slices[0].sources[1].parameters[.weight]?.value(for: "x", at: 0) == 1)
        #expect(recipe.parameters[.normalize]?.value(for: "x", at: 0) == 1)
        #expect(recipe.parameters[.lambda]?.value(for: "a.mlp.b", at: 0) == 2)
        #expect(recipe.parameters[.lambda]?.value(for: "norm", at: 0) == 0.5)
    }

    @Test func `A condition that does not hold leaves the parameter to the next scope`() throws {
        let setting = try ParameterSetting(
            RecipeNode(value: ["filter": "mlp", "value": 1], place: RecipePlace(file: "r")), within: 0...1)
        #expect(setting.value(for: "model.layers.0.self_attn.q_proj.weight", at: 0) == nil)
        #expect(setting.value(for: "model.layers.0.mlp.up_proj.weight", at: 0) == 1)
    }

    @Test func `Unknown keys are named with their place and a likely one`() throws {
        expectRefusal(try edited("merge_metod", "x"), "r.yaml", "unknown key 'merge_metod'", "'merge_method'")
        expectRefusal(
            try edited("parameters", ["tt": 0.5]), "parameters.tt", "slerp has no parameter 'tt'", "did you mean 't'")
        expectRefusal(
            try edited("slices", [["sources": [["model": "a", "layer_rang": [0, 1]]]]]),
            "slices[0].sources[0]", "'layer_range' is missing")
        expectRefusal(try edited("merge_method", "slurp"), "merge_method", "\"slurp\"", "did you mean 'slerp'")
        expectRefusal(
            [
                "merge_method": "linear",
                "models": [["model": "a", "parameters": ["weigth": 1]]],
            ], "models[0].parameters.weigth", "did you mean 'weight'")
        expectRefusal(
            [
                "merge_method": "ties", "base_model": "b",
                "models": [["model": "a", "parameters": ["weight": 1, "normalize": true]]],
            ], "models[0].parameters.normalize", "of the merge, not of one model")
    }

    @Test func `What is missing`() throws {
        expectRefusal(try edited("merge_method", nil), "'merge_method' is missing")
        expectRefusal(try edited("slices", nil), "neither 'models' nor 'slices'")
        expectRefusal(try edited("models", [["model": "a"]]), "both 'models' and 'slices'")
        expectRefusal(try edited("base_model", nil), "slerp needs a base model", "base_model")
        expectRefusal(try edited("parameters", nil), "slerp needs the parameter 't'")
        expectRefusal(try edited("slices", []), "slices", "the list is empty")
        expectRefusal(["merge_method": "linear", "models": [["model": "a"]]], "models[0]", "parameter 'weight'")
        expectRefusal(nil, "null, not keys and values")
        expectRefusal([1], "an array")
    }

    @Test func `What has no sense`() throws {
        expectRefusal(try edited("modules", ["text": [:]]), "models of several parts")
        expectRefusal(try edited("dtype", "int8"), "not written in int8", "bfloat16")
        for range: JSONValue in [[3, 3], [2, 1], [-1, 2], [0], "0-3", [0, 1.5]] {
            expectRefusal(
                try edited("slices", [["sources": [["model": "a", "layer_range": range]]]]), "layer_range",
                "no range of layers")
        }
        expectRefusal(try edited("parameters", ["t": "half"]), "parameters.t", "a number")
        expectRefusal(try edited("parameters", ["t": []]), "the list is empty")
        expectRefusal(try edited("parameters", ["t": ["value": 1, "fliter": "x"]]), "unknown key 'fliter'", "'filter'")
        expectRefusal(try edited("parameters", ["t": [["filter": "x"]]]), "t[0]", "'value' is missing")
        expectRefusal(try edited("base_model", ["path": "a"]), "base_model", "local folder")
    }

    @Test func `Tokenizers in both forms`() throws {
        #expect(try read(edited("tokenizer_source", "union")).tokenizer?.source == .union)
        #expect(try read(edited("tokenizer_source", "other")).tokenizer?.source == .model("other"))
        let tokenizer = try #require(
            try read(
                edited(
                    "tokenizer",
                    [
                        "source": "base", "pad_to_multiple_of": 64,
                        "tokens": [
                            "<|x|>": ["source": ["kind": "model_token", "model": "b", "token_id": 7], "force": true],
                            "<|y|>": ["source": "b"], "<|z|>": ["source": ["kind": "zero"]],
                        ],
                    ])
            ).tokenizer)
        #expect(tokenizer.source == .base && tokenizer.padMultiple == 64)
        #expect(tokenizer.rules.map(\.token) == ["<|x|>", "<|y|>", "<|z|>"])
        #expect(tokenizer.rules.map(\.source) == [.token(model: "b", .id(7)), .model("b"), .zero])
        #expect(tokenizer.rules.map(\.force) == [true, false, false])
        expectRefusal(
            try edited("tokenizer", ["tokens": ["x": ["source": ["kind": "model_token", "model": "b"]]]]),
            "either token or token_id")
    }
}
