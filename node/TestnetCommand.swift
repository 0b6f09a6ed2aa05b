import ArgumentParser
import NodeService

/// `atoll testnet`
struct TestnetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "testnet",
        abstract: "Whole swarms of real node processes on this machine.",
        subcommands: [Demo.self])

    /// `atoll testnet demo`
    struct Demo: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Four nodes train one model over loopback, one is killed and comes back; compare with one process.",
            discussion: """
                Takes some minutes. Leaves checkpoint/, merged/ and report.json in the output folder.

                Example:
                  atoll testnet demo --out build/demo
                """)

        @Option(name: .long, help: "The output folder; a demo's folder is replaced.") var out = "build/demo"
        @Option(name: .long, help: "Tokens that the swarm trains.") var tokens: Int = DemoPlan.standardTokens
        @Option(name: .long, help: "The swarm's seed.") var seed: UInt64 = 1
        @Flag(name: .long, help: "Kill no node.") var noKill = false
        @Flag(name: .long, help: "Also train one node alone for the same steps.") var alone = false

        func run() async throws {
            let plan = DemoPlan(outputPath: out, tokens: tokens, seed: seed, kills: !noKill, trainsAlone: alone)
            try await DemoRun(plan: plan) { Terminal.print($0) }.run()
        }

    }
}
