package import Numerics

/// The loss of a model on sequences of any lengths, cut as `TokenLosses` says.
package struct SequenceEvaluation: Sendable {
    /// Summed loss in nats.
    package let loss: Double
    /// Tokens predicted.
    package let tokens: Int

    /// Evaluates; sequences of fewer than two tokens predict nothing.
    package init(
        layout: ParameterLayout, parameters: FloatBuffer, sequences: [[Int32]], pool: WorkerPool
    ) throws(ModelError) {
        let losses = try TokenLosses(layout: layout, parameters: parameters, sequences: sequences, pool: pool)
        loss = losses.sequences.reduce(0) { $0 + $1.reduce(0, +) }
        tokens = losses.sequences.reduce(0) { $0 + $1.count }
    }

    /// Mean negative log-likelihood per predicted token, in nats.
    package var meanLoss: Double { loss / Double(tokens) }
}
