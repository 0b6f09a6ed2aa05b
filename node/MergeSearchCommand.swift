import ArgumentParser
import NodeService

/// `atoll merge search`
struct MergeSearchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "search",
        abstract: "Search the weights and densities of a recipe for the merge that predicts some text best.",
        discussion: """
            Tries the recipe's own numbers, equal weights, and then what CMA-ES proposes: every weight, density, scale and
            share t of the recipe, each number of a gradient by itself. Every other window of the text is searched on, the
            rest only measures. Models are held in memory. With --trials in place of --budget the same seed gives the same
            merge. Ctrl-C ends the search early and keeps the best so far.

            Example:
              atoll merge search recipe.yaml --data c='src/**/*.c' py='**/*.py' --budget 10m --out merged
            """)

    @Argument(help: "The recipe file (YAML or JSON).") var recipe: String

    @Option(
        name: .long, parsing: .upToNextOption,
        help: "Text: globs, folders or files, each optionally as NAME=GLOB for a domain of its own.")
    var data: [String] = []

    @Option(name: .long, help: "Time to search, such as 90s, 10m or 1h.")
    var budget: String?

    @Option(name: .long, help: "Most merges to try.")
    var trials: Int?

    @Option(name: .long, help: "Most windows of text per domain; longer text is sampled evenly.")
    var windows = 256

    @Option(name: .long, help: "New folder for the best merge.")
    var out: String?

    @Option(name: .long, help: "Seed of the search, and of methods that draw random numbers.")
    var seed: UInt64 = 0

    @Option(
        name: .long, help: "Element type of the best merge. Default: what the recipe says, else that of the inputs.")
    var dtype: String?

    @Option(name: .long, help: "Most bytes in one tensor file, such as 500MB. Default: 5GB.")
    var shardSize: String?

    @Option(name: .long, help: "Threads; 0 takes one per core.")
    var threads: Int?

    @Flag(name: .long, help: "Print one line of JSON.")
    var json = false

    func run() async throws {
        let request = LocalMergeSearch.Request(
            recipe: recipe, data: data, budget: budget, trials: trials, windows: windows, out: out, seed: seed,
            dtype: dtype, shardSize: shardSize, threads: threads)
        try LocalMergeSearch.run(request) { UserError.writeToStandardError($0 + "\n") }.show(json: json)
    }
}
