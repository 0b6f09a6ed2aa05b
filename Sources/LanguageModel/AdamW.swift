/// Settings of AdamW with decoupled weight decay and clipping by the global norm.
///
/// Decay applies to every matrix, the embedding included, and not to norm weights (the usual rule of GPT-style training).
/// - SeeAlso: Loshchilov and Hutter, "Decoupled weight decay regularization" (arXiv:1711.05101), algorithm 2.
package struct AdamW: Hashable, Sendable {
    /// Memory of the gradient's mean.
    package var beta1: Float
    /// Memory of the squared gradient's mean.
    package var beta2: Float
    /// Added to the root of the second moment.
    package var epsilon: Float
    /// Decay per unit of learning rate.
    package var weightDecay: Float
    /// The gradient's norm is cut to this; infinity for no clipping.
    package var gradientNormMax: Float

    /// The defaults are those of published small Llama-style runs.
    package init(
        beta1: Float = 0.9, beta2: Float = 0.95, epsilon: Float = 1e-8, weightDecay: Float = 0.1,
        gradientNormMax: Float = 1
    ) {
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.weightDecay = weightDecay
        self.gradientNormMax = gradientNormMax
    }
}
