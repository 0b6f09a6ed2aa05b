import Checkpoint
import JSONText
import LanguageModel
import Numerics
import Testing
import Tokenizing

@testable import Experts

/// Mixtures of experts: which tensor comes from where, and what makes the router.
@Suite struct MixtureMergeTests {
    let place = ScratchFolder()
    let shape = ModelConfiguration(
        vocabularySize: 256, width: 8, layerCount: 2, headCount: 2, keyValueHeadCount: 1, feedForwardWidth: 12,
        contextLength: 16)

    private func model(_ name: String, seed: UInt64) throws {
        let parameters = FloatBuffer(count: shape.parameterCount)
        var random = SeededRandom(seed: seed)
        for index in 0..<parameters.count { parameters[index] = random.nextNormal() }
        try ModelFolder.write(to: place[name], configuration: shape, tokenizer: .bytes, parameters: parameters)
    }

    private func recipe(_ mode: String, _ experts: JSONValue...) throws -> MixtureRecipe {
        try MixtureRecipe(
            ["base_model": .text(place["base"]), "gate_mode": .text(mode), "experts": .array(experts)], file: "moe.yaml"
        )
    }

    private func expert(_ name: String, _ more: [(JSONString, JSONValue)] = []) -> JSONValue {
        var object = JSONObject()
        object["source_model"] = .text(place[name])
        for (key, value) in more { object[key] = value }
        return .object(object)
    }

    private func write(_ recipe: MixtureRecipe, to out: String, seed: UInt64 = 0) throws -> SafetensorsFile {
        try MixtureMerge(recipe).write(
            to: place[out], storage: TensorStorage(), seed: seed, recipeText: "", pool: WorkerPool(threadCount: 2))
        return try SafetensorsFile("\(place[out])/model.safetensors")
    }

    private func values(_ name: String, _ file: SafetensorsFile) throws -> [Float] {
        let tensor = try #require(file.header[JSONString(name)])
        let values = FloatBuffer(count: tensor.count)
        try file.read(tensor, into: UnsafeMutableBufferPointer(start: values.pointer, count: tensor.count))
        return values.array
    }

    private func dense(_ name: String, _ folder: String) throws -> [Float] {
        try values(name, SafetensorsFile("\(place[folder])/model.safetensors"))
    }

    @Test func `Experts have their models' matrices, all else is the base's`() throws {
        for (seed, name) in ["base", "a", "b"].enumerated() { try model(name, seed: UInt64(seed)) }
        let file = try write(
            recipe(
                "random", expert("a"), expert("b", [("residual_scale", 0.5)]), expert("base", [("noise_scale", 0.1)])),
            to: "moe")
        let prefix = "model.layers.1."
        for (matrix, name) in [("w1", "gate"), ("w3", "up"), ("w2", "down")] {
            let old = "\(prefix)mlp.\(name)_proj.weight"
            #expect(
                try values("\(prefix)block_sparse_moe.experts.0.\(matrix).weight", file) == dense(old, "a"), "\(matrix)"
            )
            let scale: Float = matrix == "w2" ? 0.5 : 1
            #expect(
                try values("\(prefix)block_sparse_moe.experts.1.\(matrix).weight", file)
                    == dense(old, "b").map { $0 * scale }, "\(matrix)")
            let noise = zip(
                try values("\(prefix)block_sparse_moe.experts.2.\(matrix).weight", file), try dense(old, "base")
            ).map { Double($0 - $1) }
            let deviation = (noise.reduce(0) { $0 + $1 * $1 } / Double(noise.count)).squareRoot()
            #expect((0.06...0.14).contains(deviation), "\(deviation)")
        }
        for name in ["model.embed_tokens.weight", "\(prefix)self_attn.q_proj.weight", "model.norm.weight"] {
            #expect(try values(name, file) == dense(name, "base"), "\(name)")
        }
        #expect(file.header[JSONString("\(prefix)block_sparse_moe.gate.weight")]?.shape == [3, 8])
        #expect(file.header.tensors.count == 2 * 6 + 2 * (1 + 9) + 2)
        let names = try SystemFiles().list(place["moe"])
        for name in ["config.json", "tokenizer.json", "README.md", "mergekit_config.yml", "generation_config.json"] {
            #expect(names.contains(name), "\(name)")
        }
    }

    @Test func `The router follows the prompts`() throws {
        try model("base", seed: 1)
        let folder = try ModelFolder(place["base"])
        let parameters = try folder.readParameters()
        let prompts: [(JSONString, JSONValue)] = [("positive_prompts", ["ab", "c"]), ("negative_prompts", ["d"])]
        func unit(_ values: [Double]) -> [Double] {
            let length = values.reduce(0) { $0 + $1 * $1 }.squareRoot()
            return values.map { $0 / length }
        }
        func row(_ byte: Int) -> [Double] { (0..<8).map { Double(parameters[byte * 8 + $0]) } }
        func expect(_ mode: String, layer: Int, _ expected: [Double]) throws {
            let file = try write(recipe(mode, expert("base", prompts), expert("base", prompts)), to: mode)
            let gate = try values("model.layers.\(layer).block_sparse_moe.gate.weight", file)
            for index in 0..<16 { #expect(abs(Double(gate[index]) - expected[index % 8]) < 1e-6, "\(mode)") }
        }
        // What enters the first layer is the embedding itself.
        func sum(_ parts: (Double, Int)...) -> [Double] {
            var sums = [Double](repeating: 0, count: 8)
            for (factor, byte) in parts {
                for (column, value) in row(byte).enumerated() { sums[column] += factor * value }
            }
            return sums
        }
        let last = unit(sum((0.5, 98), (0.5, 99), (-1, 100)))
        try expect("hidden", layer: 0, last)
        try expect("hidden_last", layer: 0, last)
        try expect("hidden_avg", layer: 0, unit(sum((0.25, 97), (0.25, 98), (0.5, 99), (-1, 100))))
        let (positive, negative) = (unit(sum((1, 97), (1, 98), (1, 99))), unit(row(100)))
        try expect("cheap_embed", layer: 1, unit(zip(positive, negative).map { $0 - $1 }))
        // In later layers hidden states differ from the embedding.
        let file = try SafetensorsFile("\(place["hidden"])/model.safetensors")
        #expect(
            try values("model.layers.1.block_sparse_moe.gate.weight", file)
                != values("model.layers.0.block_sparse_moe.gate.weight", file))
    }

    @Test func `Random routers follow the seed`() throws {
        try model("base", seed: 1)
        let gate = "model.layers.0.block_sparse_moe.gate.weight"
        let recipe = try recipe("uniform_random", expert("base"), expert("base"))
        let one = try values(gate, write(recipe, to: "one", seed: 1))
        #expect(try one == values(gate, write(recipe, to: "two", seed: 1)))
        #expect(try one != values(gate, write(recipe, to: "three", seed: 2)))
        #expect(one.allSatisfy { abs($0) <= 0.3536 })
    }

    @Test func `What is refused`() throws {
        try model("base", seed: 1)
        func expectRefusal(_ tree: JSONValue, _ words: String..., sourceLocation: SourceLocation = #_sourceLocation) {
            do throws(RecipeProblem) {
                _ = try MixtureRecipe(tree, file: "moe.yaml")
                Issue.record("it was read", sourceLocation: sourceLocation)
            } catch {
                for word in words {
                    #expect("\(error). \(error.cure)".contains(word), "\(error)", sourceLocation: sourceLocation)
                }
            }
        }
        let base = JSONValue.text(place["base"])
        expectRefusal(["experts": [["source_model": base]]], "'base_model' is missing")
        expectRefusal(["base_model": base, "experts": []], "0 experts")
        expectRefusal(["base_model": base, "experts": [["source_model": base]]], "needs positive_prompts")
        expectRefusal(
            ["base_model": base, "gate_mode": "hiden", "experts": [["source_model": base]]], "did you mean 'hidden'")
        expectRefusal(
            ["base_model": base, "gate_mode": "random", "experts_per_token": 2, "experts": [["source_model": base]]],
            "experts_per_token")
        let long = try recipe(
            "hidden", expert("base", [("positive_prompts", [.text(String(repeating: "x", count: 17))])]))
        #expect(throws: MergeError.self) { try write(long, to: "long") }
        #expect(place.names == ["base"])
    }
}
