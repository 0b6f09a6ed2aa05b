import ArgumentParser
import NodeService

/// `atoll merge`
struct MergeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "merge",
        abstract: "Make one checkpoint of several: average, recipe, mixture of experts.",
        discussion: """
            Folders are averaged; a file is a recipe in mergekit's form (docs/merging.md has the methods and what differs).
            A recipe with 'experts' makes a mixture of experts. Models are local folders, relative to the working folder.
            The same inputs, recipe and seed give the same bytes. Ctrl-C leaves nothing behind.

            Exit codes: 64 wrong flags or weights, 65 a recipe or checkpoint that cannot be merged, 66 a file that is not
            there, 73 an output in use, 74 a full disk, 130 stopped.

            Examples:
              atoll merge expert-c expert-perl --weights 0.7,0.3 --out merged
              atoll merge recipe.yaml --out merged --dtype bfloat16
              atoll merge search recipe.yaml --data c='src/**/*.c' --budget 10m --out merged

            The options of merging itself: atoll merge run --help
            """,
        subcommands: [MergeRunCommand.self, MergeSearchCommand.self], defaultSubcommand: MergeRunCommand.self)
}

/// `atoll merge run`, and `atoll merge` without a subcommand
struct MergeRunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Merge checkpoint folders, or what a recipe names.",
        discussion: """
            Examples:
              atoll merge expert-c expert-perl --weights 0.7,0.3 --out merged
              atoll merge recipe.yaml --out merged --seed 1 --shard-size 2GB
            """)

    @Argument(help: "Checkpoint folders, or one recipe file (YAML or JSON).") var inputs: [String] = []

    @Option(
        name: .long, parsing: .unconditional,
        help: "Of checkpoint folders: numbers with commas, or by --data: posterior or argmax. Default: equal shares.")
    var weights: String?

    @Option(
        name: .long, parsing: .upToNextOption,
        help: "Sample of text for --weights posterior or argmax: globs, folders or files.")
    var data: [String] = []

    @Option(name: .long, help: "New folder for the merged checkpoint.")
    var out: String

    @Option(name: .long, help: "Seed of methods that draw random numbers.")
    var seed: UInt64 = 0

    @Option(
        name: .long,
        help:
            "Element type: float32, float16 or bfloat16. Default: what the recipe says, else float32 for folders and that of the inputs for recipes."
    )
    var dtype: String?

    @Option(name: .long, help: "Most bytes in one tensor file, such as 500MB. Default: 5GB.")
    var shardSize: String?

    @Flag(name: .long, help: "Print one line of JSON.")
    var json = false

    func run() async throws {
        let weights = try LocalEnsemblePosterior.mergeWeights(weights, of: inputs, sample: data)
        let request = LocalMerge.Request(
            inputs: inputs, weights: weights, out: out, seed: seed, dtype: dtype, shardSize: shardSize)
        try LocalMerge.run(request) { UserError.writeToStandardError($0 + "\n") }.show(json: json)
    }
}
