/// The merge methods, by the names of mergekit.
///
/// Semantics: docs/merging.md. D_i is an input minus the base; sums, norms and dot products are taken in float64, and the
/// result is rounded once to float32.
package enum MergeMethod: String, Hashable, Sendable, CaseIterable {
    case linear
    case slerp
    case nuslerp
    case multislerp
    case karcher
    case taskArithmetic = "task_arithmetic"
    case ties
    case dareLinear = "dare_linear"
    case dareTies = "dare_ties"
    case della
    case dellaLinear = "della_linear"
    case breadcrumbs
    case breadcrumbsTies = "breadcrumbs_ties"
    case modelStock = "model_stock"
    case nearswap
    case sce
    case ram
    case ramPlus = "ramplus_tl"
    case arceeFusion = "arcee_fusion"
    case passthrough
}

/// What a parameter of a merge method is called in a recipe.
package enum MergeParameter: String, Hashable, Sendable, CaseIterable {
    case weight
    case density
    case normalize
    case rescale
    case lambda
    case gamma
    case epsilon
    case t
    case scale
    case alpha
    case r
    case eps
    case tol
    case maxIterations = "max_iter"
    case selectTopK = "select_topk"
    case filterWise = "filter_wise"
    case normalizeWeights = "normalize_weights"
    case nuslerpFlatten = "nuslerp_flatten"
    case nuslerpRowWise = "nuslerp_row_wise"
    /// How mergekit stores masks while it works; of no effect on the result, here of none at all.
    case int8Mask = "int8_mask"
}

extension MergeMethod {
    /// Whether a recipe names a base.
    package enum BaseUse: Hashable, Sendable {
        /// It must.
        case required
        /// It may.
        case optional
        /// It must not, or the base is one input among the others.
        case unused
    }

    /// What one parameter may be.
    package struct Rule: Hashable, Sendable {
        /// The parameter.
        package let parameter: MergeParameter
        /// Whether every input but the base has a value of its own, instead of one for all.
        package let isPerModel: Bool
        /// What it is where the recipe says nothing; nil: the recipe must.
        package let standard: Double?
        /// Whether it is true or false, which count as 1 and 0.
        package let isFlag: Bool
        /// The values it may have.
        package let range: ClosedRange<Double>
    }

    /// How a base is used.
    package var baseUse: BaseUse {
        switch self {
        case .linear, .karcher, .passthrough: .unused
        case .nuslerp, .multislerp: .optional
        default: .required
        }
    }

    /// How many inputs there may be beside the base.
    package var inputCount: ClosedRange<Int> {
        switch self {
        case .slerp, .nearswap, .arceeFusion, .passthrough: 1...1
        case .nuslerp: 2...2
        case .modelStock: 2...Self.inputCountMax
        default: 1...Self.inputCountMax
        }
    }

    /// More inputs than anyone merges, so that scratch memory stays small.
    package static let inputCountMax = 256

    /// The parameters, and only these.
    package var rules: [Rule] {
        let weight = Self.number(.weight, perModel: true, nil, -1e6...1e6)
        let density = Self.number(.density, perModel: true, 1, 0...1)
        let lambda = Self.number(.lambda, 1, -1e6...1e6)
        func vectors(normalize: Bool, rescale: Bool) -> [Rule] {
            [
                weight, density, lambda, Self.flag(.normalize, normalize), Self.flag(.rescale, rescale),
                Self.flag(.int8Mask, false),
            ]
        }
        return switch self {
        case .linear: [weight, Self.flag(.normalize, true)]
        case .slerp: [Self.number(.t, nil, -1e3...1e3)]
        case .nearswap: [Self.number(.t, nil, 0...1e6)]
        case .nuslerp: [weight, Self.flag(.nuslerpFlatten, true), Self.flag(.nuslerpRowWise, false)]
        case .multislerp: [weight, Self.flag(.normalizeWeights, true), Self.number(.eps, 1e-8, 0...1)]
        case .karcher: [Self.number(.maxIterations, 10, 1...1000), Self.number(.tol, 1e-5, 0...1)]
        case .taskArithmetic:
            [weight, lambda, Self.flag(.normalize, false), Self.flag(.rescale, false), Self.flag(.int8Mask, false)]
        case .ties: vectors(normalize: true, rescale: false)
        case .dareLinear, .dareTies: vectors(normalize: false, rescale: true)
        case .breadcrumbs, .breadcrumbsTies:
            vectors(normalize: false, rescale: false) + [Self.number(.gamma, perModel: true, 0.01, 0...1)]
        case .della: vectors(normalize: true, rescale: true) + [Self.number(.epsilon, perModel: true, 0.15, 0...1)]
        case .dellaLinear:
            vectors(normalize: false, rescale: true) + [Self.number(.epsilon, perModel: true, 0.15, 0...1)]
        case .modelStock: [Self.flag(.filterWise, false)]
        case .sce: [Self.number(.selectTopK, 1, 0...1), Self.flag(.int8Mask, false)]
        case .ram: [Self.number(.epsilon, 1e-5, 0...1e6)]
        case .ramPlus:
            [Self.number(.epsilon, 1e-5, 0...1e6), Self.number(.r, 0.1, 0...1e3), Self.number(.alpha, 0.2, 0...1e3)]
        case .arceeFusion: []
        case .passthrough: [Self.number(.scale, perModel: true, 1, -1e6...1e6)]
        }
    }

    private static func number(
        _ parameter: MergeParameter, perModel isPerModel: Bool = false, _ standard: Double?,
        _ range: ClosedRange<Double>
    ) -> Rule {
        Rule(parameter: parameter, isPerModel: isPerModel, standard: standard, isFlag: false, range: range)
    }

    private static func flag(_ parameter: MergeParameter, _ standard: Bool) -> Rule {
        Rule(parameter: parameter, isPerModel: false, standard: standard ? 1 : 0, isFlag: true, range: 0...1)
    }
}
