import Glibc

/// The loss of an ensemble on blocks of one domain's text, one after the other, from the losses of its experts.
///
/// The probability of each token under each expert is all that the mixture needs, so experts can be evaluated one by one
/// and every rule, prior and number of experts be scored from the same losses.
package struct EnsembleScore: Sendable {
    /// Summed loss in nats.
    package private(set) var loss = 0.0
    /// Tokens predicted.
    package private(set) var tokens = 0
    /// Mean over the blocks of the posterior after their last token.
    package private(set) var posterior: [Double]

    /// Scores blocks in their order.
    ///
    /// - Parameters:
    ///   - losses: [experts][blocks][tokens] in nats.
    ///   - prior: an updating one learns from each block for those behind it.
    ///   - topCount: experts that take part in a block; nil for all. The share of an expert that does not take part is
    ///     left as it was.
    package init(_ losses: [[[Double]]], prior: inout DomainPrior, rule: MixtureRule, topCount: Int? = nil) {
        precondition(losses.count == prior.weights.count, "the prior has a share per expert")
        posterior = Array(repeating: 0, count: losses.count)
        let blockCount = losses.first?.count ?? 0
        for block in 0..<blockCount {
            let shares = prior.top(topCount)
            var mixture = Mixture(prior: shares, rule: rule)
            for token in losses[0][block].indices {
                loss -= mixture.observe { -losses[$0][block][token] }
                tokens += 1
            }
            let weights = mixture.weights
            let taking = shares.indices.reduce(0) { $0 + (shares[$1] > 0 ? prior.weights[$1] : 0) }
            prior.observe([
                shares.indices.map { shares[$0] > 0 ? taking * weights[$0] : prior.weights[$0] }
            ])
            for expert in weights.indices { posterior[expert] += weights[expert] / Double(blockCount) }
        }
    }

    /// Mean loss per token in nats.
    package var meanLoss: Double { loss / Double(tokens) }
}
