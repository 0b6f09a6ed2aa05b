import ArgumentParser
import NodeService

/// `atoll peers`
struct PeersCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "peers",
        abstract: "List the peers that the running node is connected to.",
        discussion: "Example:\n  atoll peers")

    @OptionGroup var homeOptions: HomeOptions
    @Flag(name: .long, help: "Print JSON.") var json = false

    func run() async throws {
        try await NodeControl(home: try homeOptions.nodeHome()).peers().show(json: json)
    }
}

/// `atoll links`
struct LinksCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "links",
        abstract: "List the links to the members of the swarm: rates, codec tables, bytes of the last round.",
        discussion: """
            UP is what the peer says it receives from this node, DOWN what this node receives from it. TABLE names version
            and codec of what is sent there, THEIRS of what comes from there; PREDICTED is what the last contribution was
            to take at most, REAL what it took.

            Example:
              atoll links
            """)

    @OptionGroup var homeOptions: HomeOptions
    @Flag(name: .long, help: "Print JSON.") var json = false

    func run() async throws {
        try await NodeControl(home: try homeOptions.nodeHome()).links().show(json: json)
    }
}

/// `atoll ping`
struct PingCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ping",
        abstract: "Measure round trips from the running node to a connected peer.",
        discussion: """
            Example:
              atoll ping 12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo
              atoll ping Ve2Xo --count 10
            """)

    @OptionGroup var homeOptions: HomeOptions
    @Argument(help: "The peer's id, or a part of it that no other connected peer's id has.") var peer: String
    @Option(name: .long, help: "Round trips, one after the other.") var count = 4
    @Flag(name: .long, help: "Print one line of JSON at the end.") var json = false

    func run() async throws {
        let summary = try await NodeControl(home: try homeOptions.nodeHome()).ping(peer, count: count) {
            if !json { Terminal.print($0.line) }
        }
        try summary.show(json: json)
    }
}
