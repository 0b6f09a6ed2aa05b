/// The charter's arithmetic of a round: Nesterov SGD with constant rate and momentum, and how contributions are weighted.
package struct OuterRule: Hashable, Sendable {
    /// The outer learning rate (eta), above 0.
    package var learningRate: Float
    /// The outer momentum (mu), in [0, 1).
    package var momentum: Float
    /// How many times the median a coefficient, or a norm per step, may be; in [1, 16].
    package var weightCap: Double

    /// Wraps the fields; a first value for the cap is 4.
    package init(learningRate: Float, momentum: Float, weightCap: Double = 4) {
        precondition(
            learningRate > 0 && momentum >= 0 && momentum < 1 && weightCap >= 1, "the charter has been checked")
        self.learningRate = learningRate
        self.momentum = momentum
        self.weightCap = weightCap
    }
}
