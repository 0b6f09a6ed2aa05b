/// Why a merge recipe is refused: the place in it, the reason, and what to do.
package struct RecipeProblem: Error, Hashable, Sendable, CustomStringConvertible {
    /// Where, such as `recipe.yaml: slices[0].sources[1].parameters.weight`.
    package let place: String
    /// What is wrong there.
    package let reason: String
    /// What a person can do about it.
    package let cure: String

    init(_ place: RecipePlace, _ reason: String, cure: String) {
        self.init(place: place.description, reason: reason, cure: cure)
    }

    /// Wraps the three.
    package init(place: String, reason: String, cure: String) {
        self.place = place
        self.reason = reason
        self.cure = cure
    }

    /// Place and reason.
    package var description: String { "\(place): \(reason)" }
}

/// A place in a recipe.
struct RecipePlace: Hashable, Sendable, CustomStringConvertible {
    /// The recipe's name in messages.
    private let file: String
    /// The way to the value: `slices[0].sources`.
    private var path = ""

    init(file: String) { self.file = file }

    var description: String { path.isEmpty ? file : "\(file): \(path)" }

    /// A member of the mapping at this place.
    func member(_ key: String) -> RecipePlace {
        var place = self
        place.path += path.isEmpty ? key : ".\(key)"
        return place
    }

    /// An element of the list at this place.
    func element(_ index: Int) -> RecipePlace {
        var place = self
        place.path += "[\(index)]"
        return place
    }
}
