import Corpus
import LanguageModel
import Numerics
import OuterSync
import Swarm

/// The built-in trainer as the network sees it: one model, one corpus, one learning-rate schedule.
final class BuiltInTrainer: FragmentTrainer {
    /// What a trainer is made of; built before its thread starts, so that bad text or state is found at once.
    struct Materials: Sendable {
        var layout: FragmentLayout
        var model: ModelConfiguration
        var inner: Charter.Inner
        var tokenBudget: UInt64
        var corpus: Corpus
        var cursor: CorpusCursor
        var threads: Int
        /// Live parameters, flat, in the layout's order.
        var parameters: [Float]
        /// Adam's moments and update count; nil for a fresh optimizer.
        var moments: Moments?
    }

    /// Adam's state, flat, in the layout's order.
    struct Moments: Sendable {
        var first: [Float]
        var second: [Float]
        var updateCount: UInt64
    }

    /// Steps over which a fresh optimizer's rate rises while the swarm's is high: Adam's second moment needs them.
    static let rampSteps: UInt64 = 50

    private let layout: FragmentLayout
    private let corpus: Corpus
    private var cursor: CorpusCursor
    private let trainer: Trainer
    private let schedule: LearningRateSchedule
    private let batchSequences: Int
    /// Nil until the first step of a fresh optimizer decides whether it ramps.
    private var rampStepsLeft: UInt64?

    init(_ materials: consuming Materials) {
        layout = materials.layout
        corpus = materials.corpus
        cursor = materials.cursor
        batchSequences = materials.inner.batchSequences
        schedule = LearningRateSchedule(materials.inner, tokenBudget: materials.tokenBudget)
        let parameterLayout = ParameterLayout(materials.model)
        let state: TrainingState
        if let moments = materials.moments {
            state = TrainingState(
                layout: parameterLayout, parameters: FloatBuffer(copying: materials.parameters),
                firstMoment: FloatBuffer(copying: moments.first), secondMoment: FloatBuffer(copying: moments.second),
                updateCount: moments.updateCount)
            rampStepsLeft = 0
        } else {
            state = TrainingState(layout: parameterLayout, parameters: FloatBuffer(copying: materials.parameters))
            rampStepsLeft = nil
        }
        trainer = Trainer(
            state: state, batchSize: materials.inner.batchSequences,
            optimizer: AdamW(
                beta1: materials.inner.beta1, beta2: materials.inner.beta2, epsilon: materials.inner.epsilon,
                weightDecay: materials.inner.weightDecay, gradientNormMax: materials.inner.gradientClip),
            precision: .fastest, pool: WorkerPool(threadCount: materials.threads))
    }

    var isRamping: Bool { (rampStepsLeft ?? 0) > 0 }

    func step(committedTokens: UInt64) throws(TrainingFailure) -> InnerStepReport {
        let windows: TokenWindows
        do { windows = try corpus.nextWindows(count: batchSequences, cursor: &cursor) } catch {
            throw TrainingFailure("the training text can no longer be read: \(error)")
        }
        var rate = schedule.rate(at: committedTokens, unit: UInt64(trainer.tokensPerBatch))
        // During the swarm's own warm-up a fresh optimizer is as young as everybody's.
        let stepsLeft = rampStepsLeft ?? (committedTokens > schedule.warmUp ? Self.rampSteps : 0)
        if stepsLeft > 0 { rate *= Float(Self.rampSteps - stepsLeft + 1) / Float(Self.rampSteps) }
        rampStepsLeft = stepsLeft > 0 ? stepsLeft - 1 : 0
        do {
            let report = try trainer.step(windows.tokens, learningRate: rate)
            return InnerStepReport(loss: Float(report.loss), tokens: trainer.tokensPerBatch)
        } catch {
            throw TrainingFailure("a training step failed: \(error)")
        }
    }

    private func fragment(_ index: FragmentIndex) -> FragmentLayout.Fragment {
        guard let fragment = layout.fragment(index) else {
            preconditionFailure("the core names only fragments of the charter's layout")
        }
        return fragment
    }

    func parameterCount(of fragment: FragmentIndex) -> Int { self.fragment(fragment).parameterCount }

    func readFragment(_ fragment: FragmentIndex, into values: UnsafeMutableBufferPointer<Float>) {
        for tensor in self.fragment(fragment).tensors {
            trainer.state.readRange(
                tensor.modelOffset..<tensor.modelOffset + tensor.count,
                into: UnsafeMutableBufferPointer(rebasing: values[tensor.offset..<tensor.offset + tensor.count]))
        }
    }

    func blendFragment(
        _ fragment: FragmentIndex, tiles: [TileIndex], theta: UnsafeBufferPointer<Float>, alpha: Float
    ) {
        let fragment = self.fragment(fragment)
        for index in tiles where fragment.tiles.indices.contains(index.value) {
            let tile = fragment.tiles[index.value]
            trainer.state.blendRange(
                tile.modelOffset..<tile.modelOffset + tile.count,
                with: UnsafeBufferPointer(rebasing: theta[tile.range]),
                keeping: alpha)
        }
    }

    func replaceFragment(_ fragment: FragmentIndex, theta: UnsafeBufferPointer<Float>) {
        blendFragment(
            fragment, tiles: self.fragment(fragment).tiles.indices.map(TileIndex.init), theta: theta, alpha: 0)
    }

    // MARK: State

    private static let names = (
        parameters: "parameters", first: "first_moment", second: "second_moment", updates: "updates", cursor: "cursor"
    )

    func saveState() -> [TrainerStateSection] {
        let state = trainer.state
        return [
            TrainerStateSection(name: Self.names.parameters, bytes: state.parameters.bytes),
            TrainerStateSection(name: Self.names.first, bytes: state.firstMoment.bytes),
            TrainerStateSection(name: Self.names.second, bytes: state.secondMoment.bytes),
            TrainerStateSection(
                name: Self.names.updates, bytes: withUnsafeBytes(of: state.updateCount.littleEndian) { Array($0) }),
            TrainerStateSection(name: Self.names.cursor, bytes: cursor.encoded),
        ]
    }

    /// What `saveState` wrote, read back; nil if it is not the state of this model.
    struct Saved {
        var parameters: [Float]
        var moments: Moments
        var cursor: CorpusCursor

        init?(_ sections: [TrainerStateSection], parameterCount: Int) {
            func bytes(_ name: String) -> [UInt8]? { sections.first { $0.name == name }?.bytes }
            func floats(_ name: String) -> [Float]? {
                sections.first { $0.name == name }?.floats(parameterCount)
            }
            guard let parameters = floats(BuiltInTrainer.names.parameters),
                let first = floats(BuiltInTrainer.names.first),
                let second = floats(BuiltInTrainer.names.second), let updates = bytes(BuiltInTrainer.names.updates),
                updates.count == 8, let cursorBytes = bytes(BuiltInTrainer.names.cursor),
                let cursor = CorpusCursor(decoding: cursorBytes)
            else { return nil }
            self.parameters = parameters
            moments = Moments(
                first: first, second: second, updateCount: updates.reversed().reduce(0) { $0 << 8 | UInt64($1) })
            self.cursor = cursor
        }
    }
}

extension FloatBuffer {
    /// A buffer with these values.
    convenience init(copying values: [Float]) {
        self.init(count: values.count)
        values.withUnsafeBufferPointer { source in
            if let base = source.baseAddress { pointer.update(from: base, count: values.count) }
        }
    }

    /// The values' bytes in memory order.
    var bytes: [UInt8] { Array(UnsafeRawBufferPointer(start: pointer, count: count * MemoryLayout<Float>.size)) }

    /// The values.
    var values: [Float] { Array(UnsafeBufferPointer(start: pointer, count: count)) }
}
