import Glibc
package import Numerics

/// How the next token is drawn from the logits.
package struct SamplingSettings: Hashable, Sendable {
    /// Divides the logits; 0 takes the likeliest token.
    package var temperature: Float
    /// Only the k likeliest tokens may be drawn; nil for all. Ties with the k-th are kept.
    package var topK: Int?

    /// Wraps the two.
    package init(temperature: Float = 0.8, topK: Int? = 40) {
        self.temperature = temperature
        self.topK = topK
    }
}

/// Generates text token by token with a key-value cache.
///
/// When the context is full, the newest half of it is read again and generation goes on from there. Belongs to one thread
/// or actor; deterministic for a seed on one kind of processor.
package final class Generator {
    private let layout: ParameterLayout
    private let parameters: FloatBuffer
    private let kernels: Kernels
    private let cosines, sines: FloatBuffer
    /// Per block: rotated keys and values, [context, key-value width].
    private let keys, values: [FloatBuffer]
    private let stream, normed, queryKeyValue, attention, gateUp, hidden, scores, projected: FloatBuffer
    private let currentLogits: FloatBuffer
    private var random: SeededRandom
    /// The tokens in the cache, oldest first.
    package private(set) var tokens: [Int32] = []

    /// Prepares generation; reads `parameters` in place, so they must not change meanwhile.
    package init(layout: ParameterLayout, parameters: FloatBuffer, seed: UInt64, kernels: Kernels = .best) {
        precondition(parameters.count == layout.count, "the buffer must hold one float per parameter")
        let shape = layout.configuration
        self.layout = layout
        self.parameters = parameters
        self.kernels = kernels
        random = SeededRandom(seed: seed)
        cosines = FloatBuffer(count: shape.contextLength * shape.headWidth / 2)
        sines = FloatBuffer(count: shape.contextLength * shape.headWidth / 2)
        fillRotations(shape, length: shape.contextLength, cosines: cosines.pointer, sines: sines.pointer)
        func cache() -> [FloatBuffer] {
            (0..<shape.layerCount).map { _ in FloatBuffer(count: shape.contextLength * shape.keyValueWidth) }
        }
        (keys, values) = (cache(), cache())
        stream = FloatBuffer(count: shape.width)
        normed = FloatBuffer(count: shape.width)
        queryKeyValue = FloatBuffer(count: shape.queryWidth + 2 * shape.keyValueWidth)
        attention = FloatBuffer(count: shape.queryWidth)
        gateUp = FloatBuffer(count: 2 * shape.feedForwardWidth)
        hidden = FloatBuffer(count: shape.feedForwardWidth)
        scores = FloatBuffer(count: shape.contextLength)
        projected = FloatBuffer(count: shape.width)
        currentLogits = FloatBuffer(count: shape.vocabularySize)
    }

    /// Reads tokens into the cache; afterwards `logits` predicts what follows the last of them.
    package func read(_ prompt: [Int32]) throws(ModelError) {
        try checkTokens(prompt, vocabularySize: layout.configuration.vocabularySize)
        for token in prompt { advance(token) }
    }

    /// The logits for the token after the last one read.
    package var logits: [Float] { currentLogits.array }

    /// Draws the next token and reads it; at least one token must have been read before.
    package func next(_ settings: SamplingSettings) -> Int32 {
        precondition(!tokens.isEmpty, "generation needs a token to start from")
        let token = draw(settings)
        advance(token)
        return token
    }

    private func advance(_ token: Int32) {
        if tokens.count == layout.configuration.contextLength {
            let kept = tokens.suffix(layout.configuration.contextLength / 2)
            tokens.removeAll(keepingCapacity: true)
            for old in kept { advance(old) }
        }
        let (shape, width) = (layout.configuration, layout.configuration.width)
        let weights = Floats(parameters.pointer)
        var inverse: Float = 0
        stream.pointer.update(from: weights + Int(token) * width, count: width)
        for index in 0..<shape.layerCount {
            let offsets = layout.block(index)
            kernels.rmsNorm(
                1, width, stream.pointer, weights + offsets.inputNorm, shape.rmsNormEpsilon, normed.pointer, &inverse)
            kernels.multiplyVector(
                queryKeyValue.count, width, weights + offsets.queryKeyValue, normed.pointer, queryKeyValue.pointer)
            attend(index, position: tokens.count)
            kernels.multiplyVector(
                width, shape.queryWidth, weights + offsets.attentionOutput, attention.pointer, projected.pointer)
            kernels.addInto(width, projected.pointer, stream.pointer)
            kernels.rmsNorm(
                1, width, stream.pointer, weights + offsets.postNorm, shape.rmsNormEpsilon, normed.pointer, &inverse)
            kernels.multiplyVector(gateUp.count, width, weights + offsets.gateUp, normed.pointer, gateUp.pointer)
            kernels.swiGLU(1, hidden.count, gateUp.pointer, hidden.pointer)
            kernels.multiplyVector(width, hidden.count, weights + offsets.down, hidden.pointer, projected.pointer)
            kernels.addInto(width, projected.pointer, stream.pointer)
        }
        kernels.rmsNorm(
            1, width, stream.pointer, weights + layout.finalNorm, shape.rmsNormEpsilon, normed.pointer, &inverse)
        kernels.multiplyVector(
            shape.vocabularySize, width, weights + layout.head, normed.pointer, currentLogits.pointer)
        tokens.append(token)
    }

    /// Attention of the token at `position` over the cache, after adding its own key and value.
    private func attend(_ block: Int, position: Int) {
        let shape = layout.configuration
        let (headWidth, half, rowWidth) = (shape.headWidth, shape.headWidth / 2, shape.keyValueWidth)
        let (cosine, sine) = (cosines.pointer + position * half, sines.pointer + position * half)
        let current = queryKeyValue.pointer
        let (keyRows, valueRows) = (keys[block].pointer, values[block].pointer)
        for group in 0..<shape.keyValueHeadCount {
            kernels.rotate(
                1, headWidth, current + shape.queryWidth + group * headWidth, 0, cosine, sine, 1, 1,
                keyRows + position * rowWidth + group * headWidth, 0)
        }
        (valueRows + position * rowWidth).update(from: current + shape.queryWidth + rowWidth, count: rowWidth)
        let factor = 1 / Float(headWidth).squareRoot()
        for head in 0..<shape.headCount {
            let column = head / (shape.headCount / shape.keyValueHeadCount) * headWidth
            let query = current + head * headWidth
            // In place is safe: each pair is read before it is written.
            kernels.rotate(1, headWidth, query, 0, cosine, sine, 1, factor, query, 0)
            for past in 0...position {
                scores.pointer[past] = kernels.dotProduct(headWidth, query, keyRows + past * rowWidth + column)
            }
            let sum = kernels.exponentials(position + 1, scores.pointer).sum
            let output = attention.pointer + head * headWidth
            output.update(repeating: 0, count: headWidth)
            for past in 0...position {
                let weight = scores.pointer[past] / sum
                let value = valueRows + past * rowWidth + column
                for index in 0..<headWidth { output[index] += weight * value[index] }
            }
        }
    }

    private func draw(_ settings: SamplingSettings) -> Int32 {
        var candidates = currentLogits.array.enumerated().map { (token: $0.offset, logit: $0.element) }
        // Likeliest first; equal logits in token order, so that the draw does not depend on the sort.
        candidates.sort { $0.logit != $1.logit ? $0.logit > $1.logit : $0.token < $1.token }
        guard let best = candidates.first else { return 0 }
        if settings.temperature <= 0 { return Int32(best.token) }
        if let topK = settings.topK, topK >= 1, topK < candidates.count {
            let lowest = candidates[topK - 1].logit
            candidates.removeAll { $0.logit < lowest }
        }
        let weights = candidates.map { exp(Double(($0.logit - best.logit) / settings.temperature)) }
        var rest = Double(random.nextUniform()) * weights.reduce(0, +)
        for (candidate, weight) in zip(candidates, weights) {
            rest -= weight
            if rest < 0 { return Int32(candidate.token) }
        }
        return Int32(best.token)
    }
}
