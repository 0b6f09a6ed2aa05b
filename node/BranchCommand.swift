import ArgumentParser
import NodeService

/// `atoll branch`
struct BranchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "branch",
        abstract: "Make, list, join and close branches of the swarm's model.",
        subcommands: [New.self, List.self, Join.self, Close.self])

    /// `atoll branch new`
    struct New: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a branch and go on in it: the node trains it from now on.",
            discussion: """
                The branch starts from the heads of a branch that this node holds, from an expert that it holds, or from
                the weighted average of several; with 'posterior' from all experts, in the shares in which the text of
                --domain speaks for them. Other members hear of it and may join.

                Example:
                  atoll branch new law --from main
                  atoll branch new both --from 'law:0.7,code:0.3'
                  atoll branch new tax --from posterior --domain '/text/tax/**'
                """)

        @OptionGroup var homeOptions: HomeOptions
        @Argument(help: "The branch's name.") var name: String

        @Option(
            name: .long,
            help: "What it starts from: main, a branch or an expert; several as NAME:WEIGHT,NAME:WEIGHT; or posterior.")
        var from: String

        @Option(
            name: .long, help: "Text that 'posterior' takes the shares from, as GLOB or NAME=GLOB; may be repeated.")
        var domain: [String] = []

        @Option(name: .long, help: "The tokens at which it ends. Default: as many as the swarm's charter says.")
        var tokens: Int?

        @Flag(name: .long, help: "Print one line of JSON.") var json = false

        func validate() throws {
            guard (from == "posterior") != domain.isEmpty else {
                throw ValidationError("--domain and --from posterior go together")
            }
        }

        func run() async throws {
            let control = NodeControl(home: try homeOptions.nodeHome())
            if from == "posterior" {
                try await control.newBranch(name, fromPosteriorOn: domain, tokenBudget: tokens).show(json: json)
            } else {
                try await control.newBranch(name, from: from, tokenBudget: tokens).show(json: json)
            }
        }
    }

    /// `atoll branch list`
    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the branches that the node knows; the one that it trains has a star.",
            discussion: "Example:\n  atoll branch list --json")

        @OptionGroup var homeOptions: HomeOptions
        @Flag(name: .long, help: "Print JSON.") var json = false

        func run() async throws {
            try await NodeControl(home: try homeOptions.nodeHome()).branches().show(json: json)
        }
    }

    /// `atoll branch join`
    struct Join: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Train another branch from now on.",
            discussion: """
                The branch's start comes from the swarm, and the node starts anew in the branch. What it holds of the branch
                before is kept: 'atoll branch join main' goes back.

                Example:
                  atoll branch join law
                """)

        @OptionGroup var homeOptions: HomeOptions
        @Argument(help: "The branch's name, or its id where several have the name.") var name: String
        @Flag(name: .long, help: "Print one line of JSON.") var json = false

        func run() async throws {
            try await NodeControl(home: try homeOptions.nodeHome()).joinBranch(name).show(json: json)
        }
    }

    /// `atoll branch close`
    struct Close: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "End a branch: publish its heads as an expert that any member can fetch.",
            discussion: """
                The branch's maker and the swarm's founder may do so, on a node that holds the branch's heads.

                Example:
                  atoll branch close law
                """)

        @OptionGroup var homeOptions: HomeOptions
        @Argument(help: "The branch's name, or its id where several have the name.") var name: String
        @Flag(name: .long, help: "Print one line of JSON.") var json = false

        func run() async throws {
            try await NodeControl(home: try homeOptions.nodeHome()).closeBranch(name).show(json: json)
        }
    }
}
