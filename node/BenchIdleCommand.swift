import ArgumentParser
import NodeService

/// `atoll bench idle`
struct BenchIdleCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "idle",
        abstract: "Measure what connected peers cost that have nothing to say: processor, memory, traffic.",
        discussion: "Everything stays on 127.0.0.1.\n\nExample:\n  atoll bench idle --peers 100 --seconds 60 --json")

    @Option(name: .long, help: "Connected peers, in a process of their own.") var peers = 100
    @Option(name: .long, help: "Seconds that are measured.") var seconds = 60
    @Option(name: .customLong("as-peers-of"), help: .hidden) var asPeersOf: String?
    @Flag(name: .long, help: "Print one line of JSON.") var json = false

    func run() async throws {
        if let asPeersOf { return try await IdleBench.serve(peers: peers, of: asPeersOf) }
        try await IdleBench.run(IdleBench.Request(peers: peers, seconds: seconds)).show(json: json)
    }
}
