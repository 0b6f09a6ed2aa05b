/// What is believed of the experts before a block of text is seen, learnt from the blocks before it or fixed.
package struct DomainPrior: Hashable, Sendable {
    /// Shares of the experts, with the sum 1.
    package private(set) var weights: [Double]
    /// Whether blocks change it.
    package private(set) var isUpdating: Bool
    /// The newest batch's part of the moving average.
    private let newest: Double
    /// Whether the next batch replaces the shares instead of moving them.
    private var isUnobserved: Bool

    /// Of the moving average in the released scorers.
    package static let newestDefault = 0.3

    /// Shares that stay as they are; they need not sum to 1.
    package init(fixed weights: [Double]) throws(EnsembleError) {
        guard weights.allSatisfy({ $0.isFinite && $0 >= 0 }), weights.contains(where: { $0 > 0 }),
            weights.reduce(0, +).isFinite
        else { throw .invalidPrior }
        let sum = weights.reduce(0, +)
        self.weights = weights.map { $0 / sum }
        isUpdating = false
        newest = 0
        isUnobserved = false
    }

    /// Equal shares that stay.
    package init(uniform expertCount: Int) {
        weights = Array(repeating: 1 / Double(expertCount), count: expertCount)
        isUpdating = false
        newest = 0
        isUnobserved = false
    }

    /// An exponential moving average of the posteriors of blocks, from equal shares.
    ///
    /// - Parameters:
    ///   - newest: the newest batch's part of it.
    ///   - startsAtFirst: whether the first batch counts whole, as in the released scorers.
    package init(updating expertCount: Int, newest: Double = newestDefault, startsAtFirst: Bool = true) {
        weights = Array(repeating: 1 / Double(expertCount), count: expertCount)
        isUpdating = true
        self.newest = newest
        isUnobserved = startsAtFirst
    }

    /// Its present shares, fixed: what a sample of a domain's text has taught is kept for the rest of it.
    package var cached: DomainPrior {
        var fixed = self
        fixed.isUpdating = false
        fixed.isUnobserved = false
        return fixed
    }

    /// Least share of the moving average: an expert whose share became exactly 0 could never come back.
    private static let leastShare = 1e-12

    /// Moves the shares towards the mean of a batch's posteriors; nothing happens to fixed ones.
    package mutating func observe(_ posteriors: [[Double]]) {
        guard isUpdating, !posteriors.isEmpty else { return }
        let part = isUnobserved ? 1 : newest
        isUnobserved = false
        for expert in weights.indices {
            let mean = posteriors.reduce(0) { $0 + $1[expert] } / Double(posteriors.count)
            weights[expert] = max(Self.leastShare, (1 - part) * weights[expert] + part * mean)
        }
        let sum = weights.reduce(0, +)
        for expert in weights.indices { weights[expert] /= sum }
    }

    /// The shares of the `count` experts with the largest (the first of equals), as parts of their sum, and 0 for the rest;
    /// all for nil, and as long as an updating prior has seen nothing.
    package func top(_ count: Int?) -> [Double] {
        guard let count, count < weights.count, !isUnobserved else { return weights }
        let kept = weights.indices.sorted { (-weights[$0], $0) < (-weights[$1], $1) }.prefix(max(1, count))
        let sum = kept.reduce(0) { $0 + weights[$1] }
        return weights.indices.map { kept.contains($0) ? weights[$0] / sum : 0 }
    }
}
