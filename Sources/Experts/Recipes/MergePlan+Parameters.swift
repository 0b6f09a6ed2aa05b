import Checkpoint

/// The parameters of one tensor, as a recipe's scopes give them.
struct ResolvedParameters: Hashable {
    /// Of the merge, by name; without those that nobody gave.
    var shared: [String: Double] = [:]
    /// Of each input, in their order.
    var perInput: [[String: Double]]
}

extension MergePlan {
    /// The parameters for one tensor. The nearest scope that has a value counts: the model, the slice, the recipe; then
    /// the method's default.
    func parameters(of part: Part) throws(MergeError) -> ResolvedParameters {
        let slice = recipe.slices[part.slice]
        var resolved = ResolvedParameters(perInput: Array(repeating: [:], count: part.inputs.count))
        for parameter in recipe.method.parameters {
            let name = parameter.name
            func outer(_ tensor: String) -> Double? {
                slice.parameters[name]?.value(for: tensor, at: part.t)
                    ?? recipe.parameters[name]?.value(for: tensor, at: part.t)
            }
            guard parameter.isPerModel else {
                if let value = outer(part.tensor.name) {
                    resolved.shared[name] = value
                } else if parameter.isRequired {
                    throw missing(name, part, of: nil)
                }
                continue
            }
            for (index, input) in part.inputs.enumerated() {
                if index == part.base, !recipe.method.baseHasParameters { continue }
                let own = input.source.flatMap {
                    slice.sources[$0].parameters[name]?.value(for: input.name, at: part.t)
                }
                if let value = own ?? outer(input.name) {
                    resolved.perInput[index][name] = value
                } else if parameter.isRequired {
                    throw missing(name, part, of: input)
                }
            }
        }
        return resolved
    }

    private func missing(_ name: String, _ part: Part, of input: Input?) -> MergeError {
        let slice = recipe.slices[part.slice]
        let place = input?.source.map { slice.sources[$0].place } ?? slice.place
        let whose = input.map { " of \($0.folder.path)" } ?? ""
        return .recipe(
            RecipeProblem(
                place, "'\(name)'\(whose) has no value for \(part.tensor.name)",
                cure: "Add a last condition without a filter"))
    }
}
