package import Numerics

/// What one optimizer step did.
package struct StepReport: Hashable, Sendable {
    /// Mean loss per token in nats, before the step.
    package var loss: Double
    /// Norm of the whole gradient before clipping.
    package var gradientNorm: Double
    /// False where the gradient was not finite: then nothing was changed.
    package var applied: Bool
}

/// Trains one model: forward, backward, clipping and the optimizer, on all threads of a pool.
///
/// Claims all memory at creation; a step claims no tensor memory. Not Sendable: it belongs to one thread or actor, and blocks it
/// for the length of a step. Results are equal bit for bit for equal state, windows and rates, on one kind of processor,
/// whatever the number of threads.
package final class Trainer {
    /// The state being trained; others may read and change it between steps.
    package let state: TrainingState
    /// Optimizer settings; may change between steps.
    package var optimizer: AdamW
    /// Where set, hidden matrices are updated by Muon and only the rest by AdamW. Fixed, since both use the moments.
    package let muon: Muon?
    /// The precision of matrix products' operands; parameters, gradients and moments are float32 always.
    package var precision: Precision { forward.products.precision }
    /// Windows per call.
    package let batchSize: Int
    /// Tokens that each window trains on; a window holds one more.
    package let sequenceLength: Int
    /// Tokens trained per call: batchSize * sequenceLength.
    package var tokensPerBatch: Int { batchSize * sequenceLength }
    /// Windows that are computed together: a batch whose activations would take much memory goes through in equal parts,
    /// whose gradients add up.
    package let partSize: Int

    private let pool: WorkerPool
    private let kernels: Kernels
    private let forward: ForwardPass
    private let backward: BackwardPass
    private let memory: GradientWorkspace
    private let gradient: FloatBuffer
    private let update: ParameterUpdate
    private var accumulatedParts = 0
    private var accumulatedLoss = 0.0

    /// Prepares training in batches of `batchSize` windows of `sequenceLength` + 1 tokens (default: the whole context).
    ///
    /// With `recomputesActivations` only each block's input is kept for the gradient and the rest is computed again:
    /// less memory for about a fifth more time, to the same bits. `activationValuesMax` bounds what a part of a batch keeps,
    /// unless that would make parts of less than 1024 tokens.
    package init(
        state: TrainingState, batchSize: Int, sequenceLength: Int? = nil, optimizer: AdamW = AdamW(),
        muon: Muon? = nil, precision: Precision = .float32, recomputesActivations: Bool = false,
        activationValuesMax: Int = 1 << 27, pool: WorkerPool, kernels: Kernels = .best
    ) {
        let configuration = state.layout.configuration
        let length = sequenceLength ?? configuration.contextLength
        precondition(batchSize >= 1, "a batch needs at least one window")
        precondition(length >= 1 && length <= configuration.contextLength, "a window must fit the context")
        self.state = state
        self.optimizer = optimizer
        self.batchSize = batchSize
        self.sequenceLength = length
        self.pool = pool
        self.kernels = kernels
        partSize = Self.partSize(
            configuration, batchSize: batchSize, length: length, valuesMax: activationValuesMax)
        let shape = BatchShape(sequences: partSize, length: length)
        let products = kernels.products(precision)
        let workspace = Workspace(
            configuration: configuration, shape: shape, threadCount: pool.threadCount,
            keeping: recomputesActivations ? .inputs : .everything, kernels: kernels, products: products)
        let weights = PackedWeights(layout: state.layout, withGradient: true, products: products)
        memory = GradientWorkspace(configuration: configuration, shape: shape, products: products)
        forward = ForwardPass(
            layout: state.layout, workspace: workspace, weights: weights, kernels: kernels, products: products,
            pool: pool)
        backward = BackwardPass(forward: forward, memory: memory)
        gradient = FloatBuffer(count: state.layout.count)
        self.muon = muon
        update = ParameterUpdate(layout: state.layout, muon: muon, threadCount: pool.threadCount)
    }

    /// One optimizer step on one batch: `accumulate`, then `update`.
    ///
    /// - Parameter windows: batchSize windows of sequenceLength + 1 token ids, one after the other.
    package func step(_ windows: [Int32], learningRate: Float) throws(ModelError) -> StepReport {
        try accumulate(windows)
        return applyUpdate(learningRate: learningRate)
    }

    /// Adds one batch's gradient to what has accumulated since the last update; returns its mean loss. The parameters must
    /// not change between the batches of one update.
    @discardableResult
    package func accumulate(_ windows: [Int32]) throws(ModelError) -> Double {
        let stride = sequenceLength + 1
        guard windows.count == batchSize * stride else {
            throw .wrongTokenCount(given: windows.count, expected: "\(batchSize) x \(stride)")
        }
        try checkTokens(windows, vocabularySize: state.layout.configuration.vocabularySize)
        var loss = 0.0
        for first in Swift.stride(from: 0, to: batchSize, by: partSize) {
            loss += windows.withUnsafeBufferPointer { tokens in
                guard let start = tokens.baseAddress else { return Double.nan }
                return accumulatePart(start + first * stride, stride: stride)
            }
        }
        accumulatedLoss += loss
        return loss * Double(partSize) / Double(batchSize)
    }

    private func accumulatePart(_ tokens: UnsafePointer<Int32>, stride: Int) -> Double {
        for sequence in 0..<partSize {
            for position in 0..<sequenceLength {
                memory.targets[sequence * sequenceLength + position] = tokens[sequence * stride + position + 1]
            }
        }
        let parameters = Floats(state.parameters.pointer)
        forward.run(parameters, tokens, inputStride: stride, sequences: partSize)
        accumulatedParts += 1
        return backward.run(
            parameters, tokens, inputStride: stride, gradient: gradient.pointer, adding: accumulatedParts > 1)
    }

    /// The largest equal part of a batch whose activations count at most `valuesMax`, but at least 1024 tokens, below which
    /// the threads lack work between the weights' passes through memory.
    private static func partSize(
        _ configuration: ModelConfiguration, batchSize: Int, length: Int, valuesMax: Int
    ) -> Int {
        // With recomputation too, though it keeps less: the order of sums, so every bit, depends on the parts.
        let block =
            2
            * (configuration.width + configuration.feedForwardWidth + configuration.queryWidth
                + configuration.keyValueWidth)
        let parts = (1...batchSize).filter { batchSize % $0 == 0 }
        let largest = parts.last { $0 * length * configuration.layerCount * block <= valuesMax }
        let least = parts.first { $0 * length >= 1024 } ?? batchSize
        return max(largest ?? 1, least)
    }

    /// Updates the parameters from the mean of the accumulated gradients; at least one must have accumulated.
    package func applyUpdate(learningRate: Float) -> StepReport {
        precondition(accumulatedParts > 0, "an update needs an accumulated gradient")
        let parts = accumulatedParts
        let loss = accumulatedLoss / Double(parts)
        accumulatedParts = 0
        accumulatedLoss = 0
        let norm = update.norm(of: gradient.pointer, kernels: kernels, pool: pool) / Double(parts)
        guard norm.isFinite, loss.isFinite else { return StepReport(loss: loss, gradientNorm: norm, applied: false) }
        let clip = min(1, Double(optimizer.gradientNormMax) / max(norm, .leastNormalMagnitude))
        update.apply(
            to: state, gradient: gradient.pointer, gradientScale: Float(clip / Double(parts)), optimizer: optimizer,
            learningRate: learningRate, kernels: kernels, pool: pool)
        return StepReport(loss: loss, gradientNorm: norm, applied: true)
    }

    /// The accumulated gradient (summed over parts of batches), in the parameters' layout; for tests and tools.
    package var accumulatedGradient: FloatBuffer { gradient }
}

/// Checks ids before they become addresses.
func checkTokens(_ tokens: [Int32], vocabularySize: Int) throws(ModelError) {
    for token in tokens where token < 0 || Int(token) >= vocabularySize {
        throw .tokenOutOfRange(token: token, vocabularySize: vocabularySize)
    }
}
