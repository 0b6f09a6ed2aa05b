import Foundation
import Numerics

/// What determines a local run of training besides the text: stored beside the model, so that `--resume` goes on with it.
package struct TrainingSettings: Codable, Hashable, Sendable {
    /// The optimizers of `--optimizer`.
    package enum OptimizerName: String, Codable, CaseIterable, Sendable {
        /// AdamW for everything.
        case adamw
        /// Muon for hidden matrices, AdamW for the rest.
        case muon
    }

    /// The learning rate schedules of `--schedule`.
    package enum ScheduleName: String, Codable, CaseIterable, Sendable {
        /// Warm-up, then half a cosine.
        case cosine
        /// Warm-up, stable, then a straight line down over the last fifth.
        case wsd
    }

    /// Values of `--data`.
    package var data: [String]
    /// Optimizer steps in all.
    package var steps: Int
    /// Windows per batch.
    package var batch: Int
    /// Batches per step.
    package var accumulate: Int
    /// Seed of the initialisation and of the sampling.
    package var seed: UInt64
    /// The highest learning rate.
    package var learningRate: Float
    /// The optimizer.
    package var optimizer: OptimizerName
    /// The schedule.
    package var schedule: ScheduleName
    /// `f32` or `bf16`.
    package var dtype: String
    /// Whether activations are computed again for the gradient.
    package var recompute: Bool

    /// Checks every field, whether from flags or from a file.
    func validate() throws(UserError) {
        try checkFlag("--steps", steps, in: 0...1_000_000_000)
        try checkFlag("--batch", batch, in: 1...65_536)
        try checkFlag("--accumulate", accumulate, in: 1...65_536)
        guard learningRate > 0, learningRate.isFinite else {
            throw UserError("--learning-rate must be above 0", cure: "Try 0.002", exitCode: .usage)
        }
        _ = try precision(dtype)
    }
}
