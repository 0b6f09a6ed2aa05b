import JSONText
import Swarm
import Transport

/// Talks to the running node of a home over its control socket: one JSON object per line, both ways.
package struct NodeControl: Sendable {
    private let home: NodeHome

    /// Works on a home.
    package init(home: NodeHome) { self.home = home }

    /// An invite as text.
    package struct InviteLine: Sendable {
        /// The line.
        package var text: String
    }

    /// The node's state.
    package func status() async throws(UserError) -> NodeReport {
        guard let report = NodeReport(json: try await ask("status")) else { throw Self.unintelligible }
        return report
    }

    /// An invite to the node's swarm with the node as the way in.
    package func invite() async throws(UserError) -> InviteLine {
        guard let text = try await ask("invite").object?["invite"]?.string?.string else { throw Self.unintelligible }
        return InviteLine(text: text)
    }

    /// Asks the node to stop; returns once it has promised to.
    package func stop() async throws(UserError) { _ = try await ask("stop") }

    private static let unintelligible = UserError(
        "the node's answer is not understood", cure: "Restart the node: it may be of another version",
        exitCode: .unavailable)

    private func ask(_ command: String) async throws(UserError) -> JSONValue {
        let client: ControlClient
        do { client = try await ControlClient.connect(path: home.controlSocketPath) } catch {
            throw UserError(
                "no node runs in \(home.path)", cure: "Start it with atoll node start", exitCode: .unavailable)
        }
        do {
            let question: JSONValue = ["command": .text(command)]
            try await client.send(question.line)
            guard let line = try await client.nextLine() else { throw Self.unintelligible }
            await client.close()
            let answer = try JSONValue(parsing: line)
            if let reason = answer.object?["error"]?.string {
                throw UserError("the node refuses: \(reason)", cure: "See atoll node logs", exitCode: .unavailable)
            }
            return answer
        } catch {
            await client.close()
            if error is JSONError { throw Self.unintelligible }
            throw UserError(wrapping: error)
        }
    }
}

// The daemon's side.
extension NodeDaemon {
    /// Answers one line of a control client.
    func answer(_ line: [UInt8], reply: ControlReply) async {
        let command = (try? JSONValue(parsing: line))?.object?["command"]?.string?.string
        switch command {
        case "status": await reply.send((await report()).json.line)
        case "invite":
            let answer: JSONValue = ["invite": .text(invite().text)]
            await reply.send(answer.line)
        case "stop":
            let answer: JSONValue = ["stopping": true]
            await reply.send(answer.line)
            stop()
        default:
            let answer: JSONValue = ["error": "unknown command"]
            await reply.send(answer.line)
        }
    }
}
