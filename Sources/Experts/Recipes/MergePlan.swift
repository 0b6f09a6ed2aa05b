import Checkpoint
package import LanguageModel
import Tokenizing

/// A recipe whose models are open: what each tensor of the result is made of.
///
/// Making one checks everything but the values, so that nothing is left to fail after work has begun but a NaN and the
/// disk.
package struct MergePlan {
    /// What one tensor of the result is made of.
    struct Part {
        /// The tensor of the result.
        let tensor: ParameterLayout.Tensor
        /// Its inputs, in the order of the recipe.
        let inputs: [Input]
        /// The position in `inputs` of the model that the others are seen from; nil for none.
        let base: Int?
        /// The slice of the recipe.
        let slice: Int
        /// Where in its slice the tensor lies, from 0 to 1; 0 outside the layers.
        let t: Double
    }

    /// A tensor of a model.
    struct Input {
        let folder: ModelFolder
        /// The tensor whose values are read: the embedding in place of a tied head.
        let tensor: ParameterLayout.Tensor
        /// The tensor's name by its role, which filters are held against.
        let name: String
        /// The source in the slice; nil for a base model that joined by itself.
        let source: Int?
    }

    private(set) var recipe: MergeRecipe
    let models: RecipeModels
    /// The model whose configuration and side files the result has.
    let donor: ModelFolder
    /// The result's shape.
    package let configuration: ModelConfiguration
    /// The result's tokenizer and where its rows come from.
    let vocabulary: VocabularyPlan
    let parts: [Part]

    /// Opens the models of a recipe and checks that it can be carried out.
    package init(_ recipe: MergeRecipe) throws(MergeError) {
        let models = try RecipeModels(recipe.models)
        self.recipe = recipe
        self.models = models
        let slices = try recipe.slices.map { (slice) throws(MergeError) in
            try Stretch(slice, of: recipe, models: models)
        }
        guard let first = slices.first, let last = slices.last else { preconditionFailure("a recipe has a slice") }
        donor = models[recipe.base ?? recipe.slices[0].sources[0].model]
        let inputs = models.all.indices.filter { index in
            let folder = models.all[index].folder
            return slices.contains { $0.sources.contains { $0.folder === folder } }
        }
        for index in inputs { try Self.check(models.all[index], against: donor) }
        vocabulary = try VocabularyPlan(recipe, models: models, inputs: inputs, donor: donor)

        var configuration = donor.configuration
        configuration.layerCount = slices.reduce(0) { $0 + $1.count }
        configuration.vocabularySize = vocabulary.size
        // One stored head among those that the result's is made of has no place in a tied model.
        configuration.tiedEmbeddings = (first.sources + last.sources).allSatisfy {
            $0.folder.configuration.tiedEmbeddings
        }
        do { try configuration.validate() } catch {
            throw .recipe(RecipeProblem(recipe.place, "\(error)", cure: "Stack fewer layers"))
        }
        self.configuration = configuration
        parts = Self.parts(of: ParameterLayout(configuration), slices: slices)
    }

    /// The same merge with a recipe that differs in nothing but the values of parameters.
    func with(_ recipe: MergeRecipe) -> MergePlan {
        var plan = self
        plan.recipe = recipe
        return plan
    }

    /// One slice with its models open.
    struct Stretch {
        /// A model's part in it.
        struct Source {
            let folder: ModelFolder
            let layers: Range<Int>
            /// The source in the recipe's slice; nil for a base model that joined by itself.
            let index: Int?
        }

        let sources: [Source]
        let base: Int?
        /// Layers.
        let count: Int
    }

    private static func parts(of layout: ParameterLayout, slices: [Stretch]) -> [Part] {
        let places = slices.enumerated().flatMap { slice, stretch in (0..<stretch.count).map { (slice, $0) } }
        return layout.tensors.map { tensor in
            guard let block = tensor.block else {
                // The embedding belongs to the first slice, norm and head to the last one.
                let slice = tensor.offset == 0 ? 0 : slices.count - 1
                return part(tensor, of: slices[slice], slice: slice, t: 0) { _ in tensor.name }
            }
            let (slice, layer) = places[block]
            let count = slices[slice].count
            let suffix = tensor.name.dropFirst(blockPrefix(block).count)
            return part(
                tensor, of: slices[slice], slice: slice, t: count == 1 ? 1 : Double(layer) / Double(count - 1)
            ) { source in blockPrefix(source.layers.lowerBound + layer) + suffix }
        }
    }

    private static func part(
        _ tensor: ParameterLayout.Tensor, of stretch: Stretch, slice: Int, t: Double, name: (Stretch.Source) -> String
    ) -> Part {
        let inputs = stretch.sources.map { source in
            let name = name(source)
            // What is not there under its name is the head of a tied model.
            let stored = source.folder.layout.tensor(named: name) ?? source.folder.layout.tensors[0]
            return Input(folder: source.folder, tensor: stored, name: name, source: source.index)
        }
        return Part(tensor: tensor, inputs: inputs, base: stretch.base, slice: slice, t: t)
    }

    private static func blockPrefix(_ block: Int) -> String { "model.layers.\(block)." }
}

extension MergePlan.Stretch {
    /// Opens a slice: its layers must lie in the models and be equally many.
    init(_ slice: MergeRecipe.Slice, of recipe: MergeRecipe, models: RecipeModels) throws(MergeError) {
        var sources: [Source] = []
        for (index, source) in slice.sources.enumerated() {
            let folder = models[source.model]
            let layers = source.layers ?? 0..<folder.configuration.layerCount
            guard layers.upperBound <= folder.configuration.layerCount else {
                throw .recipe(
                    RecipeProblem(
                        source.place.member("layer_range"),
                        "it ends at \(layers.upperBound), but \(source.model) has \(folder.configuration.layerCount) layers",
                        cure: "Stay within the model's layers"))
            }
            sources.append(Source(folder: folder, layers: layers, index: index))
        }
        base = try Self.findBase(of: slice, in: recipe, models: models, sources: &sources)
        count = sources[0].layers.count
        for source in sources where source.layers.count != count {
            throw .recipe(
                RecipeProblem(
                    slice.place,
                    "\(source.folder.path) goes in with \(source.layers.count) layers, \(sources[0].folder.path) with \(count)",
                    cure: "Merge models with equally many layers, or stretches of equal length by 'slices'"))
        }
        let range = recipe.method.inputCount
        let others = sources.count - (base != nil && recipe.method.setsBaseApart ? 1 : 0)
        guard range.contains(others) else {
            let wanted =
                range == 1...1
                ? "1 model"
                : range.lowerBound == range.upperBound
                    ? "\(range.lowerBound) models" : "\(range.lowerBound) to \(range.upperBound) models"
            throw .recipe(
                RecipeProblem(
                    slice.place,
                    "\(recipe.method.rawValue) takes \(wanted)\(recipe.method.setsBaseApart ? " beside the base" : "")"
                        + ", not \(others)", cure: "Name as many models, or choose another method"))
        }
        self.sources = sources
    }

    /// The base model's place; where models are named without layers it joins them by itself, as in mergekit.
    private static func findBase(
        of slice: MergeRecipe.Slice, in recipe: MergeRecipe, models: RecipeModels, sources: inout [Source]
    ) throws(MergeError) -> Int? {
        guard let name = slice.base else { return nil }
        let places = slice.sources.indices.filter { slice.sources[$0].model.utf8.elementsEqual(name.utf8) }
        guard places.count <= 1 else {
            throw .recipe(
                RecipeProblem(
                    slice.sources[places[1]].place, "the base model is named twice", cure: "Name it once"))
        }
        if let place = places.first { return place }
        guard recipe.namesModels, recipe.method != .passthrough else { return nil }
        let folder = models[name]
        sources.append(Source(folder: folder, layers: 0..<folder.configuration.layerCount, index: nil))
        return sources.count - 1
    }
}

extension MergePlan {
    /// Throws unless a model has the shape of the donor, layers and vocabulary aside.
    private static func check(
        _ model: (name: String, folder: ModelFolder), against donor: ModelFolder
    ) throws(MergeError) {
        let (one, two) = (donor.configuration, model.folder.configuration)
        var scalesByContext = false
        if case .dynamic = one.ropeScaling { scalesByContext = true }
        let differences: [(Bool, String)] = [
            (one.width != two.width, "the width"), (one.headCount != two.headCount, "the number of heads"),
            (one.keyValueHeadCount != two.keyValueHeadCount, "the number of key-value heads"),
            (one.headWidth != two.headWidth, "the head width"),
            (one.feedForwardWidth != two.feedForwardWidth, "the feed-forward width"),
            (one.ropeTheta != two.ropeTheta, "the rotary base"),
            (one.ropeScaling != two.ropeScaling, "the rotary scaling"),
            (scalesByContext && one.contextLength != two.contextLength, "the context that rotary scaling starts at"),
            (one.rmsNormEpsilon != two.rmsNormEpsilon, "the epsilon of the norms"),
        ]
        if let first = differences.first(where: \.0) { throw .different(donor.path, model.name, what: first.1) }
    }
}
