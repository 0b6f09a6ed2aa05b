import ArgumentParser
import NodeService

/// `atoll lab`
struct LabCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lab",
        abstract: "Compare ways to synchronize, by training many small models on this machine.",
        discussion: """
            Simulates workers in one process with the code that swarms run (trainer, codecs, aggregation, outer step), for
            every configuration and seed of a grid. Says how long it will take, and goes on with the next unfinished
            run when started again. Leaves results.jsonl, table.md and two plots.
            With 'kind: branch-train-merge' it trains a seed model and an expert per domain, and compares ensembles and
            averages of the experts with the model trained on everything.

            Example:
              atoll lab testnets/lab/precision.yaml --out precision
            """)

    @Argument(help: "The grid (YAML).")
    var grid: String

    @Option(name: .long, help: "Folder for results, table and plots; made where it is missing.")
    var out: String

    @Option(name: .long, help: "Runs at once. Default: one per core.")
    var jobs: Int?

    @Flag(name: .long, help: "Only say how long it would take.")
    var estimate = false

    @Flag(name: .long, help: "Print one line of JSON at the end.")
    var json = false

    func run() async throws {
        Interruption.catchSignals()
        let request = LocalLab.Request(grid: grid, output: out, jobs: jobs, estimatesOnly: estimate)
        if try LocalBranchLab.describes(grid) {
            try await LocalBranchLab(request) { UserError.writeToStandardError($0 + "\n") }.run().show(json: json)
            return
        }
        try await LocalLab(request) { UserError.writeToStandardError($0 + "\n") }.run().show(json: json)
    }
}
