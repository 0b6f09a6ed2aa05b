import ArgumentParser
import NodeService

/// `atoll node`
struct NodeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "node",
        abstract: "Run, start, stop and watch this machine's node.",
        subcommands: [Run.self, Start.self, Stop.self, Status.self, Logs.self])

    /// `atoll node run`
    struct Run: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Run the node in the foreground until it is stopped.",
            discussion: """
                Logs go to standard error. SIGTERM and Ctrl-C stop it after the running step, with its state saved.

                Example:
                  atoll node run
                """)

        @OptionGroup var homeOptions: HomeOptions

        @Option(name: .long, help: "Listen on this TCP port instead of the home's last one.")
        var port: UInt16?

        @Option(name: .long, help: "Training threads; 0 takes one per core. Default: the configuration's.")
        var threads: Int?

        func run() async throws {
            try await NodeDaemon.run(home: try homeOptions.nodeHome(), port: port, threads: threads)
        }
    }

    /// `atoll node start`
    struct Start: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Start the node in the background.", discussion: "Example:\n  atoll node start")

        @OptionGroup var homeOptions: HomeOptions

        @Option(name: .long, help: "Listen on this TCP port instead of the home's last one.")
        var port: UInt16?

        func run() async throws {
            let home = try homeOptions.nodeHome()
            let report = try await NodeLauncher(home: home).start(port: port)
            try report.show(json: false)
        }
    }

    /// `atoll node stop`
    struct Stop: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Stop the node after its running step, with its state saved.",
            discussion: "Example:\n  atoll node stop")

        @OptionGroup var homeOptions: HomeOptions

        func run() async throws {
            let home = try homeOptions.nodeHome()
            try await NodeLauncher(home: home).stop()
            Terminal.print("stopped")
        }
    }

    /// `atoll node status`
    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show loss, tokens per second, rounds, peers and bytes.",
            discussion: "Example:\n  atoll node status --follow")

        @OptionGroup var homeOptions: HomeOptions
        @Flag(name: .long, help: "Print a line every second until Ctrl-C.") var follow = false
        @Flag(name: .long, help: "Print JSON.") var json = false

        func run() async throws {
            let home = try homeOptions.nodeHome()
            if follow {
                try await Terminal.follow(home, json: json)
            } else {
                try await NodeControl(home: home).status().show(json: json)
            }
        }
    }

    /// `atoll node logs`
    struct Logs: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print the log of the node in the background.",
            discussion: "Example:\n  atoll node logs --lines 50")

        @OptionGroup var homeOptions: HomeOptions
        @Option(name: .long, help: "How many of the last lines.") var lines = 100

        func run() async throws {
            for line in try NodeLauncher(home: try homeOptions.nodeHome()).lastLogLines(max(0, lines)) {
                Terminal.print(line)
            }
        }
    }
}

/// `atoll checkpoint`
struct CheckpointCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "checkpoint",
        abstract: "Write the swarm's model out of a running or stopped node as a Hugging Face folder.",
        discussion: "Example:\n  atoll checkpoint --out model")

    @OptionGroup var homeOptions: HomeOptions
    @Option(name: .long, help: "The folder to write; it must not exist or be empty.") var out: String
    @Flag(name: .long, help: "Print JSON.") var json = false

    func run() async throws {
        try SwarmCheckpoint(home: try homeOptions.nodeHome()).write(to: out).show(json: json)
    }
}
