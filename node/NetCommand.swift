import ArgumentParser
import NodeService

/// `atoll net`
struct NetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "net",
        abstract: "The bare libp2p node, for diagnosis and for trying other implementations: no swarm needed.",
        discussion: """
            Example, in two terminals:
              atoll net listen /ip4/127.0.0.1/tcp/4001 --topic reef
              atoll net dial /ip4/127.0.0.1/tcp/4001
            """,
        subcommands: [Listen.self, Dial.self, Publish.self, Subscribe.self, Find.self])

    /// Which listener is meant.
    struct ControlOptions: ParsableArguments {
        @Option(
            name: .long,
            help: "The listener's control socket. Default: $XDG_RUNTIME_DIR/atoll-net.sock, else ~/.atoll-net.sock.")
        var control: String?

        var path: String { control ?? NetSettings.defaultControlPath }
    }

    /// Prints an event in the form that was asked for.
    static func show(_ event: NetEvent, json: Bool) {
        // A reader that has gone away is no reason to stop listening.
        try? event.show(json: json)
    }

    /// `atoll net listen`
    struct Listen: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Listen, follow topics, and print what happens until Ctrl-C; the full address comes first.",
            discussion: """
                Example:
                  atoll net listen /ip4/127.0.0.1/tcp/4001 --topic reef --json
                  atoll net listen /ip4/127.0.0.1/tcp/0 --dht /ipfs/kad/1.0.0 --bootstrap /ip4/127.0.0.1/tcp/4001/p2p/12D3KooW…
                """)

        @Argument(help: "Addresses to listen on; port 0 takes a free one.") var addresses: [String]
        @Option(name: .long, help: "A gossip topic to follow; may be repeated.") var topic: [String] = []
        @Option(name: .long, help: "Take part in the hash table of this protocol.") var dht: String?
        @Option(name: .long, help: "A peer to connect to at the start; may be repeated.") var bootstrap: [String] = []
        @Flag(name: .long, help: "Look for peers on the local network (multicast DNS) and connect to them.")
        var mdns = false
        @OptionGroup var controlOptions: ControlOptions
        @Flag(name: .long, help: "Print one JSON object a line.") var json = false

        func run() async throws {
            let json = json
            try await NetListener.run(
                NetSettings(
                    listen: addresses, topics: topic, table: dht, bootstrap: bootstrap, discoversLocally: mdns,
                    controlPath: controlOptions.path)
            ) { NetCommand.show($0, json: json) }
        }
    }

    /// `atoll net dial`
    struct Dial: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Dial an address and say what was negotiated.",
            discussion: """
                Example:
                  atoll net dial /ip4/127.0.0.1/tcp/4001
                  atoll net dial /ip4/127.0.0.1/tcp/4001/p2p/12D3KooW… --find 12D3KooW… --dht /ipfs/kad/1.0.0
                """)

        @Argument(help: "The peer's address; with /p2p/ID at its end only that peer is accepted.") var address: String
        @Option(name: .long, help: "Round trips to measure.") var ping = 3
        @Option(name: .long, help: "Open so many streams of /echo/1.0.0 at once and compare what comes back.")
        var echo = 0
        @Option(name: .long, help: "Look this peer up in the hash table, starting from the dialed one.")
        var find: String?
        @Option(name: .long, help: "The hash table's protocol.") var dht = "/ipfs/kad/1.0.0"
        @Flag(name: .long, help: "Print one JSON object.") var json = false

        func run() async throws {
            try await NetDial(address: address, pings: ping, echoes: echo, sought: find, table: dht).run()
                .show(json: json)
        }
    }

    /// `atoll net publish`
    struct Publish: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Publish a file on a topic through the running listener.",
            discussion: "Example:\n  atoll net publish --topic reef message.txt")

        @Option(name: .long, help: "The topic.") var topic: String
        @Argument(help: "The file; at most 1023 KiB.") var file: String
        @OptionGroup var controlOptions: ControlOptions
        @Flag(name: .long, help: "Print one JSON object.") var json = false

        func run() async throws {
            try await NetPublication(controlPath: controlOptions.path).publish(file, to: topic).show(json: json)
        }
    }

    /// `atoll net subscribe`
    struct Subscribe: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print what arrives on topics through the running listener, until Ctrl-C.",
            discussion: "Example:\n  atoll net subscribe reef --count 10")

        @Argument(help: "Topics.") var topics: [String]
        @Option(name: .long, help: "End after so many messages.") var count: Int?
        @OptionGroup var controlOptions: ControlOptions
        @Flag(name: .long, help: "Print one JSON object a line.") var json = false

        func run() async throws {
            try await NetPublication(controlPath: controlOptions.path).subscribe(topics, countMax: count) {
                NetCommand.show($0, json: json)
            }
        }
    }

    /// `atoll net find`
    struct Find: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Look a peer up in the running listener's hash table.",
            discussion: "Example:\n  atoll net find 12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo")

        @Argument(help: "The peer's id.") var peer: String
        @OptionGroup var controlOptions: ControlOptions
        @Flag(name: .long, help: "Print one JSON object.") var json = false

        func run() async throws {
            try await NetPublication(controlPath: controlOptions.path).find(peer).show(json: json)
        }
    }
}
