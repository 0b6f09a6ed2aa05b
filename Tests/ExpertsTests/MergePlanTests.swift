import Checkpoint
import Glibc
import JSONText
import LanguageModel
import Numerics
import Testing
import Tokenizing

@testable import Experts

/// Recipes over small checkpoints: what comes out, and what is refused before anything is written.
@Suite final class MergePlanTests {
    let place = ScratchFolder()
    let model = ModelConfiguration(
        vocabularySize: 256, width: 8, layerCount: 2, headCount: 2, keyValueHeadCount: 1, feedForwardWidth: 12,
        contextLength: 16)

    // MARK: Making checkpoints and recipes

    @discardableResult
    private func expert(
        _ name: String, seed: UInt64, layers: Int = 2, tied: Bool = true,
        edit: (inout ModelConfiguration) -> Void = { _ in }
    ) throws -> [Float] {
        var model = model
        model.layerCount = layers
        model.tiedEmbeddings = tied
        edit(&model)
        let parameters = FloatBuffer(count: model.parameterCount)
        var random = SeededRandom(seed: seed)
        for index in 0..<parameters.count { parameters[index] = random.nextNormal() }
        try ModelFolder.write(to: place[name], configuration: model, tokenizer: .bytes, parameters: parameters)
        return parameters.array
    }

    private func plan(_ tree: JSONValue) throws -> MergePlan { try MergePlan(MergeRecipe(tree, file: "r.yaml")) }

    private func merge(_ tree: JSONValue, to out: String = "out", seed: UInt64 = 0) throws {
        try plan(tree).write(
            to: place[out], storage: TensorStorage(), seed: seed, recipeText: "recipe\n",
            pool: WorkerPool(threadCount: 2))
    }

    private func model(_ name: String, _ parameters: JSONValue = [:]) -> JSONValue {
        ["model": .text(place[name]), "parameters": parameters]
    }

    private func source(_ name: String, _ range: Range<Int>, _ parameters: JSONValue = [:]) -> JSONValue {
        [
            "model": .text(place[name]),
            "layer_range": [.integer(Int64(range.lowerBound)), .integer(Int64(range.upperBound))],
            "parameters": parameters,
        ]
    }

    private func linear(_ names: String...) -> JSONValue {
        ["merge_method": "linear", "models": .array(names.map { model($0, ["weight": 1]) })]
    }

    private func tensor(_ name: String, in folder: String) throws -> [Float] {
        let folder = try ModelFolder(place[folder])
        let tensor = try #require(folder.layout.tensor(named: name))
        let values = FloatBuffer(count: tensor.count)
        try folder.read(tensor, into: UnsafeMutableBufferPointer(start: values.pointer, count: tensor.count))
        return values.array
    }

    /// Expects that planning or writing fails with all of the words, and that nothing is left.
    private func expectRefusal(
        _ tree: JSONValue, to out: String = "out", _ words: String..., sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let before = place.names
        do {
            try merge(tree, to: out)
            Issue.record("it was merged", sourceLocation: sourceLocation)
        } catch {
            for word in words { #expect("\(error)".contains(word), "\(error)", sourceLocation: sourceLocation) }
        }
        #expect(place.names == before, sourceLocation: sourceLocation)
    }

    // MARK: Values

    @Test func `Gradients and filters give each tensor its share`() throws {
        try expert("a", seed: 1, layers: 3)
        try expert("b", seed: 2, layers: 3)
        try merge([
            "merge_method": "linear",
            "models": [
                model("a", ["weight": [["filter": "mlp", "value": 1], ["value": [0, 1, 0]]]]),
                model("b", ["weight": [["filter": "mlp", "value": 3], ["value": [1, 0, 0.5]]]]),
            ], "parameters": ["normalize": true],
        ])
        // t of the layers is 0, 1/2 and 1; outside of them it is 0.
        let shares: [(String, Double, Double)] = [
            ("model.embed_tokens.weight", 0, 1), ("model.norm.weight", 0, 1),
            ("model.layers.0.self_attn.q_proj.weight", 0, 1), ("model.layers.1.self_attn.q_proj.weight", 1, 0),
            ("model.layers.2.input_layernorm.weight", 0, 0.5), ("model.layers.1.mlp.up_proj.weight", 1, 3),
        ]
        for (name, a, b) in shares {
            let (one, two, result) = try (tensor(name, in: "a"), tensor(name, in: "b"), tensor(name, in: "out"))
            let expected = zip(one, two).map { Float((a * Double($0) + b * Double($1)) / (a + b)) }
            #expect(result == expected, "\(name)")
        }
    }

    @Test func `Slices stack layers under new numbers`() throws {
        try expert("a", seed: 1, layers: 3)
        try expert("b", seed: 2, layers: 4)
        try merge([
            "merge_method": "passthrough",
            "slices": [["sources": [source("a", 0..<2)]], ["sources": [source("b", 1..<4)]]],
        ])
        let folder = try ModelFolder(place["out"])
        #expect(folder.configuration.layerCount == 5)
        let pairs = [
            ("model.embed_tokens.weight", "a", "model.embed_tokens.weight"),
            ("model.norm.weight", "b", "model.norm.weight"),
            ("model.layers.1.mlp.up_proj.weight", "a", "model.layers.1.mlp.up_proj.weight"),
            ("model.layers.2.mlp.up_proj.weight", "b", "model.layers.1.mlp.up_proj.weight"),
            ("model.layers.4.input_layernorm.weight", "b", "model.layers.3.input_layernorm.weight"),
        ]
        for (name, origin, old) in pairs {
            #expect(try tensor(name, in: "out") == tensor(old, in: origin), "\(name)")
        }
    }

    @Test func `A slice of one layer lies at the end of a gradient`() throws {
        try expert("a", seed: 1, layers: 1)
        try expert("b", seed: 2, layers: 1)
        try merge([
            "merge_method": "slerp", "base_model": .text(place["a"]),
            "slices": [["sources": [source("a", 0..<1), source("b", 0..<1)]]], "parameters": ["t": [0, 1]],
        ])
        let name = "model.layers.0.mlp.up_proj.weight"
        let (result, b) = (try tensor(name, in: "out"), try tensor(name, in: "b"))
        #expect(zip(result, b).allSatisfy { abs($0 - $1) < 1e-5 })
        #expect(try tensor("model.norm.weight", in: "out") == tensor("model.norm.weight", in: "a"))
    }

    @Test func `A stored head among the inputs unties the result`() throws {
        try expert("tied", seed: 1)
        try expert("untied", seed: 2, tied: false)
        try merge(linear("tied", "untied"))
        let folder = try ModelFolder(place["out"])
        #expect(!folder.configuration.tiedEmbeddings)
        let expected = zip(
            try tensor("model.embed_tokens.weight", in: "tied"), try tensor("lm_head.weight", in: "untied")
        ).map { Float((Double($0) + Double($1)) / 2) }
        #expect(try tensor("lm_head.weight", in: "out") == expected)
        try merge(linear("tied", "tied"), to: "both")
        #expect(try ModelFolder(place["both"]).configuration.tiedEmbeddings)
    }

    @Test func `Equal arguments give equal files, another seed another mask`() throws {
        try expert("base", seed: 1)
        try expert("a", seed: 2)
        let recipe: JSONValue = [
            "merge_method": "dare_ties", "base_model": .text(place["base"]),
            "models": [model("a", ["weight": 1, "density": 0.5])],
        ]
        try merge(recipe, to: "one", seed: 3)
        try merge(recipe, to: "two", seed: 3)
        try merge(recipe, to: "three", seed: 4)
        for name in try SystemFiles().list(place["one"]) {
            let (one, two) = (try place.bytes("one/\(name)"), try place.bytes("two/\(name)"))
            #expect(one == two, "\(name)")
        }
        #expect(
            try tensor("model.layers.0.mlp.up_proj.weight", in: "one")
                != tensor("model.layers.0.mlp.up_proj.weight", in: "three"))
    }

    @Test func `The result is complete and says what it was made of`() throws {
        try expert("a", seed: 1)
        try expert("b", seed: 2)
        try plan(linear("a", "b")).write(
            to: place["out"], storage: TensorStorage(type: .bfloat16, shardByteCountMax: 2000), seed: 7,
            recipeText: "the: recipe\n", pool: WorkerPool(threadCount: 1))
        let names = try SystemFiles().list(place["out"])
        for name in [
            "README.md", "config.json", "generation_config.json", "mergekit_config.yml", "model.safetensors.index.json",
            "tokenizer.json", "tokenizer_config.json",
        ] { #expect(names.contains(name), "\(name)") }
        #expect(names.contains { $0.hasPrefix("model-00002-of-") })
        #expect(String(decoding: try place.bytes("out/mergekit_config.yml"), as: UTF8.self) == "the: recipe\n")
        let card = String(decoding: try place.bytes("out/README.md"), as: UTF8.self)
        let hash = try #require(try fileHash(place["a/model.safetensors"]))
        for word in ["the: recipe", hash, place["b"], "seed 7", "linear"] { #expect(card.contains(word), "\(word)") }
        let config = String(decoding: try place.bytes("out/config.json"), as: UTF8.self)
        for key in ["rope_theta", "rope_parameters", "\"torch_dtype\": \"bfloat16\"", "\"dtype\": \"bfloat16\""] {
            #expect(config.contains(key), "\(key)")
        }
    }

    // MARK: Refusals

    @Test func `Models that do not fit are refused before anything is written`() throws {
        try expert("a", seed: 1)
        try expert("wide", seed: 2) { $0.feedForwardWidth = 16 }
        try expert("rope", seed: 2) { $0.ropeTheta = 5000 }
        try expert("large", seed: 2) { $0.vocabularySize = 260 }
        try expert("deep", seed: 2, layers: 3)
        try expectRefusal(linear("a", "wide"), "feed-forward width")
        try expectRefusal(linear("a", "rope"), "rotary base")
        try expectRefusal(linear("a", "large"), "vocabulary size")
        try expectRefusal(linear("a", "deep"), "with 3 layers", "with 2")
        try expectRefusal(linear("a", "none"), "no such file")
        try expectRefusal(
            ["merge_method": "passthrough", "slices": [["sources": [source("a", 0..<3)]]]], "ends at 3", "has 2 layers")
        try expectRefusal(
            ["merge_method": "passthrough", "models": [model("a"), model("a")]], "passthrough takes 1 model, not 2")
        for name in ["some/model", "./a+adapter", "a@main"] {
            try expectRefusal(
                ["merge_method": "linear", "models": [["model": .text(name), "parameters": ["weight": 1]]]],
                "there is no folder \(name)")
        }
    }

    @Test func `Weights that cancel out are refused before anything is written`() throws {
        try expert("a", seed: 1)
        let tree: JSONValue = [
            "merge_method": "linear",
            "models": [
                model("a", ["weight": 1]), model("a", ["weight": [["filter": "mlp", "value": -1], ["value": 1]]]),
            ],
        ]
        try expectRefusal(tree, "model.layers.0.mlp", "sum to zero")
        try expectRefusal(
            ["merge_method": "linear", "models": [model("a", ["weight": ["filter": "mlp", "value": 1]])]],
            "'weight'", "no value for model.embed_tokens.weight")
    }

    @Test func `Damaged and stale files are refused`() throws {
        try expert("a", seed: 1)
        try expert("b", seed: 2)
        let tensors = try place.bytes("b/model.safetensors")
        try DurableFile.write(tensors.dropLast(8), to: place["b/model.safetensors"])
        try expectRefusal(linear("a", "b"), "damaged", "bytes of data")
        // The last value of the norm is NaN: found while reading, and nothing stays.
        try DurableFile.write(tensors.dropLast(4) + [0, 0, 0xc0, 0x7f], to: place["b/model.safetensors"])
        try expectRefusal(linear("a", "b"), "NaN")
        try DurableFile.write(tensors, to: place["b/model.safetensors"])
        try DurableFile.write([0], to: place["b/model-00002-of-00002.safetensors"])
        try expectRefusal(linear("a", "b"), "left over")
    }

    @Test func `Used and foreign outputs are refused`() throws {
        try expert("a", seed: 1)
        try expert("b", seed: 2)
        try expert("c", seed: 3)
        try expectRefusal(linear("a", "b"), to: "a/../b", "one of the inputs")
        try expectRefusal(linear("a", "b"), to: "c", "not empty")
        try expectRefusal(linear("a", "b"), to: "none/out", "no such file")
        #expect(throws: MergeError.self) { try DiskSpace.check(for: place["out"], byteCount: .max) }
    }

    @Test func `Stopping leaves nothing`() throws {
        try expert("a", seed: 1)
        var count = 0
        #expect(throws: MergeError.checkpoint(.cancelled(path: place["out"]))) {
            try plan(linear("a", "a")).write(
                to: place["out"], storage: TensorStorage(), seed: 0, recipeText: "", pool: WorkerPool(threadCount: 1),
                progress: { done, _ in count = done }, isCancelled: { count >= 3 })
        }
        #expect(place.names == ["a"])
    }
}
