import NodeService

/// What commands print.
enum Terminal {
    /// One line on standard output, at once; a reader that has gone away ends the command at its next report.
    static func print(_ line: String) { try? StandardOutput.write(Array((line + "\n").utf8)) }

    /// Follows a node as a command's options ask for.
    static func follow(_ home: NodeHome, options: SwarmCommand.FollowOptions) async throws {
        guard !options.detach else { return }
        try await follow(home, json: options.json)
    }

    /// Prints the node's state every second until it is finished or Ctrl-C.
    static func follow(_ home: NodeHome, json: Bool) async throws {
        let follower = NodeFollower(home: home) { report in
            // A reader that has gone away: the next line finds that out again, and Ctrl-C ends the command.
            json ? try? report.show(json: true) : print(report.line)
        }
        switch try await follower.run() {
        case .finished: if !json { print("finished: atoll checkpoint --out DIR writes the model") }
        case .detached:
            if !json {
                print(
                    "detached; the node goes on. Look again with atoll node status --follow, stop it with atoll node stop"
                )
            }
        case .stopped: if !json { print("the node was stopped") }
        }
    }
}
