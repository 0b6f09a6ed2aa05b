package import Checkpoint

/// A merge as a recipe of mergekit describes it: a method, and for each stretch of layers the models that go in.
///
/// Read strictly: an unknown key, and a parameter that the method does not have, are errors.
package struct MergeRecipe: Hashable, Sendable {
    /// A model of a slice.
    package struct Source: Hashable, Sendable {
        /// The folder, as written.
        package var model: String
        /// Its layers; nil for all.
        package var layers: Range<Int>?
        /// Parameters for this model alone.
        package var parameters: [MergeParameter: ParameterSetting]
        let place: RecipePlace
    }

    /// A stretch of the result's layers.
    package struct Slice: Hashable, Sendable {
        /// At least one.
        package var sources: [Source]
        /// The model that the others are seen from; nil for none.
        package var base: String?
        /// Parameters for this slice.
        package var parameters: [MergeParameter: ParameterSetting]
        let place: RecipePlace
    }

    /// Whose tokens the result has.
    package enum TokenizerSource: Hashable, Sendable {
        /// Those of the base model.
        case base
        /// Those of all models.
        case union
        /// Those of a model, by its folder.
        case model(String)
    }

    /// Where a token's row of the embedding comes from.
    package enum TokenEmbedding: Hashable, Sendable {
        /// The row of the token in a model.
        case model(String)
        /// The row of another token in a model.
        case token(model: String, TokenName)
        /// Zeros.
        case zero
    }

    /// Another token: by its text or its id.
    package enum TokenName: Hashable, Sendable {
        case text(String)
        case id(Int)
    }

    /// A rule for the embedding of one token.
    package struct TokenRule: Hashable, Sendable {
        /// The token's text.
        package var token: String
        /// Where its row comes from; nil for the usual rule.
        package var source: TokenEmbedding?
        /// Whether the row also replaces that of models that have the token.
        package var force: Bool
        let place: RecipePlace
    }

    /// How the vocabularies of the models become one.
    package struct TokenizerChoice: Hashable, Sendable {
        package var source: TokenizerSource
        package var rules: [TokenRule] = []
        /// The number of rows is rounded up to a multiple of this.
        package var padMultiple: Int?
        let place: RecipePlace
    }

    /// How tensors are merged.
    package var method: MergeMethod
    /// In the order of the result's layers.
    package var slices: [Slice]
    /// The recipe's base model; nil for none.
    package var base: String?
    /// Whether the recipe names models, each with all of its layers, in place of slices.
    package var namesModels: Bool
    /// Parameters for everything.
    package var parameters: [MergeParameter: ParameterSetting]
    /// The element type of the result; nil for that of the inputs.
    package var type: FloatType?
    /// nil: the vocabularies must be equal.
    package var tokenizer: TokenizerChoice?
    /// A name or a Jinja text; nil keeps the donor's.
    package var chatTemplate: String?
    let place: RecipePlace

    /// The models named, each once, in order of first mention.
    package var models: [(name: String, place: String)] {
        var models: [(name: String, place: String)] = []
        func add(_ name: String, _ place: RecipePlace) {
            if !models.contains(where: { $0.name.utf8.elementsEqual(name.utf8) }) { models.append((name, "\(place)")) }
        }
        if let base { add(base, place.member("base_model")) }
        for slice in slices {
            if let base = slice.base { add(base, slice.place.member("base_model")) }
            for source in slice.sources { add(source.model, source.place.member("model")) }
        }
        if let tokenizer {
            if case .model(let name) = tokenizer.source { add(name, tokenizer.place) }
            for rule in tokenizer.rules {
                switch rule.source {
                case .model(let name), .token(let name, _): add(name, rule.place)
                case .zero, nil: break
                }
            }
        }
        return models
    }
}
