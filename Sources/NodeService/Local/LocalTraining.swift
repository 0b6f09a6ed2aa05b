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
    /// What the command line asks for.
    package struct Request: Sendable {
        /// Values of `--data`.
        package var data: [String]
        /// Checkpoint folder to start from; nil for a new model.
        package var from: String?
        /// Preset of a new model.
        package var size: String
        /// Optimizer steps.
        package var steps: Int
        /// Windows per step.
        package var batch: Int
        /// Seed of the initialisation and of the sampling.
        package var seed: UInt64
        /// Threads; nil or 0 takes one per core.
        package var threads: Int?
        /// The highest learning rate.
        package var learningRate: Float
        /// Folder for the checkpoint; nil writes none.
        package var out: String?
        /// File that takes a line of JSON about once a second; nil writes none.
        package var log: String?

        /// Wraps the fields.
        package init(
            data: [String], from: String? = nil, size: String = "nano", steps: Int = 1000, batch: Int = 8,
            seed: UInt64 = 0, threads: Int? = nil, learningRate: Float = 2e-3, out: String? = nil, log: String? = nil
        ) {
            self.data = data
            self.from = from
            self.size = size
            self.steps = steps
            self.batch = batch
            self.seed = seed
            self.threads = threads
            self.learningRate = learningRate
            self.out = out
            self.log = log
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
        try checkFlag("--steps", request.steps, in: 0...1_000_000_000)
        try checkFlag("--batch", request.batch, in: 1...65_536)
        let threads = try threadCount(request.threads)
        guard request.learningRate > 0, request.learningRate.isFinite else {
            throw UserError("--learning-rate must be above 0", cure: "Try 0.002", exitCode: .usage)
        }
        let sources = try DataSelection.parse(request.data)
        try checkOut()
        let log = try openLog()
        let (state, tokenizer) = try startState()
        let corpus: Corpus
        do {
            corpus = try Corpus(
                sources, tokenizer: tokenizer, contextLength: state.layout.configuration.contextLength)
        } catch { throw UserError(corpus: error) }
        for line in corpus.domains.flatMap(\.lines) { report(line) }
        return try train(state, tokenizer, corpus, log, WorkerPool(threadCount: threads))
    }

    /// Finds out before the work, not after it, that the checkpoint cannot be written: the partial folder is made, and
    /// removed again as it is dropped.
    private func checkOut() throws(UserError) {
        guard let out = request.out else { return }
        do { _ = try DurableFolder(path: out) } catch { throw UserError(checkpoint: .file(error)) }
    }

    private func openLog() throws(UserError) -> RunLog? {
        guard let path = request.log else { return nil }
        do { return try RunLog(path: path) } catch { throw UserError(checkpoint: .file(error)) }
    }

    private func startState() throws(UserError) -> (TrainingState, Tokenizer) {
        if let from = request.from {
            let model = try LoadedModel(from)
            return (TrainingState(layout: model.layout, parameters: model.parameters), model.tokenizer)
        }
        guard let model = ModelConfiguration.preset(named: request.size) else {
            let names = ModelConfiguration.presets.map(\.name).joined(separator: ", ")
            throw UserError("there is no preset \(request.size)", cure: "Choose one of \(names)", exitCode: .usage)
        }
        return (TrainingState(configuration: model, seed: request.seed), .bytes)
    }

    private func train(
        _ state: TrainingState, _ tokenizer: Tokenizer, _ corpus: Corpus, _ log: RunLog?, _ pool: WorkerPool
    ) throws(UserError) -> Report {
        let trainer = Trainer(state: state, batchSize: request.batch, pool: pool)
        let evaluator = Evaluator(layout: state.layout, pool: pool)
        // A tenth of a short run, never more than 100 steps: Adam's second moment settles in that time.
        let schedule = LearningRateSchedule(
            peak: request.learningRate, warmUp: UInt64(min(100, request.steps / 10)), total: UInt64(request.steps))
        var cursor = CorpusCursor(seed: request.seed)
        do {
            let heldOut = try corpus.heldOutWindows(countMax: Self.heldOutWindowsMax).flatMap(\.windows.tokens)
            let lossStart = try evaluator.meanLoss(state.parameters, windows: heldOut)
            var meter = ProgressMeter(
                stepCount: request.steps, tokensPerStep: trainer.tokensPerBatch, log: log, report: report)
            Interruption.catchSignals()
            var steps = 0
            while steps < request.steps, !Interruption.isRequested {
                let windows = try corpus.nextWindows(count: request.batch, cursor: &cursor)
                let step = try trainer.step(windows.tokens, learningRate: schedule.rate(at: UInt64(steps)))
                guard step.applied else {
                    throw UserError(
                        "the gradient of step \(steps) is not finite", cure: "Lower --learning-rate",
                        exitCode: .badData)
                }
                steps += 1
                meter.stepped(loss: step.loss)
            }
            let lossEnd = try evaluator.meanLoss(state.parameters, windows: heldOut)
            try save(state, tokenizer, steps: steps)
            return Report(
                parameterCount: state.layout.count, steps: steps, tokens: steps * trainer.tokensPerBatch,
                seconds: meter.seconds, lossStart: lossStart, lossEnd: lossEnd,
                wasInterrupted: steps < request.steps, out: request.out, domains: corpus.domains)
        } catch let error as ModelError {
            throw UserError(model: error)
        } catch let error as CorpusError {
            throw UserError(corpus: error)
        } catch let error as UserError {
            throw error
        } catch { throw UserError("\(error)", cure: "Please report this", exitCode: .internalBug) }
    }

    private func save(_ state: TrainingState, _ tokenizer: Tokenizer, steps: Int) throws(UserError) {
        guard let out = request.out else { return }
        do {
            try ModelFolder.write(
                to: out, configuration: state.layout.configuration, tokenizer: tokenizer, parameters: state.parameters,
                metadata: [("steps", "\(steps)"), ("seed", "\(request.seed)")])
        } catch { throw UserError(checkpoint: error) }
    }
}
