import JSONText

/// The numbers of a recipe that a search may change: weights, densities and scales of each model, and shares `t`; every
/// number of a gradient and of a condition by itself.
struct SearchSpace {
    /// One number.
    struct Axis: Hashable {
        /// Where its setting stands.
        enum Scope: Hashable {
            case recipe
            case slice(Int)
            case source(slice: Int, Int)
        }

        let scope: Scope
        let parameter: MergeParameter
        let condition: Int
        let point: Int
        let range: ClosedRange<Double>
    }

    /// The recipe with every searched number where it belongs: those of models at the models.
    let recipe: MergeRecipe
    let axes: [Axis]

    /// More numbers than a search can tell apart in reasonable time.
    static let axisCountMax = 64

    /// What is searched, and where.
    private static let ranges: [(parameter: MergeParameter, range: ClosedRange<Double>)] = [
        (.weight, 0...1.5), (.density, 0.05...1), (.scale, 0.5...1.5), (.t, 0...1),
    ]

    init(_ recipe: MergeRecipe) throws(RecipeProblem) {
        var recipe = recipe
        var axes: [Axis] = []
        for (parameter, range) in Self.ranges {
            guard let rule = recipe.method.rules.first(where: { $0.parameter == parameter }) else { continue }
            if rule.isPerModel {
                for slice in recipe.slices.indices {
                    for source in recipe.slices[slice].sources.indices {
                        axes += Self.axes(of: &recipe, slice, source, parameter, range)
                    }
                }
            } else {
                var scopes: [(Axis.Scope, ParameterSetting?)] = [(.recipe, recipe.parameters[parameter])]
                scopes += recipe.slices.indices.map { (.slice($0), recipe.slices[$0].parameters[parameter]) }
                for case (let scope, let setting?) in scopes {
                    axes += Self.axes(of: setting, scope, parameter, range)
                }
            }
        }
        guard (1...Self.axisCountMax).contains(axes.count) else {
            throw RecipeProblem(
                recipe.place, "it has \(axes.count) weights, densities, scales and shares to search",
                cure: "Give 1 to \(Self.axisCountMax) of them")
        }
        self.recipe = recipe
        self.axes = axes
    }

    /// Moves what a model takes from an outer scope to the model, so that models can differ.
    private static func axes(
        of recipe: inout MergeRecipe, _ slice: Int, _ source: Int, _ parameter: MergeParameter,
        _ range: ClosedRange<Double>
    ) -> [Axis] {
        let (outer, inner) = (recipe.slices[slice], recipe.slices[slice].sources[source])
        if inner.model == outer.base, recipe.method.setsBaseApart { return [] }
        guard
            let setting = inner.parameters[parameter] ?? outer.parameters[parameter] ?? recipe.parameters[parameter]
        else { return [] }
        recipe.slices[slice].sources[source].parameters[parameter] = setting
        return axes(of: setting, .source(slice: slice, source), parameter, range)
    }

    private static func axes(
        of setting: ParameterSetting, _ scope: Axis.Scope, _ parameter: MergeParameter, _ range: ClosedRange<Double>
    ) -> [Axis] {
        setting.conditions.enumerated().flatMap { condition, entry in
            entry.value.points.indices.map {
                Axis(scope: scope, parameter: parameter, condition: condition, point: $0, range: range)
            }
        }
    }

    /// The numbers as they are in the recipe, in the unit box.
    var start: [Double] {
        axes.map { axis in
            let value = setting(axis, in: recipe)?.conditions[axis.condition].value.points[axis.point] ?? 0
            return (value - axis.range.lowerBound) / (axis.range.upperBound - axis.range.lowerBound)
        }
    }

    /// The numbers with equal weights for all models, in the unit box; nil where nothing is a weight.
    var uniform: [Double]? {
        guard axes.contains(where: { $0.parameter == .weight }) else { return nil }
        return zip(axes, start).map { axis, old in
            guard axis.parameter == .weight, case .source(let slice, _) = axis.scope else { return old }
            let others = recipe.slices[slice].sources.count { source in
                !(source.model == recipe.slices[slice].base && recipe.method.setsBaseApart)
            }
            return (1 / Double(others) - axis.range.lowerBound) / (axis.range.upperBound - axis.range.lowerBound)
        }
    }

    /// The values at a point of the unit box.
    func values(at point: [Double]) -> [Double] {
        zip(axes, point).map { axis, share in
            axis.range.lowerBound + share * (axis.range.upperBound - axis.range.lowerBound)
        }
    }

    /// The recipe at a point of the unit box.
    func recipe(at point: [Double]) -> MergeRecipe {
        var recipe = recipe
        for (axis, value) in zip(axes, values(at: point)) {
            guard var setting = setting(axis, in: recipe) else { continue }
            setting.conditions[axis.condition].value.points[axis.point] = value
            switch axis.scope {
            case .recipe: recipe.parameters[axis.parameter] = setting
            case .slice(let slice): recipe.slices[slice].parameters[axis.parameter] = setting
            case .source(let slice, let source):
                recipe.slices[slice].sources[source].parameters[axis.parameter] = setting
            }
        }
        return recipe
    }

    private func setting(_ axis: Axis, in recipe: MergeRecipe) -> ParameterSetting? {
        switch axis.scope {
        case .recipe: recipe.parameters[axis.parameter]
        case .slice(let slice): recipe.slices[slice].parameters[axis.parameter]
        case .source(let slice, let source): recipe.slices[slice].sources[source].parameters[axis.parameter]
        }
    }
}
