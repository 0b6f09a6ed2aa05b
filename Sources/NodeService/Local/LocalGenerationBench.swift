package import JSONText
package import LanguageModel
import Numerics
import PeerNet

/// `atoll bench generate`: how fast this machine generates, and which share of its limits that is.
package struct LocalGenerationBench: Sendable {
    /// What the command line asks for.
    package struct Request: Sendable {
        /// A checkpoint folder; nil for a preset.
        package var model: String?
        /// The preset.
        package var size = "small"
        /// Texts that take steps together.
        package var sequences = 1
        /// Threads; nil or 0 takes one per core.
        package var threads: Int?
        /// Seconds to spend, a quarter each on prompts, steps and the two limits.
        package var seconds = 12

        /// Asks for the default preset.
        package init() {}
    }

    /// What came of it.
    package struct Report: CommandReport {
        /// The preset or folder.
        package var model: String
        /// The figures.
        package var bench: GenerateBench.Report

        package var text: String {
            """
            model            \(model), \(bench.parameters) parameters
            threads          \(bench.threadCount), kernels for \(bench.instructionSet.rawValue)
            prompt           \(bench.promptLength) tokens, then \(bench.stepCount) steps of \(bench.sequences) texts
            prefill          \(fixed(bench.prefillTokensPerSecond, 0)) tokens/s, \(fixed(bench.prefillGigaflops, 1)) GFLOP/s
            matrix peak      \(fixed(bench.peakGigaflops, 1)) GFLOP/s (float32, OpenBLAS, n 1024 and 2048)
            share of peak    \(fixed(100 * bench.prefillShare, 1)) %
            decode           \(fixed(bench.decodeTokensPerSecond, 1)) tokens/s, \(fixed(bench.decodeBandwidth, 1)) GB/s
            read bandwidth   \(fixed(bench.readBandwidth, 1)) GB/s (256 MiB, same threads)
            share of it      \(fixed(100 * bench.decodeShare, 1)) % (above 100 where the weights fit the caches)
            """
        }

        package var json: JSONValue {
            [
                "model": .text(model), "parameters": .integer(Int64(bench.parameters)),
                "threads": .integer(Int64(bench.threadCount)), "instruction_set": .text(bench.instructionSet.rawValue),
                "sequences": .integer(Int64(bench.sequences)), "prompt_tokens": .integer(Int64(bench.promptLength)),
                "steps": .integer(Int64(bench.stepCount)),
                "prefill_tokens_per_second": .number(bench.prefillTokensPerSecond),
                "prefill_gigaflops": .number(bench.prefillGigaflops), "peak_gigaflops": .number(bench.peakGigaflops),
                "prefill_share_of_peak": .number(bench.prefillShare),
                "decode_tokens_per_second": .number(bench.decodeTokensPerSecond),
                "bytes_per_step": .number(bench.bytesPerStep), "decode_bandwidth_gb_s": .number(bench.decodeBandwidth),
                "read_bandwidth_gb_s": .number(bench.readBandwidth),
                "decode_share_of_bandwidth": .number(bench.decodeShare),
            ]
        }
    }

    /// Measures; `progress` takes a line for people after each round.
    package static func run(_ request: Request, progress: (String) -> Void) throws(UserError) -> Report {
        try checkFlag("--sequences", request.sequences, in: 1...256)
        try checkFlag("--seconds", request.seconds, in: 1...3600)
        let threads = try threadCount(request.threads)
        let (layout, parameters): (ParameterLayout, FloatBuffer)
        if let path = request.model {
            let model = try LoadedModel(path)
            (layout, parameters) = (model.layout, model.parameters)
        } else {
            guard let preset = ModelConfiguration.preset(named: request.size) else {
                let names = ModelConfiguration.presets.map(\.name).joined(separator: ", ")
                throw UserError(
                    "there is no preset '\(request.size)'", cure: "Choose one of \(names)", exitCode: .usage)
            }
            layout = ParameterLayout(preset)
            parameters = layout.initialParameters(seed: 1)
        }
        let rounds = max(2, request.seconds / 4)
        let clock = ContinuousClock()
        let start = clock.now
        func now() -> Double { (clock.now - start).inSeconds }
        let bench = GenerateBench.run(
            layout: layout, parameters: parameters,
            GenerateBench.Settings(
                sequences: request.sequences, threadCount: threads,
                secondsPerPart: Double(request.seconds) / Double(4 * rounds), rounds: rounds),
            now: now, progress: { progress("round \($0) of \(rounds)") })
        return Report(model: request.model ?? request.size, bench: bench)
    }
}
