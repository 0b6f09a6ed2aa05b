import NodeService

/// What commands print.
enum Terminal {
    /// One line on standard output, at once.
    static func print(_ line: String) { StandardOutput.write(line + "\n") }

    /// A result, as text or as one line of JSON.
    static func show(_ result: some Presentable, json: Bool) {
        print(json ? StandardOutput.jsonLine(result) : result.text)
    }

    /// Follows a node as a command's options ask for.
    static func follow(_ home: NodeHome, options: SwarmCommand.FollowOptions) async throws {
        guard !options.detach else { return }
        try await follow(home, json: options.json)
    }

    /// Prints the node's state every second until it is finished or Ctrl-C.
    static func follow(_ home: NodeHome, json: Bool) async throws {
        let follower = NodeFollower(home: home) { report in
            print(json ? StandardOutput.jsonLine(report) : report.line)
        }
        switch try await follower.run() {
        case .finished: if !json { print("finished: atoll checkpoint --out DIR writes the model") }
        case .detached:
            if !json { print("detached; the node goes on. Look again with atoll node status --follow, stop it with atoll node stop") }
        case .stopped: if !json { print("the node was stopped") }
        }
    }
}
