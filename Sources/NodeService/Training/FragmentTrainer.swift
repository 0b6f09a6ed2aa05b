package import OuterSync

/// What one inner step did.
package struct InnerStepReport: Sendable {
    /// Mean negative log-likelihood of the step's batch, in nats per token.
    package var loss: Float
    /// Tokens trained.
    package var tokens: Int

    /// Wraps the two.
    package init(loss: Float, tokens: Int) {
        self.loss = loss
        self.tokens = tokens
    }
}

/// Training went wrong in a way that no further step can mend.
package struct TrainingFailure: Error, CustomStringConvertible {
    /// What happened, at which step.
    package var description: String

    /// Wraps the text.
    package init(_ description: String) { self.description = description }
}

/// The seam between the network and whatever trains: the built-in trainer, or one in another process.
/// All calls come from one thread, between steps. Fragments are contiguous float32 in the charter's layout.
package protocol FragmentTrainer: AnyObject {
    /// Runs one inner step; `committedTokens` decides learning rate and weight decay.
    func step(committedTokens: UInt64) throws(TrainingFailure) -> InnerStepReport

    /// Whether the optimizer state is too young for a contribution (see `rampSteps`).
    var isRamping: Bool { get }

    /// The number of parameters of a fragment.
    func parameterCount(of fragment: FragmentIndex) -> Int

    /// Copies the live values of a fragment; `values` holds `parameterCount(of:)` floats and may be uninitialized.
    func readFragment(_ fragment: FragmentIndex, into values: UnsafeMutableBufferPointer<Float>)

    /// live = alpha * live + (1 - alpha) * theta for the listed tiles; `theta` is the whole fragment.
    func blendFragment(_ fragment: FragmentIndex, tiles: [TileIndex], theta: UnsafeBufferPointer<Float>, alpha: Float)

    /// live = theta for the whole fragment.
    func replaceFragment(_ fragment: FragmentIndex, theta: UnsafeBufferPointer<Float>)

    /// Everything that a restart needs to go on: live values, optimizer state, data cursor.
    func saveState() -> [TrainerStateSection]
}

/// One named part of a trainer's saved state.
package struct TrainerStateSection: Sendable {
    /// The name, unique within a state.
    package var name: String
    /// The bytes.
    package var bytes: [UInt8]

    /// Wraps the two.
    package init(name: String, bytes: [UInt8]) {
        self.name = name
        self.bytes = bytes
    }

    /// The bytes as so many float32 in memory order; nil if they are not as many.
    func floats(_ count: Int) -> [Float]? {
        guard bytes.count == count * MemoryLayout<Float>.size else { return nil }
        return bytes.withUnsafeBytes { raw in
            (0..<count).map { raw.loadUnaligned(fromByteOffset: $0 * MemoryLayout<Float>.size, as: Float.self) }
        }
    }
}
