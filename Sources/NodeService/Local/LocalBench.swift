package import JSONText
package import LanguageModel
import Numerics
import PeerNet

/// `atoll bench train`: how fast this machine trains, and which share of its matrix peak that is.
package struct LocalBench: Sendable {
    /// What the command line asks for.
    package struct Request: Sendable {
        /// Preset to train on random tokens.
        package var size: String
        /// Windows per step; nil takes 16, or 4 where the model has more than 50 million parameters.
        package var batch: Int?
        /// Threads; nil or 0 takes one per core.
        package var threads: Int?
        /// Seconds to spend, half on training and half on the peak.
        package var seconds: Int
        /// `f32` or `bf16`; nil takes the faster on this processor.
        package var dtype: String?

        /// Wraps the fields.
        package init(
            size: String = "micro", batch: Int? = nil, threads: Int? = nil, seconds: Int = 20, dtype: String? = nil
        ) {
            self.dtype = dtype
            self.size = size
            self.batch = batch
            self.threads = threads
            self.seconds = seconds
        }
    }

    /// What came of it.
    package struct Report: CommandReport {
        /// The preset.
        package var size: String
        /// The figures.
        package var bench: TrainBench.Report

        private var library: String {
            bench.precision == .float32 ? "float32, OpenBLAS" : "bfloat16, oneDNN"
        }

        package var text: String {
            """
            model          \(size), \(bench.parameters) parameters, \(bench.tokensPerStep) tokens per step
            threads        \(bench.threadCount), \(bench.precision.rawValue), kernels for \(bench.instructionSet.rawValue)
            speed          \(fixed(bench.tokensPerSecond, 0)) tokens/s over \(bench.steps) steps
            training       \(fixed(bench.trainingGigaflops, 1)) GFLOP/s
            matrix peak    \(fixed(bench.peakGigaflops, 1)) GFLOP/s (\(library), n 1024 and 2048)
            share of peak  \(fixed(100 * bench.shareOfPeak.median, 1)) % (rounds: \(fixed(100 * bench.shareOfPeak.least, 1)) to \
            \(fixed(100 * bench.shareOfPeak.greatest, 1)) %)
            """
        }

        package var json: JSONValue {
            [
                "size": .text(size), "parameters": .integer(Int64(bench.parameters)),
                "tokens_per_step": .integer(Int64(bench.tokensPerStep)), "threads": .integer(Int64(bench.threadCount)),
                "instruction_set": .text(bench.instructionSet.rawValue), "steps": .integer(Int64(bench.steps)),
                "tokens_per_second": .number(bench.tokensPerSecond), "flops_per_token": .number(bench.flopsPerToken),
                "training_gigaflops": .number(bench.trainingGigaflops), "peak_gigaflops": .number(bench.peakGigaflops),
                "dtype": .text(bench.precision.rawValue), "share_of_peak": .number(bench.shareOfPeak.median),
                "share_of_peak_least": .number(bench.shareOfPeak.least),
                "share_of_peak_greatest": .number(bench.shareOfPeak.greatest),
            ]
        }
    }

    private let request: Request
    private let report: @Sendable (String) -> Void

    /// - Parameter progress: takes a line for people after each round of about two seconds.
    package init(_ request: Request, progress: @escaping @Sendable (String) -> Void) {
        self.request = request
        report = progress
    }

    /// Trains and multiplies by turns for about `seconds`.
    package func run() throws(UserError) -> Report {
        guard let model = ModelConfiguration.preset(named: request.size) else {
            let names = ModelConfiguration.presets.map(\.name).joined(separator: ", ")
            throw UserError("there is no preset '\(request.size)'", cure: "Choose one of \(names)", exitCode: .usage)
        }
        let batch = request.batch ?? (model.parameterCount > 50_000_000 ? 4 : 16)
        try checkFlag("--batch", batch, in: 1...4096)
        try checkFlag("--seconds", request.seconds, in: 1...3600)
        let threads = try threadCount(request.threads)
        let precision = try precision(request.dtype)
        let rounds = max(5, request.seconds / 4)
        let settings = TrainBench.Settings(
            configuration: model, batchSize: batch, threadCount: threads, precision: precision,
            secondsPerRound: Double(request.seconds) / Double(2 * rounds), rounds: rounds)
        let (clock, progress) = (ContinuousClock(), report)
        let start = clock.now
        func now() -> Double { (clock.now - start).inSeconds }
        do throws(ModelError) {
            let bench = try TrainBench.run(settings, now: now) { progress("round \($0) of \(rounds)") }
            return Report(size: request.size, bench: bench)
        } catch {
            throw UserError("the bench failed: \(error)", cure: "Please report this", exitCode: .internalBug)
        }
    }
}
