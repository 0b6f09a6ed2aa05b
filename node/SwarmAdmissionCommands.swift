import ArgumentParser
import NodeService

extension SwarmCommand {
    /// `atoll swarm invite`
    struct Invite: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print an invite to the active swarm, with this running node as the way in.",
            discussion: """
                Where the charter says 'admission: invite', only the founder and its delegates can: exit code 77 on other
                nodes. An invite lets one node in within a week, unless told otherwise.

                Example:
                  atoll swarm invite
                  atoll swarm invite --uses 5 --expires 12h
                  atoll swarm invite --peer 12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo
                  atoll swarm invite --delegate 12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo --uses 20
                """)

        @OptionGroup var homeOptions: HomeOptions
        @Option(name: .long, help: "Nodes that may come in by it, 1 to 1000. Default: 1.") var uses: Int?
        @Option(name: .long, help: "How long it is good, such as 7d, 12h, 30m or 45s. Default: 7d.") var expires:
            String?
        @Option(name: .long, help: "The peer id of the only node that may use it.") var peer: String?

        @Option(
            name: .long,
            help: "Print no invite, but let the member with this peer id issue some, for --uses nodes in all.")
        var delegate: String?

        @Flag(name: .long, help: "Print JSON.") var json = false

        func validate() throws {
            if delegate != nil, peer != nil { throw ValidationError("--peer and --delegate exclude each other") }
        }

        func run() async throws {
            let control = NodeControl(home: try homeOptions.nodeHome())
            let choices = NodeControl.InviteChoices(uses: uses, lifetime: expires, peer: peer)
            if let delegate {
                try await control.delegate(to: delegate, choices).show(json: json)
            } else {
                try await control.invite(choices).show(json: json)
            }
        }
    }

    /// `atoll swarm revoke`
    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "End an invite, a delegation or a membership.",
            discussion: """
                A serial ends the invite or delegation and the membership of all who came by it; a peer id ends that
                node's. It cannot be undone. Only the founder can, and a delegate for its own invites: exit code 77
                on other nodes.

                Example:
                  atoll swarm revoke 3f9a21c408d77be1
                  atoll swarm revoke 12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo
                """)

        @OptionGroup var homeOptions: HomeOptions
        @Argument(help: "A serial of sixteen hexadecimal digits, or a peer id.") var target: String
        @Flag(name: .long, help: "Print JSON.") var json = false

        func run() async throws {
            try await NodeControl(home: try homeOptions.nodeHome()).revoke(target).show(json: json)
        }
    }

    /// `atoll swarm key`
    struct Key: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make the key of a private network.",
            discussion: """
                Nodes whose config.yaml names the file as private_network speak only to nodes with the same key. The file
                is what go-libp2p and ipfs call swarm.key.

                Example:
                  atoll swarm key --out network.key
                """)

        @Option(name: .long, help: "The file to write; it must not exist.") var out: String
        @Flag(name: .long, help: "Print JSON.") var json = false

        func run() async throws { try NetworkKeyFile.create(out).show(json: json) }
    }
}
