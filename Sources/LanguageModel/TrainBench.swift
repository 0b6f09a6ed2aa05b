package import Numerics

/// Measures the trainer beside the matrix peak of the same machine in the same minutes.
package enum TrainBench {
    /// What to measure.
    package struct Settings: Hashable, Sendable {
        /// The model's shape.
        package var configuration: ModelConfiguration
        /// Windows per step, of the whole context.
        package var batchSize: Int
        /// Threads for the trainer and for the peak.
        package var threadCount: Int
        /// Length of each of the rounds, of training and of matrix products by turns.
        package var secondsPerRound: Double
        /// Number of rounds.
        package var rounds: Int

        /// Wraps the five.
        package init(
            configuration: ModelConfiguration, batchSize: Int, threadCount: Int, secondsPerRound: Double = 2,
            rounds: Int = 5
        ) {
            self.configuration = configuration
            self.batchSize = batchSize
            self.threadCount = threadCount
            self.secondsPerRound = secondsPerRound
            self.rounds = rounds
        }
    }

    /// The measured figures.
    package struct Report: Hashable, Sendable {
        /// Parameters of the model.
        package var parameters: Int
        /// Tokens per optimizer step.
        package var tokensPerStep: Int
        /// Optimizer steps measured.
        package var steps: Int
        /// Tokens trained per second, over all rounds.
        package var tokensPerSecond: Double
        /// 6 x weights used in matrix products + 6 x layers x width x context.
        package var flopsPerToken: Double
        /// tokensPerSecond x flopsPerToken / 1e9.
        package var trainingGigaflops: Double
        /// The best OpenBLAS square product of 1024 or 2048, on all threads at once.
        package var peakGigaflops: Double
        /// trainingGigaflops / peakGigaflops.
        package var shareOfPeak: Double
        /// Threads used.
        package var threadCount: Int
        /// Kernels used.
        package var instructionSet: InstructionSet
        /// Loss after the last step, as a sign of life.
        package var lastLoss: Double
    }

    /// FLOPs that training one token takes: 6 per weight in a matrix product (the head once, no input embedding), and
    /// 6 x layers x width x context for causal attention.
    package static func flopsPerToken(_ configuration: ModelConfiguration) -> Double {
        let perBlock = configuration.blockParameterCount - 2 * configuration.width
        let weights = configuration.layerCount * perBlock + configuration.vocabularySize * configuration.width
        let attention = configuration.layerCount * configuration.queryWidth * configuration.contextLength
        return 6 * Double(weights + attention)
    }

    /// Trains on random tokens and multiplies matrices by turns; takes about 2 x rounds x secondsPerRound.
    ///
    /// `now` is the driver's monotonic clock in seconds; `progress` hears each finished round.
    package static func run(
        _ settings: Settings, now: () -> Double, progress: (_ finishedRounds: Int) -> Void = { _ in }
    ) throws(ModelError) -> Report {
        try settings.configuration.validate()
        let pool = WorkerPool(threadCount: settings.threadCount)
        let state = TrainingState(configuration: settings.configuration, seed: 1)
        let trainer = Trainer(state: state, batchSize: settings.batchSize, pool: pool)
        var random = SeededRandom(seed: 2)
        let windows = (0..<settings.batchSize * (settings.configuration.contextLength + 1)).map { _ in
            Int32(random.nextIndex(below: settings.configuration.vocabularySize))
        }
        let peak = MatrixPeak(threadCount: pool.threadCount)
        var report = try trainer.step(windows, learningRate: 1e-4)
        var (steps, trainingSeconds, best) = (0, 0.0, 0.0)
        for round in 0..<settings.rounds {
            let start = now()
            repeat {
                report = try trainer.step(windows, learningRate: 1e-4)
                steps += 1
            } while now() - start < settings.secondsPerRound
            trainingSeconds += now() - start
            best = max(best, peak.measure(seconds: settings.secondsPerRound, pool: pool, now: now))
            progress(round + 1)
        }
        let tokensPerSecond = Double(steps * trainer.tokensPerBatch) / trainingSeconds
        let flops = flopsPerToken(settings.configuration)
        let gigaflops = tokensPerSecond * flops / 1e9
        return Report(
            parameters: state.layout.count, tokensPerStep: trainer.tokensPerBatch, steps: steps,
            tokensPerSecond: tokensPerSecond, flopsPerToken: flops, trainingGigaflops: gigaflops, peakGigaflops: best,
            shareOfPeak: gigaflops / best, threadCount: pool.threadCount, instructionSet: .best,
            lastLoss: report.loss)
    }
}

/// The rate of large square products by OpenBLAS, each thread multiplying its own matrices.
private struct MatrixPeak {
    private let operands: [(a: FloatBuffer, b: FloatBuffer, c: FloatBuffer)]
    private static let sizes = [1024, 2048]

    init(threadCount: Int) {
        var random = SeededRandom(seed: 3)
        operands = (0..<threadCount).map { _ in
            let count = 2048 * 2048
            let (a, b) = (FloatBuffer(count: count), FloatBuffer(count: count))
            for index in 0..<count {
                a.pointer[index] = random.nextUniform()
                b.pointer[index] = random.nextUniform()
            }
            return (a, b, FloatBuffer(count: count))
        }
    }

    /// The best product within about `seconds`, in GFLOP/s over all threads.
    func measure(seconds: Double, pool: WorkerPool, now: () -> Double) -> Double {
        var best = 0.0
        let begin = now()
        repeat {
            for n in Self.sizes {
                let start = now()
                pool.run(operands.count) { task, _ in
                    let (a, b, c) = operands[task]
                    DenseProduct.multiply(
                        m: n, n: n, k: n, a: a.pointer, aStride: n, b: b.pointer, bStride: n, c: c.pointer, cStride: n)
                }
                let flops = 2 * Double(n) * Double(n) * Double(n) * Double(operands.count)
                best = max(best, flops / (now() - start) / 1e9)
            }
        } while now() - begin < seconds
        return best
    }
}
