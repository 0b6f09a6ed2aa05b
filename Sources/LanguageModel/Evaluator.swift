package import Numerics

/// Runs a model forward over windows: losses and logits.
///
/// Claims its memory at creation; belongs to one thread or actor. Equal bits for equal input, whatever the thread count.
package final class Evaluator {
    /// The model's layout.
    package let layout: ParameterLayout
    /// Windows that are computed together.
    package let batchSize: Int
    /// Tokens that each window predicts; a window holds one more.
    package let sequenceLength: Int

    private let kernels: Kernels
    private let forward: ForwardPass

    /// Prepares evaluation of windows of `sequenceLength` + 1 tokens (default: the whole context).
    package init(
        layout: ParameterLayout, batchSize: Int = 8, sequenceLength: Int? = nil, pool: WorkerPool,
        kernels: Kernels = .best
    ) {
        let length = sequenceLength ?? layout.configuration.contextLength
        precondition(batchSize >= 1, "a batch needs at least one window")
        precondition(length >= 1 && length <= layout.configuration.contextLength, "a window must fit the context")
        self.layout = layout
        self.batchSize = batchSize
        self.sequenceLength = length
        self.kernels = kernels
        let workspace = Workspace(
            configuration: layout.configuration, shape: BatchShape(sequences: batchSize, length: length),
            threadCount: pool.threadCount, keeping: .nothing, kernels: kernels, products: kernels.float32)
        forward = ForwardPass(
            layout: layout, workspace: workspace,
            weights: PackedWeights(layout: layout, withGradient: false, products: kernels.float32), kernels: kernels,
            products: kernels.float32, pool: pool)
    }

    /// The mean loss per token in nats over any number of windows of sequenceLength + 1 token ids.
    package func meanLoss(_ parameters: FloatBuffer, windows: [Int32]) throws(ModelError) -> Double {
        let losses = try windowLosses(parameters, windows: windows)
        return losses.reduce(0, +) / Double(losses.count * sequenceLength)
    }

    /// The summed loss in nats of each window.
    package func windowLosses(_ parameters: FloatBuffer, windows: [Int32]) throws(ModelError) -> [Double] {
        let losses = try tokenLosses(parameters, windows: windows)
        return stride(from: 0, to: losses.count, by: sequenceLength).map { first in
            losses[first..<first + sequenceLength].reduce(0, +)
        }
    }

    /// The loss in nats of each predicted token: [windows, sequenceLength].
    ///
    /// - Parameter predicted: per window, how many of its first targets count; nil for all. What comes behind them has no
    ///   influence and loss 0, so shorter windows may be filled up with any token.
    package func tokenLosses(
        _ parameters: FloatBuffer, windows: [Int32], predicted: [Int]? = nil
    ) throws(ModelError) -> [Double] {
        let stride = sequenceLength + 1
        guard !windows.isEmpty, windows.count % stride == 0 else {
            throw .wrongTokenCount(given: windows.count, expected: "a positive multiple of \(stride)")
        }
        try prepare(parameters, windows)
        let count = windows.count / stride
        var losses = [Double](repeating: 0, count: count * sequenceLength)
        let vocabulary = layout.configuration.vocabularySize
        for first in Swift.stride(from: 0, to: count, by: batchSize) {
            let sequences = min(batchSize, count - first)
            run(parameters, windows, offset: first * stride, inputStride: stride, sequences: sequences) {
                token, logits in
                let (window, place) = (first + token / sequenceLength, token % sequenceLength)
                if let predicted, place >= predicted[window] { return }
                losses[window * sequenceLength + place] = withUnsafePointer(to: windows[window * stride + place + 1]) {
                    kernels.crossEntropy(1, vocabulary, logits, $0, 1)
                }
            }
        }
        return losses
    }

    /// The logits [count, vocabulary] that follow each of the given tokens, of which there must be sequenceLength.
    package func logits(_ parameters: FloatBuffer, tokens: [Int32]) throws -> [Float] {
        var result: [Float] = []
        try forEachLogits(parameters, tokens: tokens) { _, logits in result += logits }
        return result
    }

    /// Hands the logits [vocabulary] that follow each of the given tokens to `body`, position by position; they are never
    /// all in memory. There must be sequenceLength tokens. Throws a `ModelError`, or what `body` throws.
    package func forEachLogits(
        _ parameters: FloatBuffer, tokens: [Int32],
        _ body: (_ position: Int, _ logits: UnsafeBufferPointer<Float>) throws -> Void
    ) throws {
        guard tokens.count == sequenceLength else {
            throw ModelError.wrongTokenCount(given: tokens.count, expected: "\(sequenceLength)")
        }
        try prepare(parameters, tokens)
        let vocabulary = layout.configuration.vocabularySize
        try run(parameters, tokens, offset: 0, inputStride: sequenceLength, sequences: 1) { token, logits in
            try body(token, UnsafeBufferPointer(start: logits, count: vocabulary))
        }
    }

    private func prepare(_ parameters: FloatBuffer, _ tokens: [Int32]) throws(ModelError) {
        guard parameters.count == layout.count else {
            throw .wrongParameterCount(given: parameters.count, expected: layout.count)
        }
        try checkTokens(tokens, vocabularySize: layout.configuration.vocabularySize)
    }

    /// Forward over some sequences, then `body` for each token in order with its logits (which it may overwrite).
    private func run(
        _ parameters: FloatBuffer, _ tokens: [Int32], offset: Int, inputStride: Int, sequences: Int,
        _ body: (_ token: Int, _ logits: MutableFloats) throws -> Void
    ) rethrows {
        let vocabulary = layout.configuration.vocabularySize
        tokens.withUnsafeBufferPointer { tokens in
            guard let start = tokens.baseAddress else { return }
            forward.run(parameters.pointer, start + offset, inputStride: inputStride, sequences: sequences)
        }
        let total = sequences * sequenceLength
        for first in stride(from: 0, to: total, by: forward.workspace.slabTokens) {
            let slab = first..<min(total, first + forward.workspace.slabTokens)
            forward.runHead(slab) { _, _, _, _ in }
            for token in slab { try body(token, forward.workspace.logits + (token - first) * vocabulary) }
        }
    }
}
