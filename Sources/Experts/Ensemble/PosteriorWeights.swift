/// Which experts a sample of text speaks for: P(j | text) ∝ π_j · p_j(text).
///
/// A long text leaves nearly all of it to one expert. Weights for averaging parameters come from the mean over many
/// short sequences, which says how the domain is shared out.
package struct PosteriorWeights: Hashable, Sendable {
    /// The posterior of each sequence.
    package let sequences: [[Double]]
    /// Their mean: the weights of an average of parameters.
    package let mean: [Double]
    /// The posterior of all sequences taken as one text.
    package let joint: [Double]

    /// From the losses of the experts.
    ///
    /// - Parameters:
    ///   - losses: [experts][sequences], summed over each sequence's tokens, in nats; at least one sequence.
    ///   - prior: shares of the experts; nil for equal ones.
    package init(losses: [[Double]], prior: [Double]? = nil) {
        let count = losses.count
        let prior = prior ?? Array(repeating: 1 / Double(count), count: count)
        precondition(prior.count == count, "the prior has a share per expert")
        let sequenceCount = losses.first?.count ?? 0
        precondition(sequenceCount > 0, "a posterior needs a sequence")
        func posterior(_ loss: (Int) -> Double) -> [Double] {
            var mixture = Mixture(prior: prior, rule: .bayes)
            _ = mixture.observe { -loss($0) }
            return mixture.weights
        }
        sequences = (0..<sequenceCount).map { sequence in posterior { losses[$0][sequence] } }
        joint = posterior { losses[$0].reduce(0, +) }
        let all = sequences
        mean = (0..<count).map { expert in all.reduce(0) { $0 + $1[expert] } / Double(sequenceCount) }
    }

    /// Evaluates experts on a sample.
    package init(
        _ experts: ExpertSet, sample: [[Int32]], prior: [Double]? = nil, threads: Int
    ) throws(EnsembleError) {
        let losses = try experts.tokenLosses(sample, threads: threads)
        self.init(losses: losses.map { $0.map { $0.reduce(0, +) } }, prior: prior)
    }

    /// All weight on the expert with the largest mean, the first of equals.
    package var argMax: [Double] {
        let best = mean.indices.min { (-mean[$0], $0) < (-mean[$1], $1) }
        return mean.indices.map { $0 == best ? 1 : 0 }
    }
}
