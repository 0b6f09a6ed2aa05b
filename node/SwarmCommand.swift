import ArgumentParser
import NodeService

/// `atoll swarm`
struct SwarmCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "swarm",
        abstract: "Form, join, list and leave swarms; say who may take part.",
        subcommands: [
            New.self, Join.self, List.self, Leave.self, Invite.self, Revoke.self, Key.self,
        ])

    /// Whether and how to follow the node afterwards.
    struct FollowOptions: ParsableArguments {
        @Flag(name: .long, help: "Return once the node runs, instead of following its progress.")
        var detach = false

        @Flag(name: .long, help: "Print JSON, one object per line.")
        var json = false
    }

    /// `atoll swarm new`
    struct New: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Form a swarm, start its first node and print an invite.",
            discussion: """
                SPEC is a YAML file (docs/operations.md lists its keys); without it the swarm trains the nano preset on
                this node's text. Ctrl-C stops following; the node goes on.

                Example:
                  atoll swarm new spec.yaml
                """)

        @OptionGroup var homeOptions: HomeOptions
        @OptionGroup var follow: FollowOptions
        @Argument(help: "The swarm's specification (YAML).") var spec: String?

        func run() async throws {
            let home = try homeOptions.nodeHome()
            let formed = try await SwarmFormation(home: home).new(specificationPath: spec)
            try formed.show(json: follow.json)
            try await Terminal.follow(home, options: follow)
        }
    }

    /// `atoll swarm join`
    struct Join: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Join a swarm and start training.",
            discussion: """
                Without an invite the local network is searched for a swarm that is open to anybody. Ctrl-C stops
                following; the node goes on.

                Example:
                  atoll swarm join
                  atoll swarm join atoll1...
                """)

        @OptionGroup var homeOptions: HomeOptions
        @OptionGroup var follow: FollowOptions
        @Argument(help: "The invite, one line; or the id of a swarm on the local network.") var invite: String?

        func run() async throws {
            let home = try homeOptions.nodeHome()
            let joined = try await SwarmFormation(home: home).join(invite)
            try joined.show(json: follow.json)
            try await Terminal.follow(home, options: follow)
        }
    }

    /// `atoll swarm list`
    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the swarms of this node.",
            discussion: "Example:\n  atoll swarm list --json")

        @OptionGroup var homeOptions: HomeOptions
        @Flag(name: .long, help: "Print JSON.") var json = false

        func run() async throws {
            try SwarmRegistry(home: try homeOptions.nodeHome()).list().show(json: json)
        }
    }

    /// `atoll swarm leave`
    struct Leave: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Leave the active swarm: stop the node and train for it no more.",
            discussion: """
                The swarm's folder, with its ledger and heads, is kept unless --delete is given.

                Example:
                  atoll swarm leave
                """)

        @OptionGroup var homeOptions: HomeOptions
        @Flag(name: .long, help: "Delete what this node holds of the swarm.") var delete = false

        func run() async throws {
            let home = try homeOptions.nodeHome()
            try await SwarmFormation(home: home).leave(deleting: delete).show(json: false)
        }
    }
}
