package import Numerics

/// How the next token is drawn from the logits.
///
/// The steps, their order and their meaning are those of `transformers`: repetition penalty, temperature, top-k, top-p,
/// min-p. With temperature 0 the likeliest token after the penalty is taken, the lowest id of equals.
package struct SamplingSettings: Hashable, Sendable {
    /// Divides the logits; 0 takes the likeliest token.
    package var temperature: Float
    /// Only the k likeliest tokens may be drawn; nil for all. Ties with the k-th are kept.
    package var topK: Int?
    /// Only the smallest set of likeliest tokens whose probabilities sum to at least this; 1 or more for all.
    package var topP: Double
    /// Only tokens that are at least this many times as likely as the likeliest; 0 for all.
    package var minP: Double
    /// Divides the positive logits of tokens that occurred and multiplies their negative ones; 1 changes nothing.
    package var repetitionPenalty: Float

    /// Wraps the fields.
    package init(
        temperature: Float = 0.8, topK: Int? = 40, topP: Double = 1, minP: Double = 0, repetitionPenalty: Float = 1
    ) {
        self.temperature = temperature
        self.topK = topK
        self.topP = topP
        self.minP = minP
        self.repetitionPenalty = repetitionPenalty
    }
}

/// Draws tokens from logits, in time linear in the vocabulary and without allocating.
///
/// Belongs to one thread.
package final class Sampler {
    private let kernels: Kernels
    /// [vocabulary]: the logits after the penalty.
    private let values: FloatBuffer
    /// [candidates]: their relative probabilities; the likeliest has 1.
    private let weights: FloatBuffer
    /// Tokens that may be drawn, by id; the first `candidateCount` count.
    private var candidates: [Int32]
    private var candidateCount = 0
    private var selection = RadixSelection()

    /// Claims its memory.
    package init(vocabularySize: Int, kernels: Kernels = .best) {
        self.kernels = kernels
        values = FloatBuffer(count: vocabularySize)
        weights = FloatBuffer(count: vocabularySize)
        candidates = Array(repeating: 0, count: vocabularySize)
    }

    /// Draws a token; nil if the logits are not numbers.
    ///
    /// - Parameters:
    ///   - logits: [vocabulary].
    ///   - seen: the tokens that occurred, each once.
    package func draw(
        _ logits: Floats, seen: [Int32], _ settings: SamplingSettings, _ random: inout SeededRandom
    ) -> Int32? {
        guard let best = penalise(logits, seen: seen, settings.repetitionPenalty) else { return nil }
        if settings.temperature <= 0 { return Int32(best) }
        filter(largest: values.pointer[best], settings)
        var sum = 0.0
        for index in 0..<candidateCount { sum += Double(weights.pointer[index]) }
        // 53 random bits: all that a double in 0 ..< 1 holds.
        var rest = Double(random.next() >> 11) * 0x1p-53 * sum
        for index in 0..<candidateCount {
            rest -= Double(weights.pointer[index])
            if rest < 0 { return candidates[index] }
        }
        return Int32(best)
    }

    /// The probabilities from which `draw` draws with a positive temperature: [vocabulary], 0 for what may not come.
    func probabilities(_ logits: Floats, seen: [Int32], _ settings: SamplingSettings) -> [Double] {
        var result = [Double](repeating: 0, count: values.count)
        guard let best = penalise(logits, seen: seen, settings.repetitionPenalty) else { return result }
        filter(largest: values.pointer[best], settings)
        let sum = (0..<candidateCount).reduce(0.0) { $0 + Double(weights.pointer[$1]) }
        for index in 0..<candidateCount { result[Int(candidates[index])] = Double(weights.pointer[index]) / sum }
        return result
    }

    /// Copies the logits with the penalty and returns the place of the largest; nil where that is not finite or one is
    /// not a number.
    private func penalise(_ logits: Floats, seen: [Int32], _ penalty: Float) -> Int? {
        values.pointer.update(from: logits, count: values.count)
        if penalty != 1 {
            for token in seen {
                let value = values.pointer[Int(token)]
                values.pointer[Int(token)] = value < 0 ? value * penalty : value / penalty
            }
        }
        var (best, hasNaN) = (0, false)
        for index in 0..<values.count {
            if values.pointer[index] > values.pointer[best] { best = index }
            if values.pointer[index].isNaN { hasNaN = true }
        }
        return hasNaN || !values.pointer[best].isFinite ? nil : best
    }

    /// Leaves the tokens that may be drawn in `candidates` and their relative probabilities in `weights`.
    private func filter(largest: Float, _ settings: SamplingSettings) {
        selectLikeliest(settings.topK ?? 0)
        for index in 0..<candidateCount {
            weights.pointer[index] = (values.pointer[Int(candidates[index])] - largest) / settings.temperature
        }
        _ = kernels.exponentials(candidateCount, weights.pointer)
        if settings.topP < 1 { selectNucleus(settings.topP) }
        if settings.minP > 0 {
            // The likeliest has weight 1.
            keep { Double(weights.pointer[$0]) >= min(1, settings.minP) }
        }
    }

    /// Keeps the k largest values and whatever equals the smallest of them; all for 0.
    private func selectLikeliest(_ k: Int) {
        candidateCount = values.count
        var lowest: UInt32 = 0
        if k >= 1 && k < values.count {
            lowest = selection.threshold(values.count, atLeast: Double(k), { values.pointer[$0] }, { _ in 1 }).key
        }
        var count = 0
        for index in 0..<values.count where RadixSelection.key(values.pointer[index]) >= lowest {
            candidates[count] = Int32(index)
            count += 1
        }
        candidateCount = count
    }

    /// Keeps the smallest set of likeliest candidates with the share `p` of the weight, the lower ids of equals; never
    /// nothing.
    private func selectNucleus(_ p: Double) {
        var sum = 0.0
        for index in 0..<candidateCount { sum += Double(weights.pointer[index]) }
        // Above 0, so that the likeliest counts.
        let target = max(p * sum, .leastNonzeroMagnitude)
        // By the logits: equal weights may stand for different ones.
        let (lowest, above) = selection.threshold(
            candidateCount, atLeast: target, { values.pointer[Int(candidates[$0])] },
            { Double(weights.pointer[$0]) })
        var rest = target - above
        var isFirst = true
        keep { index in
            let key = RadixSelection.key(values.pointer[Int(candidates[index])])
            if key != lowest { return key > lowest }
            defer {
                rest -= Double(weights.pointer[index])
                isFirst = false
            }
            return isFirst || rest > 0
        }
    }

    private func keep(_ isKept: (Int) -> Bool) {
        var count = 0
        for index in 0..<candidateCount where isKept(index) {
            candidates[count] = candidates[index]
            weights.pointer[count] = weights.pointer[index]
            count += 1
        }
        candidateCount = count
    }
}
