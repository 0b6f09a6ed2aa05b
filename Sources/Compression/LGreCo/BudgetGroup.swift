/// Families whose errors may be weighed against each other, with the uniform setting that gives them their budget.
///
/// An error means different things with and without error feedback: sparse messages lose nine tenths of the norm and
/// train all the same, because the rest is sent later. So sparse families under error feedback form a group of their own,
/// whose budget is the error of a uniform sparse setting; measured against four bits none of them would ever fit.
/// (Reference §9.) A group holds its uniform setting in one of its own families by construction.
package struct BudgetGroup: Hashable, Sendable {
    /// The families of the group, ascending.
    package let families: [UInt8]
    /// The setting that every layer would have without an allotment, c0; known to train well.
    package let uniform: Codec

    /// Makes a group of the uniform setting's own family and `otherFamilies`.
    package init(uniform: Codec, otherFamilies: [UInt8] = []) {
        self.uniform = uniform
        families = Set(otherFamilies + [uniform.family]).sorted()
    }

    /// Whether the group has this setting's family.
    package func holds(_ setting: Codec) -> Bool { families.contains(setting.family) }
}

/// How the errors of layers are summed.
package enum ErrorMetric: Hashable, Sendable {
    /// Sums of L2 norms, as L-GreCo does.
    case norm
    /// Sums of squared L2 norms: the squared error of all layers as one vector, so that one large layer weighs less.
    case squaredNorm

    /// What a layer adds to the sum.
    ///
    /// - Parameter norm: the L2 norm of what is lost, ‖x − x̂‖, not squared.
    package func value(ofNorm norm: Double) -> Double {
        switch self {
        case .norm: norm
        case .squaredNorm: norm * norm
        }
    }
}
