package import Corpus
import LanguageModel
import Numerics
import OuterSync

/// One point of a run's curve.
package struct LabPoint: Hashable, Sendable {
    /// Tokens that all workers have trained.
    package var tokens: Int
    /// Held-out loss of the shared model in nats per token, the mean over domains.
    package var loss: Double
    /// Bytes that a worker has uploaded on average.
    package var bytesPerWorker: Double

    /// Wraps the three.
    package init(tokens: Int, loss: Double, bytesPerWorker: Double) {
        self.tokens = tokens
        self.loss = loss
        self.bytesPerWorker = bytesPerWorker
    }
}

/// One run of one configuration with one seed: M workers in this thread, exchanging by the shipped codecs, aggregation and
/// outer step, without sockets.
package struct LabRun {
    private let settings: LabSettings
    private let seed: UInt64
    private let corpus: Corpus
    private let layout: ParameterLayout
    private let evaluator: Evaluator
    private let heldOut: [[Int32]]

    /// Prepares a run; `corpus` has windows of `settings.windowTokens`.
    package init(_ settings: LabSettings, seed: UInt64, corpus: Corpus) throws {
        precondition(corpus.contextLength == settings.windowTokens, "the corpus must be cut as the run reads it")
        self.settings = settings
        self.seed = seed
        self.corpus = corpus
        layout = ParameterLayout(settings.model)
        evaluator = Evaluator(
            layout: layout, sequenceLength: settings.windowTokens, pool: WorkerPool(threadCount: 1))
        heldOut = try corpus.heldOutWindows(countMax: settings.heldOutWindows).map(\.windows.tokens)
    }

    /// Trains, and gives the curve.
    ///
    /// - Parameter progress: called every few steps with the share done; throwing ends the run.
    package func run(progress: (Double) throws -> Void) throws -> [LabPoint] {
        switch settings.method {
        case .dataParallel:
            let all = settings.workers
            // A ring all-reduce of float32: every worker sends 2 (M - 1) / M of the gradient.
            let bytes = 2 * Double(all - 1) / Double(all) * 4 * Double(settings.model.parameterCount)
            return try train(batch: settings.globalBatch, steps: settings.steps, cursors: all, bytes, progress)
        case .alone:
            return try train(
                batch: settings.workerBatch, steps: settings.steps * settings.workers, cursors: 1, 0, progress)
        case .rounds(let rounds): return try exchange(rounds, progress)
        }
    }

    // MARK: Baselines

    private func train(
        batch: Int, steps: Int, cursors count: Int, _ bytesPerStep: Double, _ progress: (Double) throws -> Void
    ) throws -> [LabPoint] {
        let trainer = trainer(batch: batch)
        var cursors = (0..<count).map(cursor)
        var points: [LabPoint] = []
        for step in 1...steps {
            var tokens: [Int32] = []
            for index in cursors.indices {
                tokens += try corpus.nextWindows(count: batch / count, cursor: &cursors[index]).tokens
            }
            let report = try trainer.step(tokens, learningRate: rate(step - 1, of: steps))
            guard report.applied else { throw LabError("the training loss is no longer finite") }
            if isEvaluated(step, of: steps) {
                points.append(
                    try point(trainer.state.parameters, step, of: steps, bytes: bytesPerStep * Double(step)))
            }
            if step % 16 == 0 { try progress(Double(step) / Double(steps)) }
        }
        return points
    }

    // MARK: Rounds

    private func exchange(_ rounds: LabSettings.Rounds, _ progress: (Double) throws -> Void) throws -> [LabPoint] {
        let cut = try FragmentLayout(
            tensors: layout.tensors.map {
                TensorDescription(name: $0.name, shape: $0.shape, block: $0.block, modelOffset: $0.offset)
            }, rule: rounds.fragments)
        let shared = TrainingState(configuration: settings.model, seed: seed).parameters
        var fragments = cut.fragments.map { fragment in
            LabFragment(
                fragment,
                theta: fragment.gather(from: UnsafeBufferPointer(start: shared.pointer, count: shared.count)),
                rounds: rounds, workers: settings.workers)
        }
        let speeds = settings.speeds.isEmpty ? [Double](repeating: 1, count: settings.workers) : settings.speeds
        let meanSpeed = speeds.reduce(0, +) / Double(speeds.count)
        let workers = speeds.enumerated().map { index, speed in
            LabWorker(
                trainer: trainer(batch: settings.workerBatch), corpus: corpus, cursor: cursor(index),
                speed: speed / meanSpeed,
                fragments: fragments.map {
                    LocalFragment(
                        base: $0.head.theta, decay: rounds.feedback, staysLive: rounds.residualStaysLive)
                },
                eager: rounds.overlap == .eager ? fragments.map { EagerFragment($0.head) } : [])
        }
        let schedule = SyncSchedule(innerStepsPerRound: rounds.innerSteps, fragmentCount: fragments.count)
        var due = fragments.map { schedule.firstDue($0.fragment.index) }
        var points: [LabPoint] = []
        for tick in 1...UInt64(settings.steps) {
            let learningRate = rate(Int(tick) - 1, of: settings.steps)
            for worker in workers { try worker.tick(learningRate: learningRate) }
            let closing = tick == UInt64(settings.steps)
            for index in fragments.indices {
                if tick >= due[index] || closing {
                    // What is still under way at the end comes first, as in any other step.
                    try fragments[index].apply(workers, at: tick, waits: false)
                    try fragments[index].snapshot(workers, at: tick, closing: closing)
                    due[index] = tick + rounds.innerSteps
                }
                try fragments[index].apply(workers, at: tick, overwrites: closing)
            }
            if isEvaluated(Int(tick), of: settings.steps) {
                let model = FloatBuffer(count: shared.count)
                let values = UnsafeMutableBufferPointer(start: model.pointer, count: model.count)
                for fragment in fragments { fragment.fragment.overwrite(values, with: fragment.head.theta) }
                let bytes = Double(fragments.reduce(0) { $0 + $1.uploaded }) / Double(settings.workers)
                points.append(try point(model, Int(tick), of: settings.steps, bytes: bytes))
            }
            if tick % 4 == 0 { try progress(Double(tick) / Double(settings.steps)) }
        }
        return points
    }

    // MARK: Parts

    private func trainer(batch: Int) -> Trainer {
        Trainer(
            state: TrainingState(configuration: settings.model, seed: seed), batchSize: batch,
            sequenceLength: settings.windowTokens,
            optimizer: AdamW(beta2: 0.95, weightDecay: settings.inner.weightDecay, gradientNormMax: 1),
            muon: settings.inner.muon ? Muon() : nil, precision: .fastest, pool: WorkerPool(threadCount: 1))
    }

    /// Worker m's place in the text; the same for every configuration of a seed.
    private func cursor(_ worker: Int) -> CorpusCursor {
        CorpusCursor(seed: seed &* 0x9E37_79B9_7F4A_7C15 &+ UInt64(worker))
    }

    private func rate(_ step: Int, of steps: Int) -> Float {
        LearningRateSchedule(
            peak: settings.inner.learningRate, finalFraction: settings.inner.finalShare,
            warmUp: UInt64(settings.inner.warmUpShare * Double(steps)), total: UInt64(steps)
        ).rate(at: UInt64(step))
    }

    private func isEvaluated(_ step: Int, of steps: Int) -> Bool {
        step == steps || step * settings.evaluations / steps > (step - 1) * settings.evaluations / steps
    }

    private func point(_ parameters: FloatBuffer, _ step: Int, of steps: Int, bytes: Double) throws -> LabPoint {
        var sum = 0.0
        for windows in heldOut { sum += try evaluator.meanLoss(parameters, windows: windows) }
        let share = Double(step) / Double(steps)
        return LabPoint(
            tokens: Int((Double(settings.tokens) * share).rounded()), loss: sum / Double(heldOut.count),
            bytesPerWorker: bytes)
    }
}
