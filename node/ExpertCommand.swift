import ArgumentParser
import NodeService

/// `atoll expert`
struct ExpertCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "expert",
        abstract: "List, fetch and publish experts: checkpoints that members of the swarm share.",
        subcommands: [List.self, Fetch.self, Publish.self])

    /// `atoll expert list`
    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the experts that the node knows.",
            discussion: "Example:\n  atoll expert list --json")

        @OptionGroup var homeOptions: HomeOptions
        @Flag(name: .long, help: "Print JSON.") var json = false

        func run() async throws {
            try await NodeControl(home: try homeOptions.nodeHome()).experts().show(json: json)
        }
    }

    /// `atoll expert fetch`
    struct Fetch: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Get an expert from the swarm as a Hugging Face folder; every byte is checked.",
            discussion: """
                The node keeps what it fetches and gives it to others.

                Example:
                  atoll expert fetch law --out law-expert
                """)

        @OptionGroup var homeOptions: HomeOptions
        @Argument(help: "The expert's name, or at least eight digits of its id.") var name: String
        @Option(name: .long, help: "New folder for the checkpoint.") var out: String
        @Flag(name: .long, help: "Print one line of JSON.") var json = false

        func run() async throws {
            try await NodeControl(home: try homeOptions.nodeHome()).fetchExpert(name, to: out).show(json: json)
        }
    }

    /// `atoll expert publish`
    struct Publish: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Offer a checkpoint folder of the swarm's architecture and tokenizer to all members.",
            discussion: "Example:\n  atoll expert publish merged --name law-and-code")

        @OptionGroup var homeOptions: HomeOptions
        @Argument(help: "The checkpoint folder.") var path: String
        @Option(name: .long, help: "The expert's name.") var name: String
        @Flag(name: .long, help: "Print one line of JSON.") var json = false

        func run() async throws {
            try await NodeControl(home: try homeOptions.nodeHome()).publishExpert(path, name: name).show(json: json)
        }
    }
}
