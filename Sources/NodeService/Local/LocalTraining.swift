import Checkpoint
package import Corpus
package import JSONText
import LanguageModel
import Numerics
import Tokenizing

/// `atoll train`: trains a model on this machine alone, without a swarm.
///
/// Equal requests on equal text give equal bits on one kind of processor, whatever the number of threads.
package struct LocalTraining: Sendable {
    /// What the command line asks for; nil where a flag was not given.
    package struct Request: Sendable {
        /// Values of `--data`.
        package var data: [String] = []
        /// Checkpoint folder to start from; nil for a new model.
        package var from: String?
        /// Checkpoint folder whose run goes on.
        package var resume: String?
        /// Preset of a new model; nano.
        package var size: String?
        /// Tokenizer of a new model: `bytes`, a tokenizer.json, or a folder with one; bytes.
        package var tokenizer: String?
        /// Optimizer steps; 1000.
        package var steps: Int?
        /// Windows per batch; 8.
        package var batch: Int?
        /// Batches per step; 1.
        package var accumulate: Int?
        /// Seed of the initialisation and of the sampling; 0.
        package var seed: UInt64?
        /// The highest learning rate; 0.002.
        package var learningRate: Float?
        /// `adamw` or `muon`; adamw.
        package var optimizer: String?
        /// `cosine` or `wsd`; cosine.
        package var schedule: String?
        /// `f32` or `bf16`; the faster on this processor.
        package var dtype: String?
        /// Whether activations are computed again for the gradient.
        package var recompute = false
        /// Threads; nil or 0 takes one per core.
        package var threads: Int?
        /// Folder for the checkpoint; nil writes none, or, with `resume`, that folder again.
        package var out: String?
        /// Steps between checkpoints; nil writes one at the end.
        package var saveEvery: Int?
        /// Steps after which to stop as Ctrl-C does; nil goes on to the end.
        package var stopAfter: Int?
        /// File that takes a line of JSON about once a second; nil writes none.
        package var log: String?

        /// Nothing asked for.
        package init() {}

        /// Settings of a new run.
        func settings() throws(UserError) -> TrainingSettings {
            TrainingSettings(
                data: data, steps: steps ?? 1000, batch: batch ?? 8, accumulate: accumulate ?? 1, seed: seed ?? 0,
                learningRate: learningRate ?? 2e-3,
                optimizer: try Self.choice("--optimizer", optimizer, of: TrainingSettings.OptimizerName.self) ?? .adamw,
                schedule: try Self.choice("--schedule", schedule, of: TrainingSettings.ScheduleName.self) ?? .cosine,
                dtype: try precision(dtype).rawValue, recompute: recompute)
        }

        /// The flags that a resumed run takes from its settings, as far as they were given.
        var flagsFixedByResume: [String] {
            let given: [(String, Bool)] = [
                ("--data", !data.isEmpty), ("--from", from != nil), ("--size", size != nil),
                ("--tokenizer", tokenizer != nil), ("--batch", batch != nil), ("--accumulate", accumulate != nil),
                ("--seed", seed != nil), ("--learning-rate", learningRate != nil), ("--optimizer", optimizer != nil),
                ("--schedule", schedule != nil), ("--dtype", dtype != nil), ("--recompute", recompute),
            ]
            return given.filter(\.1).map(\.0)
        }

        private static func choice<Choice: RawRepresentable<String> & CaseIterable>(
            _ flag: String, _ value: String?, of: Choice.Type
        ) throws(UserError) -> Choice? {
            guard let value else { return nil }
            if let choice = Choice(rawValue: value) { return choice }
            let names = Choice.allCases.map(\.rawValue).joined(separator: ", ")
            throw UserError("\(flag) is '\(value)'", cure: "Choose one of \(names)", exitCode: .usage)
        }
    }

    /// What came of it.
    package struct Report: CommandReport {
        /// Parameters of the model.
        package var parameterCount: Int
        /// Steps done.
        package var steps: Int
        /// Tokens trained.
        package var tokens: Int
        /// Wall time of the steps.
        package var seconds: Double
        /// Mean held-out loss before the first step, nats per token.
        package var lossStart: Double
        /// Mean held-out loss after the last step.
        package var lossEnd: Double
        /// Whether Ctrl-C ended it early.
        package var wasInterrupted: Bool
        /// The checkpoint that was written.
        package var out: String?
        /// What was trained on.
        package var domains: [DomainSummary]

        /// Tokens per second of wall time.
        package var tokensPerSecond: Double { seconds > 0 ? Double(tokens) / seconds : 0 }

        package var text: String {
            """
            \(wasInterrupted ? "stopped after" : "trained") \(steps) steps, \(tokens) tokens in \(fixed(seconds, 1)) s \
            (\(fixed(tokensPerSecond, 0)) tokens/s)
            held-out loss \(fixed(lossStart, 4)) -> \(fixed(lossEnd, 4)) nats per token
            """ + (out.map { "\ncheckpoint in \($0)" } ?? "")
        }

        package var json: JSONValue {
            [
                "parameters": .integer(Int64(parameterCount)), "steps": .integer(Int64(steps)),
                "tokens": .integer(Int64(tokens)), "seconds": .number(seconds),
                "tokens_per_second": .number(tokensPerSecond), "loss_start": .number(lossStart),
                "loss_end": .number(lossEnd), "interrupted": .bool(wasInterrupted),
                "out": out.map(JSONValue.text) ?? nil,
                "domains": .array(domains.map(\.json)),
            ]
        }
    }

    private let request: Request
    private let report: @Sendable (String) -> Void

    /// - Parameter progress: takes a line for people about once a second.
    package init(_ request: Request, progress: @escaping @Sendable (String) -> Void) {
        self.request = request
        report = progress
    }

    /// Held-out windows per domain: enough for a stable mean, few enough for a second of work.
    private static let heldOutWindowsMax = 64

    /// Trains, evaluates, and writes the checkpoint. Ctrl-C ends it after the running step; the checkpoint is written all
    /// the same.
    package func run() throws(UserError) -> Report {
        let threads = try threadCount(request.threads)
        if let interval = request.saveEvery { try checkFlag("--save-every", interval, in: 1...1_000_000_000) }
        if let count = request.stopAfter { try checkFlag("--stop-after", count, in: 0...1_000_000_000) }
        try checkOut()
        let log = try openLog()
        var run = if let path = request.resume { try resumed(path) } else { try begun() }
        try run.settings.validate()
        let sources = try DataSelection.parse(run.settings.data)
        do {
            let corpus = try Corpus(
                sources, tokenizer: run.tokenizer, contextLength: run.state.layout.configuration.contextLength)
            for line in corpus.domains.flatMap(\.lines) { report(line) }
            try run.checkText(corpus)
            return try train(&run, corpus, log, WorkerPool(threadCount: threads))
        } catch let error as CorpusError {
            throw UserError(corpus: error)
        } catch let error as UserError {
            throw error
        } catch { throw UserError("\(error)", cure: "Please report this", exitCode: .internalBug) }
    }

    /// Where the checkpoint goes; nil for none.
    private var out: String? { request.out ?? request.resume }

    /// Finds out before the work, not after it, that the checkpoint cannot be written: the partial folder is made, and
    /// removed again as it is dropped.
    private func checkOut() throws(UserError) {
        guard let out else {
            guard request.saveEvery == nil else {
                throw UserError("--save-every has nowhere to save to", cure: "Give --out DIR too", exitCode: .usage)
            }
            return
        }
        let replaced: ((String) -> Bool)? = out == request.resume ? { ModelFolder.isOutput($0) } : nil
        do { _ = try DurableFolder(path: out, replacing: replaced) } catch {
            throw UserError(checkpoint: .file(error))
        }
    }

    private func openLog() throws(UserError) -> RunLog? {
        guard let path = request.log else { return nil }
        do { return try RunLog(path: path) } catch { throw UserError(checkpoint: .file(error)) }
    }

    /// A run: what is trained, and how far it is.
    private struct Run {
        var settings: TrainingSettings
        var state: TrainingState
        var tokenizer: Tokenizer
        var companions: Companions?
        var cursor: CorpusCursor
        /// Of a resumed run.
        var progress: TrainerSnapshot.Progress?

        /// A resumed run goes on bit for bit only on the text that it began with.
        func checkText(_ corpus: Corpus) throws(UserError) {
            guard let progress, progress.trainingTokens != Self.trainingTokens(corpus) else { return }
            throw UserError(
                "the text is not the one that this run began with",
                cure: "Bring it back, or start a new run from the model with --from", exitCode: .badData)
        }

        static func trainingTokens(_ corpus: Corpus) -> [String: Int] {
            Dictionary(corpus.domains.map { ($0.name, $0.trainingTokenCount) }) { $0 + $1 }
        }
    }

    private func begun() throws(UserError) -> Run {
        let settings = try request.settings()
        let cursor = CorpusCursor(seed: settings.seed)
        if let from = request.from {
            if let flag = request.size != nil ? "--size" : request.tokenizer != nil ? "--tokenizer" : nil {
                throw UserError(
                    "\(flag) does not go with --from", cure: "The checkpoint decides it; leave it out", exitCode: .usage
                )
            }
            let model = try LoadedModel(from)
            return Run(
                settings: settings, state: TrainingState(layout: model.layout, parameters: model.parameters),
                tokenizer: model.tokenizer, companions: model.companions, cursor: cursor)
        }
        let size = request.size ?? "nano"
        guard var model = ModelConfiguration.preset(named: size) else {
            let names = ModelConfiguration.presets.map(\.name).joined(separator: ", ")
            throw UserError("there is no preset \(size)", cure: "Choose one of \(names)", exitCode: .usage)
        }
        let tokenizer = try loadTokenizer(request.tokenizer ?? "bytes")
        if request.tokenizer != nil { model.vocabularySize = tokenizer.vocabularySize }
        return Run(
            settings: settings, state: TrainingState(configuration: model, seed: settings.seed), tokenizer: tokenizer,
            cursor: cursor)
    }

    private func resumed(_ path: String) throws(UserError) -> Run {
        if let flag = request.flagsFixedByResume.first {
            throw UserError(
                "\(flag) does not go with --resume", cure: "The run goes on as it began; leave it out", exitCode: .usage
            )
        }
        let model = try LoadedModel(path)
        var (snapshot, state) = try TrainerSnapshot.read(path, model)
        snapshot.settings.steps = request.steps ?? snapshot.settings.steps
        guard snapshot.progress.steps <= snapshot.settings.steps else {
            throw UserError(
                "\(path) has done \(snapshot.progress.steps) steps already", cure: "Ask for more with --steps",
                exitCode: .usage)
        }
        return Run(
            settings: snapshot.settings, state: state, tokenizer: model.tokenizer, companions: model.companions,
            cursor: snapshot.cursor, progress: snapshot.progress)
    }

    private func train(_ run: inout Run, _ corpus: Corpus, _ log: RunLog?, _ pool: WorkerPool) throws -> Report {
        let (settings, state) = (run.settings, run.state)
        let trainer = Trainer(
            state: state, batchSize: settings.batch, muon: settings.optimizer == .muon ? Muon() : nil,
            precision: try precision(settings.dtype), recomputesActivations: settings.recompute, pool: pool)
        let evaluator = Evaluator(layout: state.layout, pool: pool)
        // A tenth of a short run, never more than 100 steps: Adam's second moment settles in that time.
        let schedule = LearningRateSchedule(
            peak: settings.learningRate, warmUp: UInt64(min(100, settings.steps / 10)), total: UInt64(settings.steps),
            shape: settings.schedule == .wsd ? .stableThenDecay(part: 0.2) : .cosine)
        let heldOut = try corpus.heldOutWindows(countMax: Self.heldOutWindowsMax).flatMap(\.windows.tokens)
        let first = run.progress?.steps ?? 0
        var progress = TrainerSnapshot.Progress(
            steps: first, updateCount: state.updateCount,
            lossStart: try run.progress?.lossStart ?? meanLoss(evaluator, state, heldOut),
            trainingTokens: Run.trainingTokens(corpus), parameterHash: "")
        var meter = ProgressMeter(
            stepCount: settings.steps, stepsBefore: first,
            tokensPerStep: trainer.tokensPerBatch * settings.accumulate, log: log, report: report)
        let end = min(settings.steps, request.stopAfter.map { first + $0 } ?? settings.steps)
        Interruption.catchSignals()
        while progress.steps < end, !Interruption.isRequested {
            let step = try takeStep(
                trainer, corpus, &run.cursor, settings, rate: schedule.rate(at: UInt64(progress.steps)))
            guard step.applied else {
                throw UserError(
                    "the gradient of step \(progress.steps) is not finite", cure: "Lower --learning-rate",
                    exitCode: .badData)
            }
            progress.steps += 1
            meter.stepped(loss: step.loss)
            if let interval = request.saveEvery, progress.steps % interval == 0, progress.steps < end {
                try save(run, progress)
            }
        }
        let lossEnd = try meanLoss(evaluator, state, heldOut)
        try save(run, progress)
        let steps = progress.steps - first
        return Report(
            parameterCount: state.layout.count, steps: steps,
            tokens: steps * trainer.tokensPerBatch * settings.accumulate, seconds: meter.seconds,
            lossStart: progress.lossStart, lossEnd: lossEnd, wasInterrupted: Interruption.isRequested, out: out,
            domains: corpus.domains)
    }

    private func takeStep(
        _ trainer: Trainer, _ corpus: Corpus, _ cursor: inout CorpusCursor, _ settings: TrainingSettings, rate: Float
    ) throws -> StepReport {
        do {
            for _ in 0..<settings.accumulate {
                try trainer.accumulate(corpus.nextWindows(count: settings.batch, cursor: &cursor).tokens)
            }
            return trainer.applyUpdate(learningRate: rate)
        } catch let error as ModelError { throw UserError(model: error) }
    }

    private func meanLoss(_ evaluator: Evaluator, _ state: TrainingState, _ windows: [Int32]) throws(UserError)
        -> Double
    {
        do { return try evaluator.meanLoss(state.parameters, windows: windows) } catch { throw UserError(model: error) }
    }

    /// Writes the checkpoint with what `--resume` needs. A folder that this run wrote before is replaced in one step.
    private func save(_ run: Run, _ progress: TrainerSnapshot.Progress) throws {
        guard let out else { return }
        let snapshot = try TrainerSnapshot(settings: run.settings, progress: progress, cursor: run.cursor)
            .snapshot(with: run.state)
        let isOurs = out == request.resume || request.saveEvery != nil
        do throws(CheckpointError) {
            try ModelFolder.write(
                to: out, configuration: run.state.layout.configuration, tokenizer: run.tokenizer,
                parameters: run.state.parameters, companions: run.companions,
                metadata: [("steps", "\(progress.steps)"), ("seed", "\(run.settings.seed)")], trainingState: snapshot,
                replacing: isOurs)
        } catch { throw UserError(checkpoint: error) }
    }
}
