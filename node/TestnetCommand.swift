import ArgumentParser
import NodeService

/// `atoll testnet`
struct TestnetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "testnet",
        abstract: "Whole swarms of real node processes on this machine.",
        subcommands: [Demo.self, Links.self])

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

    /// `atoll testnet links`
    struct Links: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Four nodes on links of 0.2, 1, 5 and 20 Mbit/s, with and without negotiation, and on fast ones.",
            discussion: """
                Three swarms one after the other, each of four processes whose links are limited both ways by their own
                upload and download caps. Prints round times, the share of time inside training steps, and every link.

                Example:
                  atoll testnet links --out build/links
                """)

        @Option(name: .long, help: "The output folder; a comparison's folder is replaced.") var out = "build/links"
        @Option(name: .long, help: "Seconds that are measured of each swarm.") var seconds = 90
        @Option(name: .long, help: "The model: nano or micro.") var model = "nano"
        @Option(name: .long, help: "The swarms' seed.") var seed: UInt64 = 1

        func run() async throws {
            let plan = LinksPlan(outputPath: out, seconds: seconds, seed: seed, model: model)
            try await LinksRun(plan: plan) { Terminal.print($0) }.run()
        }
    }
}
