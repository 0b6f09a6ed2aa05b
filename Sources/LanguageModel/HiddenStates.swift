package import Numerics

/// What a model makes of a text before each of its blocks: the residual stream that enters them.
package final class HiddenStates {
    /// Of a text's tokens, which one stands for the text.
    package enum Summary: Hashable, Sendable {
        /// The last token.
        case last
        /// The mean over all tokens.
        case mean
    }

    private let layout: ParameterLayout
    private let forward: CachedForward

    /// Reads `parameters` in place, so they must not change meanwhile.
    package init(layout: ParameterLayout, parameters: FloatBuffer, pool: WorkerPool, kernels: Kernels = .best) {
        self.layout = layout
        forward = CachedForward(layout: layout, parameters: parameters, sequences: 1, pool: pool, kernels: kernels)
    }

    /// [layerCount, width]: the stream that enters each block, for one text of at least one token and at most as many as
    /// the context has.
    package func states(of tokens: [Int32], _ summary: Summary) throws(ModelError) -> [[Double]] {
        let shape = layout.configuration
        guard !tokens.isEmpty, tokens.count <= shape.contextLength else {
            throw .wrongTokenCount(given: tokens.count, expected: "1 to \(shape.contextLength)")
        }
        try checkTokens(tokens, vocabularySize: shape.vocabularySize)
        var states = [[Double]](repeating: Array(repeating: 0, count: shape.width), count: shape.layerCount)
        forward.clear(0)
        forward.observeBlock = { block, rows, stream in
            // A long text comes in several passes, of which the last one holds the last token.
            if summary == .last { states[block] = Array(repeating: 0, count: shape.width) }
            for row in (summary == .last ? rows - 1 : 0)..<rows {
                for column in 0..<shape.width {
                    states[block][column] += Double(stream[row * shape.width + column])
                }
            }
        }
        forward.read([(0, tokens[...])])
        forward.observeBlock = nil
        guard summary == .mean else { return states }
        return states.map { $0.map { $0 / Double(tokens.count) } }
    }
}
