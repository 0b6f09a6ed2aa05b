package import Numerics

/// The loss of a model on every token of sequences of any lengths.
///
/// Every token but the first of its sequence is predicted once. A sequence longer than the context is cut into windows of
/// context + 1 tokens, of which each begins with the last token of the one before: a token is predicted from what its own
/// window holds before it.
package struct TokenLosses: Sendable {
    /// Per sequence, the loss in nats of each token but the first; empty for fewer than two tokens.
    package private(set) var sequences: [[Double]]

    /// Tokens of a batch at most, where a window is not longer.
    private static let batchTokens = 4096

    /// A part of a sequence that is predicted at once.
    private struct Window {
        let sequence, first, predicted: Int
    }

    /// Evaluates.
    ///
    /// - Parameter contextLength: tokens that a window predicts at most; nil for the model's context, which is the limit.
    package init(
        layout: ParameterLayout, parameters: FloatBuffer, sequences: [[Int32]], contextLength: Int? = nil,
        pool: WorkerPool
    ) throws(ModelError) {
        let context = min(contextLength ?? Int.max, layout.configuration.contextLength)
        self.sequences = sequences.map { Array(repeating: 0, count: max(0, $0.count - 1)) }
        var windows: [Window] = []
        for (index, sequence) in sequences.enumerated() {
            for first in stride(from: 0, to: sequence.count - 1, by: context) {
                windows.append(
                    Window(sequence: index, first: first, predicted: min(context, sequence.count - 1 - first)))
            }
        }
        // Longest first; windows of about one length go together, the shorter ones filled up.
        windows.sort { $0.predicted > $1.predicted }
        var rest = windows[...]
        while let length = rest.first?.predicted {
            let group = rest.prefix { 4 * $0.predicted >= 3 * length }
            rest = rest.dropFirst(group.count)
            let evaluator = Evaluator(
                layout: layout, batchSize: max(1, min(group.count, Self.batchTokens / length)), sequenceLength: length,
                pool: pool)
            let filled = group.flatMap { window in
                sequences[window.sequence][window.first...(window.first + window.predicted)]
                    + Array(repeating: 0, count: length - window.predicted)
            }
            let losses = try evaluator.tokenLosses(parameters, windows: filled, predicted: group.map(\.predicted))
            for (index, window) in group.enumerated() {
                self.sequences[window.sequence].replaceSubrange(
                    window.first..<window.first + window.predicted,
                    with: losses[index * length..<index * length + window.predicted])
            }
        }
    }
}
