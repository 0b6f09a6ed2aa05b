import ArgumentParser
import NodeService

/// `atoll merge`
struct MergeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "merge",
        abstract: "Average checkpoints that were branched from one model.",
        discussion: "Example:\n  atoll merge expert-c expert-perl --weights 0.7,0.3 --out merged")

    @Argument(help: "The checkpoint folders.") var checkpoints: [String] = []

    @Option(
        name: .long, parsing: .unconditional,
        help: "Numbers with commas, or by --data: posterior or argmax. Default: equal shares.")
    var weights: String?

    @Option(
        name: .long, parsing: .upToNextOption,
        help: "Sample of text for --weights posterior or argmax: globs, folders or files.")
    var data: [String] = []

    @Option(name: .long, help: "New folder for the merged checkpoint.")
    var out: String

    @Option(name: .long, help: "Element type of the merged checkpoint: float32, float16 or bfloat16.")
    var dtype = "float32"

    @Flag(name: .long, help: "Print one line of JSON.")
    var json = false

    func run() async throws {
        let weights = try LocalEnsemblePosterior.mergeWeights(weights, of: checkpoints, sample: data)
        try LocalMerge.run(checkpoints, weights: weights, out: out, dtype: dtype).show(json: json)
    }
}
