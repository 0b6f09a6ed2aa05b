import Checkpoint
import JSONText
import LanguageModel
import Numerics
import Testing
import Tokenizing

@testable import Experts

/// Models with other tokens become one.
@Suite struct VocabularyTests {
    let place = ScratchFolder()

    /// Byte-level BPE with the 256 bytes, some merges and some added tokens behind them.
    private func tokenizer(merges: [(String, String)], added: [String]) throws -> Tokenizer {
        let bytes = try #require(JSONValue(parsing: Tokenizer.bytes.tokenizerJSON).object)
        var model = try #require(bytes["model"]?.object)
        var vocabulary = try #require(model["vocab"]?.object)
        for (left, right) in merges { vocabulary[JSONString(left + right)] = .integer(Int64(vocabulary.members.count)) }
        model["vocab"] = .object(vocabulary)
        model["merges"] = .array(merges.map { .array([.text($0.0), .text($0.1)]) })
        var file = bytes
        file["model"] = .object(model)
        file["added_tokens"] = .array(
            added.enumerated().map {
                [
                    "id": .integer(Int64(vocabulary.members.count + $0)), "content": .text($1), "single_word": false,
                    "lstrip": false, "rstrip": false, "normalized": false, "special": true,
                ]
            })
        return try Tokenizer(tokenizerJSON: JSONValue.object(file).encoded())
    }

    /// A model whose embedding rows are all `value` + id / 1000, so that rows can be told apart.
    private func model(_ name: String, _ tokenizer: Tokenizer, value: Float, padding: Int = 0) throws {
        let model = ModelConfiguration(
            vocabularySize: tokenizer.vocabularySize + padding, width: 4, layerCount: 1, headCount: 1,
            feedForwardWidth: 4, contextLength: 8)
        let parameters = FloatBuffer(count: model.parameterCount)
        for index in 0..<parameters.count { parameters[index] = value + Float(index / 4) / 1000 }
        try ModelFolder.write(to: place[name], configuration: model, tokenizer: tokenizer, parameters: parameters)
    }

    private func merge(_ tokenizer: JSONValue, base: String? = "a", to out: String = "out") throws -> ModelFolder {
        var tree: JSONValue = [
            "merge_method": "linear",
            "models": .array(
                ["a", "b"].map { ["model": .text(place[$0]), "parameters": ["weight": 1]] }),
        ]
        if var object = tree.object {
            object["base_model"] = base.map { .text(place[$0]) }
            object["tokenizer"] = tokenizer.isNull ? nil : tokenizer
            tree = .object(object)
        }
        try MergePlan(MergeRecipe(tree, file: "r")).write(
            to: place[out], storage: TensorStorage(), seed: 0, recipeText: "", pool: WorkerPool(threadCount: 1))
        return try ModelFolder(place[out])
    }

    private func rows(_ folder: ModelFolder) throws -> [Float] {
        let tensor = folder.layout.tensors[0]
        let values = FloatBuffer(count: tensor.count)
        try folder.read(tensor, into: UnsafeMutableBufferPointer(start: values.pointer, count: tensor.count))
        return (0..<folder.configuration.vocabularySize).map { values[4 * $0] }
    }

    private func makeModels() throws {
        // a: bytes, "th" 256, <|a|> 257; b: bytes, "in" 256, "th" 257, <|b|> 258, <|a|> 259.
        try model("a", tokenizer(merges: [("t", "h")], added: ["<|a|>"]), value: 0)
        try model("b", tokenizer(merges: [("i", "n"), ("t", "h")], added: ["<|b|>", "<|a|>"]), value: 10)
    }

    private func near(_ found: Float, _ expected: Double) -> Bool { abs(Double(found) - expected) < 1e-5 }

    @Test func `A union has the base's tokens, then the others', each with its rows`() throws {
        try makeModels()
        let folder = try merge(["source": "union"])
        #expect(folder.configuration.vocabularySize == 260)
        let names = folder.tokenizer.tokenNames.compactMap { $0?.string }
        #expect(Array(names[256...]) == ["th", "<|a|>", "in", "<|b|>"])
        let rows = try rows(folder)
        // In both: the mean of two rows; only in b: b's row, not half of it.
        #expect(near(rows[65], 5.065) && near(rows[256], (0.256 + 10.257) / 2) && near(rows[257], (0.257 + 10.259) / 2))
        #expect(near(rows[258], 10.256) && near(rows[259], 10.258))
        // Text is cut as before, but for the new added token.
        #expect(folder.tokenizer.encode("thin<|b|>") == [256, 105, 110, 259])
        let written = try #require(JSONValue(parsing: place.bytes("out/config.json")).object)
        #expect(written["vocab_size"] == 260)
    }

    @Test func `The base's tokens, or another model's`() throws {
        try makeModels()
        let base = try merge(["source": "base"])
        #expect(base.tokenizer == (try ModelFolder(place["a"]).tokenizer))
        #expect(try near(rows(base)[257], (0.257 + 10.259) / 2))
        let other = try merge(["source": .text(place["b"]), "pad_to_multiple_of": 8], to: "other")
        #expect(other.tokenizer == (try ModelFolder(place["b"]).tokenizer))
        let rows = try rows(other)
        #expect(rows.count == 264 && near(rows[256], 10.256) && near(rows[257], (0.256 + 10.257) / 2))
        let mean = rows[..<260].reduce(0) { $0 + Double($1) } / 260
        #expect(near(rows[260], mean) && near(rows[263], mean))
    }

    @Test func `Rules for tokens`() throws {
        try makeModels()
        let rows = try rows(
            merge([
                "source": "union",
                "tokens": [
                    "<|b|>": ["source": ["kind": "model_token", "model": .text(place["a"]), "token": "<|a|>"]],
                    "<|a|>": ["source": ["kind": "zero"], "force": true], "in": ["source": ["kind": "zero"]],
                ],
            ]))
        #expect(rows[257] == 0)
        #expect(near(rows[258], 10.256 / 2) && near(rows[259], (0.257 + 10.258) / 2))
        #expect(throws: MergeError.self) {
            try merge(["tokens": ["nowhere": ["source": ["kind": "zero"]]]], to: "bad")
        }
        #expect(throws: MergeError.self) {
            try merge(
                ["tokens": ["in": ["source": ["kind": "model_token", "model": .text(place["a"]), "token_id": 999]]]],
                to: "bad")
        }
    }

    @Test func `Other tokens need a tokenizer in the recipe; padded rows of equal tokens do not change`() throws {
        try makeModels()
        #expect(throws: MergeError.vocabulary(place["a"], place["b"], what: "the vocabulary size")) { try merge(nil) }
        try model("c", tokenizer(merges: [("t", "h")], added: ["<|c|>"]), value: 20)
        let tree: JSONValue = [
            "merge_method": "linear",
            "models": .array(["a", "c"].map { ["model": .text(place[$0]), "parameters": ["weight": 1]] }),
        ]
        #expect(throws: MergeError.vocabulary(place["a"], place["c"], what: "the tokens of the vocabulary")) {
            try MergePlan(MergeRecipe(tree, file: "r"))
        }
        try model("bytes", .bytes, value: 1)
        let union: JSONValue = [
            "merge_method": "linear", "tokenizer_source": "union",
            "models": .array(["bytes", "a"].map { ["model": .text(place[$0]), "parameters": ["weight": 1]] }),
        ]
        #expect(throws: MergeError.self) { try MergePlan(MergeRecipe(union, file: "r")) }
    }
}
