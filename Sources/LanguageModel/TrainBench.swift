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
        /// Precision of the matrix products.
        package var precision: Precision

        /// Wraps the six.
        package init(
            configuration: ModelConfiguration, batchSize: Int, threadCount: Int, precision: Precision,
            secondsPerRound: Double = 2, rounds: Int = 5
        ) {
            self.precision = precision
            self.configuration = configuration
            self.batchSize = batchSize
            self.threadCount = threadCount
            self.secondsPerRound = secondsPerRound
            self.rounds = rounds
        }
    }

    /// The measured figures.
    package struct Report: Sendable {
        /// Parameters of the model.
        package var parameters: Int
        /// Tokens per optimizer step.
        package var tokensPerStep: Int
        /// Optimizer steps measured.
        package var steps: Int
        /// Tokens trained per second: the median of the rounds.
        package var tokensPerSecond: Double
        /// 6 x weights used in matrix products + 6 x layers x width x context.
        package var flopsPerToken: Double
        /// tokensPerSecond x flopsPerToken / 1e9.
        package var trainingGigaflops: Double
        /// The best square product of 1024 or 2048 on all threads at once, by OpenBLAS (float32) or oneDNN (bfloat16).
        ///
        /// The median of the rounds.
        package var peakGigaflops: Double
        /// Each round's training rate over the peak measured right after it: least, median and greatest.
        package var shareOfPeak: (least: Double, median: Double, greatest: Double)
        /// Precision of the matrix products.
        package var precision: Precision
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
        let trainer = Trainer(
            state: state, batchSize: settings.batchSize, precision: settings.precision, pool: pool)
        var random = SeededRandom(seed: 2)
        let windows = (0..<settings.batchSize * (settings.configuration.contextLength + 1)).map { _ in
            Int32(random.nextIndex(below: settings.configuration.vocabularySize))
        }
        guard let peak = MatrixPeak(settings.precision, threadCount: pool.threadCount) else {
            throw .invalidConfiguration("this processor has no bfloat16 products to measure against")
        }
        var report = try trainer.step(windows, learningRate: 1e-4)
        let flops = flopsPerToken(settings.configuration)
        var (steps, rates, peaks, shares) = (0, [Double](), [Double](), [Double]())
        for round in 0..<settings.rounds {
            let start = now()
            var count = 0
            repeat {
                report = try trainer.step(windows, learningRate: 1e-4)
                count += 1
            } while now() - start < settings.secondsPerRound
            let rate = Double(count * trainer.tokensPerBatch) / (now() - start)
            let limit = peak.measure(seconds: settings.secondsPerRound, pool: pool, now: now)
            steps += count
            rates.append(rate)
            peaks.append(limit)
            shares.append(rate * flops / 1e9 / limit)
            progress(round + 1)
        }
        let rate = median(rates)
        return Report(
            parameters: state.layout.count, tokensPerStep: trainer.tokensPerBatch, steps: steps,
            tokensPerSecond: rate, flopsPerToken: flops, trainingGigaflops: rate * flops / 1e9,
            peakGigaflops: median(peaks),
            shareOfPeak: (shares.min() ?? 0, median(shares), shares.max() ?? 0), precision: settings.precision,
            threadCount: pool.threadCount, instructionSet: .best, lastLoss: report.loss)
    }
}
