import Checkpoint
import Glibc
import LanguageModel
import Numerics
import Tokenizing

/// The router's weights of a mixture, made without training.
struct MixtureGate {
    /// Per layer, [experts, width].
    let layers: [[Float]]

    /// The modes that read prompts need the base model in memory, `cheap_embed` its embedding.
    init(_ recipe: MixtureRecipe, base: ModelFolder, seed: UInt64, pool: WorkerPool) throws(MergeError) {
        let shape = base.configuration
        switch recipe.gateMode {
        case .random, .uniformRandom:
            let bound = 1 / sqrt(Double(shape.width))
            layers = (0..<shape.layerCount).map { layer in
                var random = SeededRandom(seed: seed, stream: UInt64(layer))
                return (0..<recipe.experts.count * shape.width).map { _ in
                    recipe.gateMode == .random
                        ? random.nextNormal() : Float((2 * Double(random.nextUniform()) - 1) * bound)
                }
            }
        case .cheapEmbed, .hidden, .hiddenLast, .hiddenAverage:
            let reader: PromptReader
            do { reader = try PromptReader(recipe: recipe, base: base, pool: pool) } catch { throw .checkpoint(error) }
            var layers = [[Float]](repeating: [], count: shape.layerCount)
            for expert in recipe.experts {
                for (layer, row) in try reader.direction(of: expert).enumerated() { layers[layer] += row }
            }
            self.layers = layers
        }
    }
}

/// What a base model makes of an expert's prompts.
private struct PromptReader {
    let recipe: MixtureRecipe
    let base: ModelFolder
    /// [vocabulary, width].
    let embedding: FloatBuffer
    /// nil where the embedding is enough.
    let states: HiddenStates?

    init(recipe: MixtureRecipe, base: ModelFolder, pool: WorkerPool) throws(CheckpointError) {
        self.recipe = recipe
        self.base = base
        guard recipe.gateMode == .cheapEmbed else {
            // It lies at the start of the parameters.
            embedding = try base.readParameters()
            states = HiddenStates(layout: base.layout, parameters: embedding, pool: pool)
            return
        }
        let tensor = base.layout.tensors[0]
        embedding = FloatBuffer(count: tensor.count)
        try base.read(tensor, into: UnsafeMutableBufferPointer(start: embedding.pointer, count: tensor.count))
        states = nil
    }

    /// [layers, width]: where the positive prompts lie, away from the negative ones, with length 1.
    func direction(of expert: MixtureRecipe.Expert) throws(MergeError) -> [[Float]] {
        var place = try mean(expert.positivePrompts, key: "positive_prompts", of: expert)
        if !expert.negativePrompts.isEmpty {
            let other = try mean(expert.negativePrompts, key: "negative_prompts", of: expert)
            for layer in place.indices {
                for column in place[layer].indices { place[layer][column] -= other[layer][column] }
            }
        }
        return place.map { row in Self.normalised(row).map { Float($0) } }
    }

    private func mean(
        _ prompts: [String], key: String, of expert: MixtureRecipe.Expert
    ) throws(MergeError) -> [[Double]] {
        let shape = base.configuration
        var sums = [[Double]](repeating: Array(repeating: 0, count: shape.width), count: shape.layerCount)
        for (index, prompt) in prompts.enumerated() {
            let tokens = base.tokenizer.encode(prompt, addSpecialTokens: true)
            let place = expert.place.member(key).element(index)
            guard (1...shape.contextLength).contains(tokens.count) else {
                throw .recipe(
                    RecipeProblem(
                        place, "the prompt has \(tokens.count) tokens",
                        cure: "Write 1 to \(shape.contextLength), which is the base model's context"))
            }
            guard let states else {
                for token in tokens {
                    for column in 0..<shape.width {
                        sums[0][column] += Double(embedding[Int(token) * shape.width + column])
                    }
                }
                continue
            }
            let summary: HiddenStates.Summary = recipe.gateMode == .hiddenAverage ? .mean : .last
            let found: [[Double]]
            do { found = try states.states(of: tokens, summary) } catch {
                throw .recipe(RecipeProblem(place, "\(error)", cure: "Write another prompt"))
            }
            for layer in sums.indices {
                for column in 0..<shape.width {
                    sums[layer][column] += found[layer][column] / Double(prompts.count)
                }
            }
        }
        guard states == nil else { return sums }
        return Array(repeating: Self.normalised(sums[0]), count: shape.layerCount)
    }

    /// The vector with length 1; zero stays zero.
    private static func normalised(_ vector: [Double]) -> [Double] {
        let length = max(1e-8, sqrt(vector.reduce(0) { $0 + $1 * $1 }))
        return vector.map { $0 / length }
    }
}
