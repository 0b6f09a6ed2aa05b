package import Checkpoint
import LanguageModel
package import Numerics

/// Makes a mixture of experts of dense models and writes it as `MixtralForCausalLM`, under the names that both generations
/// of transformers and llama.cpp read.
package struct MixtureMerge {
    private let recipe: MixtureRecipe
    private let models: RecipeModels
    private let base: ModelFolder

    /// One tensor of the mixture.
    private struct Part {
        /// Where its values come from.
        enum Source {
            case base(ParameterLayout.Tensor)
            case expert(Int, ParameterLayout.Tensor)
            case gate(layer: Int)
        }

        let stored: ModelFolder.TensorDescription
        let source: Source
    }

    /// Opens the models of a recipe and checks that they have one shape.
    package init(_ recipe: MixtureRecipe) throws(MergeError) {
        self.recipe = recipe
        models = try RecipeModels(recipe.models)
        base = models[recipe.base]
        for (name, folder) in models.all where folder !== base {
            let (one, two) = (base.configuration, folder.configuration)
            let differences = [
                (one.width != two.width, "the width"), (one.layerCount != two.layerCount, "the number of layers"),
                (one.feedForwardWidth != two.feedForwardWidth, "the feed-forward width"),
            ]
            if let first = differences.first(where: \.0) { throw .different(base.path, name, what: first.1) }
        }
    }

    /// The element type of the result if nothing else is asked for.
    package var type: FloatType { recipe.type ?? models.commonType }

    /// Number of parameters, all experts together.
    package var parameterCount: Int { parts.reduce(0) { $0 + $1.stored.count } }

    /// Whether the number of experts is none that old GPU kernels of llama.cpp take.
    package var hasUnusualCount: Bool { recipe.experts.count & (recipe.experts.count - 1) != 0 }

    /// Writes the mixture, atomically and durably.
    ///
    /// - Parameters:
    ///   - path: must not exist, or be an empty folder, and must not be an input.
    ///   - seed: of random routers and of noise.
    ///   - recipeText: the recipe as it was read, which is kept beside the result.
    ///   - progress: gets the number of tensors done and in all, before each.
    ///   - isCancelled: asked before each tensor.
    package func write(
        to path: String, storage: TensorStorage, seed: UInt64, recipeText: String, pool: WorkerPool,
        progress: (Int, Int) -> Void = { _, _ in }, isCancelled: () -> Bool = { false }
    ) throws(MergeError) {
        let parts = self.parts
        try models.checkOutput(path, byteCount: parts.reduce(0) { $0 + $1.stored.count } * storage.type.byteCount)
        let gate = try MixtureGate(recipe, base: base, seed: seed, pool: pool)
        do {
            let card = ModelCard(
                summary: "A mixture of \(recipe.experts.count) experts made by `atoll merge`, with the router "
                    + "\(recipe.gateMode.rawValue) and \(recipe.expertsPerToken) experts per token.",
                inputs: try models.cardInputs(path: path, isCancelled: isCancelled), seed: seed, recipe: recipeText)
            let companions = try base.companions()
            var files = companions.files.merging(card.documents) { $1 }
            files["config.json"] = MixtralConfig.encode(
                base.configuration, expertCount: recipe.experts.count, expertsPerToken: recipe.expertsPerToken,
                type: storage.type, keeping: companions.config)
            let largest = FloatBuffer(count: parts.reduce(0) { max($0, $1.stored.count) })
            try ModelFolder.write(
                to: path, files: files, tensors: parts.enumerated().map { ($1.stored, $0) }, storage: storage,
                metadata: [("merge_method", "mixture")]
            ) { (index, take) throws(CheckpointError) in
                if isCancelled() { throw .cancelled(path: path) }
                progress(index, parts.count)
                let target = UnsafeMutableBufferPointer(start: largest.pointer, count: parts[index].stored.count)
                try fill(target, with: parts[index], gate: gate, seed: seed)
                try take(UnsafeBufferPointer(target))
            }
        } catch { throw .checkpoint(error) }
    }

    /// The tensors of the mixture in the order of their names.
    private var parts: [Part] {
        var parts: [Part] = []
        let (shape, count) = (base.configuration, recipe.experts.count)
        let matrices = [("mlp.gate_proj.weight", "w1"), ("mlp.up_proj.weight", "w3"), ("mlp.down_proj.weight", "w2")]
        for tensor in base.layout.tensors {
            guard let block = tensor.block, let matrix = matrices.first(where: { tensor.name.hasSuffix($0.0) }) else {
                parts.append(
                    Part(
                        stored: ModelFolder.TensorDescription(name: tensor.name, shape: tensor.shape),
                        source: .base(tensor)))
                continue
            }
            let prefix = "model.layers.\(block).block_sparse_moe."
            if matrix.1 == "w1" {
                parts.append(
                    Part(
                        stored: ModelFolder.TensorDescription(
                            name: "\(prefix)gate.weight", shape: [count, shape.width]),
                        source: .gate(layer: block)))
            }
            for expert in 0..<count {
                parts.append(
                    Part(
                        stored: ModelFolder.TensorDescription(
                            name: "\(prefix)experts.\(expert).\(matrix.1).weight", shape: tensor.shape),
                        source: .expert(expert, tensor)))
            }
        }
        return parts.sorted { $0.stored.name.utf8.lexicographicallyPrecedes($1.stored.name.utf8) }
    }

    private func fill(
        _ target: UnsafeMutableBufferPointer<Float>, with part: Part, gate: MixtureGate, seed: UInt64
    ) throws(CheckpointError) {
        switch part.source {
        case .base(let tensor): try base.read(tensor, into: target)
        case .gate(let layer):
            _ = target.update(fromContentsOf: gate.layers[layer])
        case .expert(let index, let tensor):
            let expert = recipe.experts[index]
            let folder = models[expert.model]
            // The same name in another folder, whose head may be tied where the base's is not.
            guard let own = folder.layout.tensor(named: tensor.name) else {
                preconditionFailure("models with equally many layers have the same matrices in them")
            }
            try folder.read(own, into: target)
            if expert.noiseScale != 0 {
                var random = SeededRandom(seed: seed, stream: Self.stream(of: part.stored.name))
                for element in target.indices {
                    target[element] += Float(expert.noiseScale) * random.nextNormal()
                }
            }
            if expert.residualScale != 1, tensor.name.hasSuffix("down_proj.weight") {
                for element in target.indices {
                    target[element] = Float(Double(target[element]) * expert.residualScale)
                }
            }
        }
    }

    /// A stream of random numbers for each tensor, so that neither order nor number of files matters (FNV-1a of the name).
    private static func stream(of name: String) -> UInt64 {
        name.utf8.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01B3 }
    }
}
