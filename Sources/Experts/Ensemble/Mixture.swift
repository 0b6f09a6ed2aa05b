import Glibc

/// How an ensemble weighs its experts along a text. With p_j(t) the probability that expert j gives token t, and π the prior:
package enum MixtureRule: String, Hashable, Sendable, CaseIterable {
    /// By all that came before: w_j(t) ∝ π_j · p_j(1) ⋯ p_j(t-1), Bayes' rule.
    case bayes
    /// By the token before alone: w_j(t) ∝ π_j · p_j(t-1), and equal weights for the first token, whatever the prior.
    ///
    /// This is what the released scorers of DEMix and c-BTM compute, though the papers describe the rule above.
    case previousToken = "previous-token"
}

/// The mixture of experts along one text: p(t) = Σ_j w_j(t) · p_j(t), computed in log space.
///
/// Experts with a prior of 0 take no part and need not be evaluated. With one expert left its log-probabilities pass bit for
/// bit. `observe` claims no memory.
/// - SeeAlso: Li et al., "Branch-Train-Merge" (arXiv:2208.03306); Gururangan et al., "DEMix Layers" (arXiv:2108.05036).
package struct Mixture: Sendable {
    private let rule: MixtureRule
    private let logPrior: [Double]
    /// Logarithms of the weights for the next token, which sum to 1.
    private var logWeights: [Double]

    /// Begins a text.
    ///
    /// - Parameter prior: not negative, with the sum 1.
    package init(prior: [Double], rule: MixtureRule) {
        self.rule = rule
        logPrior = prior.map { log($0) }
        switch rule {
        case .bayes: logWeights = logPrior
        case .previousToken:
            let share = 1 / Double(prior.count { $0 > 0 })
            logWeights = prior.map { $0 > 0 ? log(share) : -.infinity }
        }
    }

    /// The experts' weights for the next token.
    package var weights: [Double] { logWeights.map { exp($0) } }

    /// Takes the next token, by the log-probability that each expert gave it; returns the mixture's.
    package mutating func observe(_ logProbability: (_ expert: Int) -> Double) -> Double {
        let mixed = Self.logSum(logWeights, logProbability)
        let base = rule == .bayes ? logWeights : logPrior
        let sum = rule == .bayes ? mixed : Self.logSum(logPrior, logProbability)
        // A token that all experts exclude says nothing about them.
        guard sum.isFinite else { return mixed }
        for expert in base.indices where base[expert] > -.infinity {
            logWeights[expert] = base[expert] + logProbability(expert) - sum
        }
        return mixed
    }

    /// log Σ exp(weight + value) over the experts whose weight is not 0.
    private static func logSum(_ logWeights: [Double], _ value: (Int) -> Double) -> Double {
        var largest = -Double.infinity
        for expert in logWeights.indices where logWeights[expert] > -.infinity {
            largest = max(largest, logWeights[expert] + value(expert))
        }
        guard largest.isFinite else { return largest }
        var sum = 0.0
        for expert in logWeights.indices where logWeights[expert] > -.infinity {
            sum += exp(logWeights[expert] + value(expert) - largest)
        }
        return largest + log(sum)
    }
}
