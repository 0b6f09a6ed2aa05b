/// The outer optimizer of a fragment: Nesterov SGD with constant rate and momentum, from the charter.
package struct OuterRule: Hashable, Sendable {
    /// The outer learning rate (eta), above 0.
    package var learningRate: Float
    /// The outer momentum (mu), in [0, 1).
    package var momentum: Float

    /// Wraps the two.
    package init(learningRate: Float, momentum: Float) {
        self.learningRate = learningRate
        self.momentum = momentum
    }
}
