package import Numerics

/// Generates texts token by token, several at once, with a key-value cache.
///
/// When a text fills the context, the newest half of it is read again and generation goes on from there. Belongs to one
/// thread or actor. Deterministic for a seed on one kind of processor, whatever the number of threads and whichever other
/// sequences are generated along.
package final class Generator: TextGenerator {
    private let contextLength: Int
    private let forward: CachedForward
    private let pool: WorkerPool
    /// Per worker.
    private let samplers: [Sampler]
    var sequences: [Sequence]

    /// One text.
    struct Sequence {
        var random: SeededRandom
        /// The newest tokens, of which the cache holds all but a drawn one that is still to be read.
        var tokens: [Int32] = []
        /// A token that was drawn and not yet read.
        var drawn: Int32?
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

    /// Prepares generation; reads `parameters` in place, so they must not change meanwhile.
    ///
    /// - Parameter sequences: how many texts; number i draws from stream `firstStream` + i of the seed.
    package init(
        layout: ParameterLayout, parameters: FloatBuffer, sequences: Int = 1, seed: UInt64, firstStream: UInt64 = 0,
        pool: WorkerPool = WorkerPool(threadCount: 1), kernels: Kernels = .best
    ) {
        contextLength = layout.configuration.contextLength
        self.pool = pool
        forward = CachedForward(
            layout: layout, parameters: parameters, sequences: sequences, pool: pool, kernels: kernels)
        samplers = (0..<pool.threadCount).map { _ in
            Sampler(vocabularySize: layout.configuration.vocabularySize, kernels: kernels)
        }
        self.sequences = (0..<sequences).map { number in
            Sequence(
                random: SeededRandom(seed: seed, stream: firstStream + UInt64(number)),
                hasSeen: Array(repeating: false, count: layout.configuration.vocabularySize))
        }
    }

    /// Reads a text's tokens into the cache; afterwards `logits` predicts what follows the last of them.
    package func read(_ prompt: [Int32], sequence: Int = 0) throws(ModelError) {
        try read([(sequence, prompt)])
    }

    /// Reads tokens of several texts together, each of which is named once at most.
    package func read(_ prompts: [(sequence: Int, tokens: [Int32])]) throws(ModelError) {
        for prompt in prompts {
            try checkTokens(prompt.tokens, vocabularySize: forward.layout.configuration.vocabularySize)
        }
        for (sequence, tokens) in prompts {
            for token in tokens { sequences[sequence].note(token) }
        }
        readOn(
            prompts.map { sequence, tokens in
                defer { sequences[sequence].drawn = nil }
                return (sequence, (sequences[sequence].drawn.map { [$0] } ?? []) + tokens)
            })
    }

    /// The logits for the token after the last one of a text, which must have one.
    package func logits(of sequence: Int = 0) -> [Float] {
        readDrawn([sequence])
        let count = forward.layout.configuration.vocabularySize
        return Array(UnsafeBufferPointer(start: forward.logits(sequence), count: count))
    }

    /// Takes a token that was drawn elsewhere as the next one of a text, whose last one must have been read
    /// (`readDrawn`).
    package func accept(_ token: Int32, sequence: Int) {
        precondition(sequences[sequence].drawn == nil, "the token before must have been read")
        sequences[sequence].drawn = token
        sequences[sequence].note(token)
    }

    /// Lends the logits [vocabulary] for the token after the last one of a text, which must have been read (`readDrawn`).
    package func withLogits<Result>(of sequence: Int, _ body: (UnsafeBufferPointer<Float>) -> Result) -> Result {
        let count = forward.layout.configuration.vocabularySize
        return body(UnsafeBufferPointer(start: forward.logits(sequence), count: count))
    }

    /// Draws the next token of the one text.
    package func next(_ settings: SamplingSettings) throws(ModelError) -> Int32 {
        try next(settings, sequences: [0])[0]
    }

    /// Draws the next token of some texts, which are named once each and have at least one token.
    package func next(_ settings: SamplingSettings, sequences chosen: [Int]) throws(ModelError) -> [Int32] {
        readDrawn(chosen)
        let drawn = [Int32?](unsafeUninitializedCapacity: chosen.count) { buffer, count in
            for index in chosen.indices { buffer.initializeElement(at: index, to: nil) }
            count = chosen.count
            draw(settings, chosen, into: buffer)
        }
        var tokens: [Int32] = []
        for (sequence, token) in zip(chosen, drawn) {
            guard let token else { throw .nonFiniteLogits }
            sequences[sequence].drawn = token
            sequences[sequence].note(token)
            tokens.append(token)
        }
        return tokens
    }

    private func draw(_ settings: SamplingSettings, _ chosen: [Int], into drawn: UnsafeMutableBufferPointer<Int32?>) {
        sequences.withUnsafeMutableBufferPointer { sequences in
            // Exclusive: every task has its own sequence, and every worker its own sampler.
            let sequences = sequences
            pool.run(chosen.count) { task, worker in
                let sequence = chosen[task]
                precondition(!sequences[sequence].tokens.isEmpty, "generation needs a token to start from")
                drawn[task] = samplers[worker].draw(
                    forward.logits(sequence), seen: sequences[sequence].seen, settings, &sequences[sequence].random)
            }
        }
    }

    /// Reads what was drawn and not yet read, of some texts together.
    package func readDrawn(_ chosen: [Int]) {
        var (steps, full): ([(sequence: Int, token: Int32)], [(sequence: Int, tokens: [Int32])]) = ([], [])
        for sequence in chosen.sorted() {
            guard let token = sequences[sequence].drawn else { continue }
            sequences[sequence].drawn = nil
            if sequences[sequence].tokens.count == contextLength {
                full.append((sequence, [token]))
            } else {
                sequences[sequence].tokens.append(token)
                steps.append((sequence, token))
            }
        }
        if !steps.isEmpty { forward.step(steps) }
        if !full.isEmpty { readOn(full) }
    }

    /// Reads tokens; where the context would overflow, starts anew with the newest tokens.
    private func readOn(_ prompts: [(sequence: Int, tokens: [Int32])]) {
        var parts: [(sequence: Int, tokens: ArraySlice<Int32>)] = []
        for (sequence, tokens) in prompts where !tokens.isEmpty {
            let old = sequences[sequence].tokens.count
            let count = old + tokens.count
            sequences[sequence].tokens += tokens
            if count <= contextLength {
                parts.append((sequence, sequences[sequence].tokens[old...]))
            } else {
                sequences[sequence].tokens.removeFirst(count - keptLength(count))
                forward.clear(sequence)
                parts.append((sequence, sequences[sequence].tokens[...]))
            }
        }
        if !parts.isEmpty { forward.read(parts) }
    }

    /// How many of `count` tokens, more than the context, are left if half of a full context is kept each time.
    private func keptLength(_ count: Int) -> Int {
        let half = contextLength / 2
        return half + 1 + (count - contextLength - 1) % (contextLength - half)
    }
}
