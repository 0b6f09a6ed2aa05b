package import Numerics

/// Measures generation beside the limits of the same machine in the same minutes: reading a prompt against the matrix
/// peak, taking steps against the bandwidth of reading memory.
package enum GenerateBench {
    /// What to measure.
    package struct Settings: Hashable, Sendable {
        /// Texts that take steps together.
        package var sequences: Int
        /// Threads for everything.
        package var threadCount: Int
        /// Length of each part of a round: prompts, steps, matrix products, reading memory.
        package var secondsPerPart: Double
        /// Number of rounds.
        package var rounds: Int

        /// Wraps the four.
        package init(sequences: Int = 1, threadCount: Int, secondsPerPart: Double = 1, rounds: Int = 3) {
            self.sequences = sequences
            self.threadCount = threadCount
            self.secondsPerPart = secondsPerPart
            self.rounds = rounds
        }
    }

    /// The measured figures; rates are over all rounds, limits the best of all.
    package struct Report: Hashable, Sendable {
        /// Parameters of the model.
        package var parameters: Int
        /// Texts that took steps together.
        package var sequences: Int
        /// Tokens of a prompt.
        package var promptLength: Int
        /// Steps after each prompt.
        package var stepCount: Int
        /// Prompt tokens per second, one prompt at a time.
        package var prefillTokensPerSecond: Double
        /// Operations that a prompt took, in GFLOP/s.
        package var prefillGigaflops: Double
        /// The best OpenBLAS square product of 1024 or 2048, on all threads at once.
        package var peakGigaflops: Double
        /// Tokens drawn per second, over all texts.
        package var decodeTokensPerSecond: Double
        /// Bytes of weights and cache that a step read on average.
        package var bytesPerStep: Double
        /// Bytes that steps read per second, in GB/s.
        package var decodeBandwidth: Double
        /// The fastest reading of a buffer larger than the caches, in GB/s.
        package var readBandwidth: Double
        /// Threads used.
        package var threadCount: Int
        /// Kernels used.
        package var instructionSet: InstructionSet

        /// prefillGigaflops / peakGigaflops.
        package var prefillShare: Double { prefillGigaflops / peakGigaflops }
        /// decodeBandwidth / readBandwidth; above 1 where the weights fit the caches.
        package var decodeShare: Double { decodeBandwidth / readBandwidth }
    }

    /// Measures by turns; takes about 4 x rounds x secondsPerPart. `now` is the driver's monotonic clock in seconds.
    package static func run(
        layout: ParameterLayout, parameters: FloatBuffer, _ settings: Settings, now: () -> Double,
        progress: (_ finishedRounds: Int) -> Void = { _ in }
    ) -> Report {
        let shape = layout.configuration
        let pool = WorkerPool(threadCount: settings.threadCount)
        let forward = CachedForward(
            layout: layout, parameters: parameters, sequences: settings.sequences, pool: pool, kernels: .best)
        let sampler = Sampler(vocabularySize: shape.vocabularySize, kernels: .best)
        let promptLength = max(1, min(CachedForward.chunkLength, shape.contextLength / 2))
        let stepCount = max(1, min(64, shape.contextLength - promptLength))
        var random = SeededRandom(seed: 2)
        let prompt = (0..<promptLength).map { _ in Int32(random.nextIndex(below: shape.vocabularySize)) }
        let (peak, memory) = (MatrixPeak.float32(threadCount: pool.threadCount), MemoryBandwidth(pool: pool))
        func readPrompt(_ sequence: Int) {
            forward.clear(sequence)
            forward.read([(sequence, prompt[...])])
        }
        func takeStep() {
            forward.step(
                (0..<settings.sequences).map { sequence in
                    let token = sampler.draw(forward.logits(sequence), seen: [], SamplingSettings(), &random)
                    return (sequence, token ?? 0)
                })
        }
        // The first passes claim memory.
        for sequence in 0..<settings.sequences { readPrompt(sequence) }
        takeStep()
        var (prompts, prefillSeconds, steps, decodeSeconds) = (0, 0.0, 0, 0.0)
        var (peakBest, memoryBest) = (0.0, 0.0)
        for round in 0..<settings.rounds {
            let start = now()
            repeat {
                readPrompt(0)
                prompts += 1
            } while now() - start < settings.secondsPerPart
            prefillSeconds += now() - start
            peakBest = max(peakBest, peak.measure(seconds: settings.secondsPerPart, pool: pool, now: now))
            var spent = 0.0
            repeat {
                for sequence in 0..<settings.sequences { readPrompt(sequence) }
                let start = now()
                for _ in 0..<stepCount { takeStep() }
                spent += now() - start
                steps += stepCount
            } while spent < settings.secondsPerPart
            decodeSeconds += spent
            memoryBest = max(memoryBest, memory.measure(seconds: settings.secondsPerPart, now: now))
            progress(round + 1)
        }
        let flops = Double(prompts) * promptOperations(shape, promptLength)
        let bytes = bytesPerStep(shape, sequences: settings.sequences, position: promptLength + stepCount / 2)
        return Report(
            parameters: layout.count, sequences: settings.sequences, promptLength: promptLength, stepCount: stepCount,
            prefillTokensPerSecond: Double(prompts * promptLength) / prefillSeconds,
            prefillGigaflops: flops / prefillSeconds / 1e9, peakGigaflops: peakBest,
            decodeTokensPerSecond: Double(steps * settings.sequences) / decodeSeconds, bytesPerStep: bytes,
            decodeBandwidth: bytes * Double(steps) / decodeSeconds / 1e9, readBandwidth: memoryBest,
            threadCount: pool.threadCount, instructionSet: .best)
    }

    /// Operations of a prompt: 2 per weight of a block and token, causal attention, and the head once.
    static func promptOperations(_ shape: ModelConfiguration, _ length: Int) -> Double {
        let weights = shape.layerCount * (shape.blockParameterCount - 2 * shape.width)
        let attention = 2 * shape.layerCount * shape.queryWidth * (length + 1) / 2
        return 2 * Double(length * (weights + attention) + shape.vocabularySize * shape.width)
    }

    /// Bytes that a step reads: every weight but the input embedding once, and each text's cache.
    static func bytesPerStep(_ shape: ModelConfiguration, sequences: Int, position: Int) -> Double {
        let weights = shape.layerCount * shape.blockParameterCount + shape.width + shape.vocabularySize * shape.width
        return Double(
            weights * MemoryLayout<Float>.stride + sequences * position * KeyValueCache.bytesPerPosition(shape))
    }
}

/// The rate at which all threads together read memory that is in no cache.
struct MemoryBandwidth {
    private let pool: WorkerPool
    /// 256 MiB in all, several times a large cache; initialised, so that every page is there.
    private let buffers: [FloatBuffer]

    init(pool: WorkerPool) {
        self.pool = pool
        let count = (64 << 20) / pool.threadCount
        buffers = (0..<pool.threadCount).map { _ in FloatBuffer(count: count) }
    }

    /// The best pass within about `seconds`, in GB/s.
    func measure(seconds: Double, now: () -> Double) -> Double {
        var best = 0.0
        let begin = now()
        repeat {
            let start = now()
            pool.run(buffers.count) { task, _ in
                let buffer = buffers[task]
                // The sum is zero, which the compiler cannot know.
                precondition(Kernels.best.sumOfSquares(buffer.count, buffer.pointer) == 0, "nobody writes the buffer")
            }
            let bytes = buffers.reduce(0) { $0 + $1.count } * MemoryLayout<Float>.stride
            best = max(best, Double(bytes) / (now() - start) / 1e9)
        } while now() - begin < seconds
        return best
    }
}
