package import Checkpoint
package import JSONText

/// A mixture of experts that is made of dense models, as a recipe of mergekit-moe describes it: everything but the
/// feed-forward parts from a base model, one expert per model, and a router that is made without training.
package struct MixtureRecipe: Hashable, Sendable {
    /// How the router's weights are made.
    package enum GateMode: String, Hashable, Sendable, CaseIterable {
        /// Normal numbers of variance 1.
        case random
        /// Uniform numbers as in a new linear layer.
        case uniformRandom = "uniform_random"
        /// The prompts' embeddings, the same for all layers.
        case cheapEmbed = "cheap_embed"
        /// What the base model makes of the prompts' last tokens before each layer.
        case hidden
        /// The same by another name.
        case hiddenLast = "hidden_last"
        /// The same over all tokens of the prompts.
        case hiddenAverage = "hidden_avg"

        /// Whether prompts make the router.
        package var usesPrompts: Bool { self != .random && self != .uniformRandom }
    }

    /// One expert.
    package struct Expert: Hashable, Sendable {
        /// The folder whose feed-forward parts it has, as written.
        package var model: String
        /// Texts that it is for.
        package var positivePrompts: [String]
        /// Texts that it is not for.
        package var negativePrompts: [String]
        /// Standard deviation of normal noise on its matrices.
        package var noiseScale: Double
        /// Factor of what it adds to the stream.
        package var residualScale: Double
        let place: RecipePlace
    }

    /// The folder of the base model, as written.
    package var base: String
    /// How the router is made.
    package var gateMode: GateMode
    /// Experts that work on each token.
    package var expertsPerToken: Int
    /// At least one.
    package var experts: [Expert]
    /// The element type of the result; nil for that of the inputs.
    package var type: FloatType?
    let place: RecipePlace

    /// Whether a recipe describes a mixture.
    package static func describes(_ tree: JSONValue) -> Bool { tree.object?["experts"] != nil }

    /// The most experts; Mixtral has 8.
    private static let expertCountMax = 256

    /// Reads a recipe from the tree of its YAML or JSON text.
    ///
    /// - Parameter file: the recipe's name in messages.
    package init(_ tree: JSONValue, file: String) throws(RecipeProblem) {
        place = RecipePlace(file: file)
        var root = try RecipeNode(value: tree, place: place).mapping()
        base = try MergeRecipe.model(try root.require("base_model"))
        gateMode = .hidden
        if let node = root.take("gate_mode") {
            let word = try node.word(of: GateMode.allCases.map(\.rawValue), "gate mode")
            guard let mode = GateMode(rawValue: word) else { preconditionFailure("the word is one of the modes") }
            gateMode = mode
        }
        type = try MergeRecipe.type(&root)
        let perToken = root.take("experts_per_token")
        for key in ["shared_experts", "architecture"] {
            if let node = root.take(key) {
                throw RecipeProblem(
                    node.place, "mixtures are written in Mixtral's form, which has no such thing",
                    cure: "Remove the key")
            }
        }
        experts = []
        let list = try root.require("experts")
        for node in try list.elements() { experts.append(try Self.expert(node, gateMode: gateMode)) }
        guard (1...Self.expertCountMax).contains(experts.count) else {
            throw RecipeProblem(
                list.place, "there are \(experts.count) experts", cure: "Name 1 to \(Self.expertCountMax)")
        }
        try root.finish()
        expertsPerToken = min(2, experts.count)
        if let perToken { expertsPerToken = try perToken.integer(in: 1...experts.count) }
    }

    /// The models named, each once, in order of first mention.
    package var models: [(name: String, place: String)] {
        var models = [(name: base, place: "\(place.member("base_model"))")]
        for expert in experts where !models.contains(where: { $0.name.utf8.elementsEqual(expert.model.utf8) }) {
            models.append((expert.model, "\(expert.place.member("source_model"))"))
        }
        return models
    }

    private static func expert(_ node: RecipeNode, gateMode: GateMode) throws(RecipeProblem) -> Expert {
        var mapping = try node.mapping()
        let model = try MergeRecipe.model(try mapping.require("source_model"))
        func prompts(_ key: String) throws(RecipeProblem) -> [String] {
            guard let node = mapping.take(key) else { return [] }
            var texts: [String] = []
            for element in try node.elements() { texts.append(try element.text()) }
            return texts
        }
        let (positive, negative) = (try prompts("positive_prompts"), try prompts("negative_prompts"))
        func number(_ key: String, _ standard: Double) throws(RecipeProblem) -> Double {
            try mapping.take(key).map { (node) throws(RecipeProblem) in try node.number() } ?? standard
        }
        let expert = Expert(
            model: model, positivePrompts: positive, negativePrompts: negative,
            noiseScale: try number("noise_scale", 0), residualScale: try number("residual_scale", 1), place: node.place)
        guard expert.noiseScale >= 0 else {
            throw RecipeProblem(
                node.place.member("noise_scale"), "it is negative", cure: "Write 0 or a standard deviation")
        }
        try mapping.finish()
        if gateMode.usesPrompts, positive.isEmpty {
            throw RecipeProblem(
                node.place, "gate_mode \(gateMode.rawValue) needs positive_prompts",
                cure: "Add texts that the expert is for, or choose gate_mode random")
        }
        return expert
    }
}
