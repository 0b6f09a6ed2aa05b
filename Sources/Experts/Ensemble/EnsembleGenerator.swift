import Glibc
package import LanguageModel
import Numerics

/// Continues texts by drawing from the mixture of experts, whose weights follow each text.
///
/// Every expert keeps a key-value cache of every text; the experts of a step are computed at once, one per thread. What is
/// drawn from are the logarithms of the mixture's probabilities on the scale of the heaviest expert's logits, so one
/// expert alone, and equal experts, draw what that expert draws, bit for bit. Deterministic for a seed on one kind of
/// processor, whatever the number of threads and whichever texts are generated along. Belongs to one thread or actor.
package final class EnsembleGenerator: TextGenerator {
    private let experts: [Expert]
    private let pool: WorkerPool
    private let sampler: Sampler
    private var texts: [Text]
    /// [vocabulary]: the mixture's logits.
    private let mixed: FloatBuffer

    /// One expert with its own side of all texts.
    private struct Expert {
        let loaded: ExpertSet.Loaded
        let generator: Generator
        let pool: WorkerPool
    }

    /// One text.
    private struct Text {
        var mixture: Mixture
        var random: SeededRandom
        var isRead = false
        /// The tokens that occurred, each once.
        var seen: [Int32] = []
        /// Whether a token occurred, by id.
        var hasSeen: [Bool]

        mutating func note(_ token: Int32) {
            if hasSeen[Int(token)] { return }
            hasSeen[Int(token)] = true
            seen.append(token)
        }
    }

    /// Prepares generation.
    ///
    /// - Parameters:
    ///   - experts: at least one, of one vocabulary.
    ///   - prior: a share above 0 per expert, with the sum 1.
    ///   - sequences: how many texts; number i draws from stream `firstStream` + i of the seed.
    package init(
        _ experts: [ExpertSet.Loaded], prior: [Double], rule: MixtureRule, sequences: Int = 1, seed: UInt64,
        firstStream: UInt64 = 0, threads: Int = 1
    ) {
        precondition(!experts.isEmpty && prior.count == experts.count, "there is a share per expert")
        let vocabularySize = experts[0].layout.configuration.vocabularySize
        pool = WorkerPool(threadCount: min(threads, experts.count))
        let share = max(1, threads / pool.threadCount)
        self.experts = experts.map { expert in
            precondition(
                expert.layout.configuration.vocabularySize == vocabularySize, "experts must have one vocabulary")
            let pool = WorkerPool(threadCount: share)
            return Expert(
                loaded: expert,
                generator: Generator(
                    layout: expert.layout, parameters: expert.parameters, sequences: sequences, seed: seed, pool: pool),
                pool: pool)
        }
        sampler = Sampler(vocabularySize: vocabularySize)
        mixed = FloatBuffer(count: vocabularySize)
        texts = (0..<sequences).map { number in
            Text(
                mixture: Mixture(prior: prior, rule: rule),
                random: SeededRandom(seed: seed, stream: firstStream + UInt64(number)),
                hasSeen: Array(repeating: false, count: vocabularySize))
        }
    }

    /// The experts' weights for the next token of a text.
    package func weights(of sequence: Int = 0) -> [Double] { texts[sequence].mixture.weights }

    /// Reads the beginnings of texts, each once; what the experts think of them decides their weights.
    package func read(_ prompts: [(sequence: Int, tokens: [Int32])]) throws(ModelError) {
        var results = [Result<[[Double]], ModelError>](repeating: .success([]), count: experts.count)
        results.withUnsafeMutableBufferPointer { results in
            // Every task has an expert and a place of its own.
            let results = results
            pool.run(experts.count) { task, _ in results[task] = read(prompts, by: experts[task]) }
        }
        var losses: [[[Double]]] = []
        for result in results { losses.append(try result.get()) }
        for (index, prompt) in prompts.enumerated() {
            precondition(!texts[prompt.sequence].isRead, "the beginning of a text is read once")
            texts[prompt.sequence].isRead = true
            for token in prompt.tokens { texts[prompt.sequence].note(token) }
            for place in losses[0][index].indices {
                _ = texts[prompt.sequence].mixture.observe { -losses[$0][index][place] }
            }
        }
    }

    private func read(
        _ prompts: [(sequence: Int, tokens: [Int32])], by expert: Expert
    ) -> Result<[[Double]], ModelError> {
        do throws(ModelError) {
            try expert.generator.read(prompts)
            return .success(
                try TokenLosses(
                    layout: expert.loaded.layout, parameters: expert.loaded.parameters,
                    sequences: prompts.map(\.tokens), pool: expert.pool
                ).sequences)
        } catch { return .failure(error) }
    }

    /// Draws the next token of some texts, which are named once each and have been read.
    package func next(_ settings: SamplingSettings, sequences chosen: [Int]) throws(ModelError) -> [Int32] {
        pool.run(experts.count) { task, _ in experts[task].generator.readDrawn(chosen) }
        var tokens: [Int32] = []
        for sequence in chosen {
            let sums = mix(sequence)
            guard
                let token = sampler.draw(
                    mixed.pointer, seen: texts[sequence].seen, settings, &texts[sequence].random)
            else { throw .nonFiniteLogits }
            for expert in experts { expert.generator.accept(token, sequence: sequence) }
            _ = texts[sequence].mixture.observe { expert in
                experts[expert].generator.withLogits(of: sequence) { Double($0[Int(token)]) - sums[expert] }
            }
            texts[sequence].note(token)
            tokens.append(token)
        }
        return tokens
    }

    /// Leaves the logits of a text's mixture in `mixed`: those of the heaviest expert r plus the logarithm of
    /// Σ w_j p_j / p_r, which is 0 where all experts agree. Returns log Σ exp of each expert's logits.
    private func mix(_ sequence: Int) -> [Double] {
        let weights = texts[sequence].mixture.weights
        let heaviest = weights.indices.reduce(0) { weights[$1] > weights[$0] ? $1 : $0 }
        let sums = experts.map { $0.generator.withLogits(of: sequence, Self.logSum) }
        experts[heaviest].generator.withLogits(of: sequence) { logits in
            _ = UnsafeMutableBufferPointer(start: mixed.pointer, count: mixed.count).update(from: logits)
        }
        let others = weights.indices.filter { $0 != heaviest && weights[$0] > 0 }
        guard !others.isEmpty else { return sums }
        // Ratios to the heaviest, so that equal experts come to exactly 1.
        var total = [Double](repeating: weights[heaviest], count: mixed.count)
        for expert in others {
            experts[expert].generator.withLogits(of: sequence) { logits in
                for token in 0..<mixed.count {
                    let difference = (Double(logits[token]) - sums[expert]) - (Double(mixed[token]) - sums[heaviest])
                    // Beyond e^700 lies infinity; such a token cannot become likelier by more.
                    total[token] += weights[expert] * exp(min(700, difference))
                }
            }
        }
        let sum = weights[heaviest] + others.reduce(0) { $0 + weights[$1] }
        for token in 0..<mixed.count { mixed[token] += Float(log(total[token] / sum)) }
        return sums
    }

    private static func logSum(_ logits: UnsafeBufferPointer<Float>) -> Double {
        let largest = Double(logits.max() ?? 0)
        return largest + log(logits.reduce(0) { $0 + exp(Double($1) - largest) })
    }
}
