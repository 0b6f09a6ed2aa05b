import ArgumentParser
import NodeService

/// `atoll init`
struct InitCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "init",
        abstract: "Make a node's home: identity and configuration.",
        discussion: """
            The other commands do this by themselves; use it to choose text, port or threads first.

            Example:
              atoll init --domain notes='/home/me/notes/**/*.txt' --threads 4
            """)

    @OptionGroup var homeOptions: HomeOptions

    @Option(
        name: .long,
        help: "Multiaddr to listen on, such as /ip4/0.0.0.0/tcp/4650. Default: all interfaces, the last port.")
    var listen: String?

    @Option(name: .long, help: "Training threads; 0 takes one per core.")
    var threads: Int?

    @Option(
        name: .customLong("private-network"),
        help: "A key file (atoll swarm key): only nodes with the same key are spoken to.")
    var privateNetwork: String?

    @Option(
        name: .long,
        help: "Text to train on, as NAME=GLOB; may be given several times. Default: what is found on this machine.")
    var domain: [String] = []

    @Flag(name: .long, help: "Print one line of JSON.")
    var json = false

    func run() async throws {
        let home = try homeOptions.nodeHome()
        let summary = try home.initialize(
            NodeHome.Choices(
                listen: listen, threads: threads, privateNetwork: privateNetwork,
                domains: try NodeHome.parseDomains(domain)))
        try summary.show(json: json)
    }
}
