package import Numerics

/// The loss of a model on sequences of any lengths.
///
/// Every token but the first of its sequence is predicted once. A sequence longer than the context is cut into windows of
/// context + 1 tokens, of which each begins with the last token of the one before: a token is predicted from what its own
/// window holds before it.
package struct SequenceEvaluation: Sendable {
    /// Summed loss in nats.
    package private(set) var loss = 0.0
    /// Tokens predicted.
    package private(set) var tokens = 0

    /// Tokens of a batch at most, where a window is not longer.
    private static let batchTokens = 4096

    /// Evaluates; sequences of fewer than two tokens predict nothing.
    package init(
        layout: ParameterLayout, parameters: FloatBuffer, sequences: [[Int32]], pool: WorkerPool
    ) throws(ModelError) {
        let context = layout.configuration.contextLength
        var windows: [ArraySlice<Int32>] = []
        for sequence in sequences {
            for first in stride(from: 0, to: sequence.count - 1, by: context) {
                windows.append(sequence[first..<min(sequence.count, first + context + 1)])
            }
        }
        // Longest first; windows of about one length go together, the shorter ones filled up.
        windows.sort { $0.count > $1.count }
        var rest = windows[...]
        while let longest = rest.first {
            let length = longest.count - 1
            let group = rest.prefix { 4 * ($0.count - 1) >= 3 * length }
            rest = rest.dropFirst(group.count)
            let evaluator = Evaluator(
                layout: layout, batchSize: max(1, min(group.count, Self.batchTokens / length)), sequenceLength: length,
                pool: pool)
            let filled = group.flatMap { $0 + Array(repeating: 0, count: length + 1 - $0.count) }
            let counts = group.map { $0.count - 1 }
            loss += try evaluator.windowLosses(parameters, windows: filled, predicted: counts).reduce(0, +)
            tokens += counts.reduce(0, +)
        }
    }

    /// Mean negative log-likelihood per predicted token, in nats.
    package var meanLoss: Double { loss / Double(tokens) }
}
