import JSONText
import PeerNet
import Swarm
import Transport

/// Talks to the running node of a home over its control socket: one JSON object per line, both ways.
package struct NodeControl: Sendable {
    let home: NodeHome

    /// Works on a home.
    package init(home: NodeHome) { self.home = home }

    /// What was signed, until when and for how many peers it is good.
    package struct InviteLimits: Sendable {
        /// Sixteen hexadecimal digits.
        package var serial: String
        /// Peers that may come in.
        package var uses: Int
        /// Unix time in seconds.
        package var expires: UInt64

        init?(_ answer: JSONObject?) {
            guard let serial = answer?["serial"]?.string?.string, let uses = answer?["uses"]?.integer,
                let expires = answer?["expires"]?.integer
            else { return nil }
            self.serial = serial
            self.uses = uses
            self.expires = UInt64(clamping: expires)
        }

        /// For people.
        package var text: String { "\(uses == 1 ? "one node" : "\(uses) nodes"), until \(WallTime.text(expires))" }
    }

    /// An invite as text.
    package struct InviteLine: Sendable {
        /// The line.
        package var line: String
        /// Where the swarm asks for capabilities.
        package var limits: InviteLimits?
    }

    /// A delegate that was named.
    package struct DelegationLine: Sendable {
        /// Its peer id.
        package var delegate: String
        /// What it may do.
        package var limits: InviteLimits
    }

    /// What was revoked.
    package struct RevocationLine: Sendable {
        /// A serial or a peer id.
        package var target: String
        /// Whether it is a peer id.
        package var isPeer: Bool
    }

    /// What an invite should be; nil takes the default.
    package struct InviteChoices: Sendable {
        /// Peers that may come in by it; one.
        package var uses: Int?
        /// How long it is good, such as 7d, 12h, 30m or 45s; a week.
        package var lifetime: String?
        /// The only peer that may come in by it; whoever has the line.
        package var peer: String?

        /// Wraps the choices.
        package init(uses: Int? = nil, lifetime: String? = nil, peer: String? = nil) {
            self.uses = uses
            self.lifetime = lifetime
            self.peer = peer
        }

        func question(_ command: String) throws(UserError) -> JSONObject {
            var question = JSONObject()
            question["command"] = .text(command)
            if let uses { question["uses"] = .integer(Int64(uses)) }
            if let lifetime { question["seconds"] = .integer(Int64(clamping: try WallTime.seconds(lifetime))) }
            if let peer { question["peer"] = .text(peer) }
            return question
        }
    }

    /// The node's state.
    package func status() async throws(UserError) -> NodeReport {
        guard let report = NodeReport(json: try await ask(["command": "status"])) else { throw Self.unintelligible }
        return report
    }

    /// An invite to the node's swarm with the node as the way in.
    package func invite(_ choices: InviteChoices = InviteChoices()) async throws(UserError) -> InviteLine {
        let answer = try await ask(.object(try choices.question("invite"))).object
        guard let line = answer?["invite"]?.string?.string else { throw Self.unintelligible }
        return InviteLine(line: line, limits: InviteLimits(answer))
    }

    /// Lets a member issue invites, for as many peers in all as `choices` say.
    package func delegate(
        to peer: String, _ choices: InviteChoices
    ) async throws(UserError) -> DelegationLine {
        var question = try choices.question("delegate")
        question["delegate"] = .text(peer)
        let answer = try await ask(.object(question)).object
        guard let delegate = answer?["delegate"]?.string?.string, let limits = InviteLimits(answer) else {
            throw Self.unintelligible
        }
        return DelegationLine(delegate: delegate, limits: limits)
    }

    /// Ends an invite or delegation by its serial, or a membership by a peer id.
    package func revoke(_ target: String) async throws(UserError) -> RevocationLine {
        let answer = try await ask(["command": "revoke", "target": .text(target)]).object
        guard let revoked = answer?["revoked"]?.string?.string, let kind = answer?["kind"]?.string?.string else {
            throw Self.unintelligible
        }
        return RevocationLine(target: revoked, isPeer: kind == "peer")
    }

    /// The peers that the node is connected to.
    package func peers() async throws(UserError) -> PeerTable { PeerTable(peers: try await status().peers) }

    /// The links to the members that the node is connected to.
    package func links() async throws(UserError) -> LinkTableReport {
        guard let links = (try await ask(["command": "links"])).object?["links"],
            let report = LinkTableReport(json: links)
        else { throw Self.unintelligible }
        return report
    }

    /// Round trips from the node to a connected peer by libp2p's ping, one after the other.
    ///
    /// - Parameters:
    ///   - peer: its id, or a part of it that no other connected peer's id has.
    ///   - count: how many, 1 to 1000.
    ///   - progress: hears each answer.
    package func ping(
        _ peer: String, count: Int, progress: (PingAnswer) -> Void
    ) async throws(UserError) -> PingSummary {
        try checkFlag("--count", count, in: 1...1000)
        var answers: [PingAnswer] = []
        for _ in 0..<count {
            let answer = try await ask(["command": "ping", "peer": .text(peer)]).object
            guard let peerID = answer?["peer_id"]?.string?.string, let milliseconds = answer?["milliseconds"]?.double
            else { throw Self.unintelligible }
            answers.append(PingAnswer(peerID: peerID, milliseconds: milliseconds))
            progress(answers[answers.count - 1])
        }
        return PingSummary(answers: answers)
    }

    /// Asks the node to stop; returns once it has promised to.
    package func stop() async throws(UserError) { _ = try await ask(["command": "stop"]) }

    static let unintelligible = UserError(
        "the node's answer is not understood", cure: "Restart the node: it may be of another version",
        exitCode: .unavailable)

    /// Whether a node runs in the home.
    func isAnswered() async -> Bool { await ControlClient.isAnswered(path: home.controlSocketPath) }

    func ask(_ question: JSONValue) async throws(UserError) -> JSONValue {
        let client: ControlClient
        do { client = try await ControlClient.connect(path: home.controlSocketPath) } catch {
            throw UserError(
                "no node runs in \(home.path)", cure: "Start it with atoll node start", exitCode: .unavailable)
        }
        do {
            try await client.send(question.line)
            guard let line = try await client.nextLine() else { throw Self.unintelligible }
            await client.close()
            let answer = try JSONValue(parsing: line)
            if let reason = answer.object?["error"]?.string {
                let cure = answer.object?["cure"]?.string?.string
                let code = answer.object?["exit_code"]?.integer
                    .flatMap { UserError.ExitCode(rawValue: Int32(clamping: $0)) }
                throw UserError(
                    reason.string, cure: cure ?? "See atoll node logs", exitCode: code ?? .unavailable)
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
        let question = (try? JSONValue(parsing: line))?.object
        switch question?["command"]?.string?.string {
        case "status": await reply.send((await report()).json.line)
        case "links":
            let answer: JSONValue = ["links": LinkTableReport(core.linkStatuses).json]
            await reply.send(answer.line)
        case "invite": await reply.send(invite(question ?? JSONObject()).line)
        case "delegate": await reply.send(delegate(question ?? JSONObject()).line)
        case "revoke": await reply.send(revoke(question?["target"]?.string?.string ?? "").line)
        case "ping": await reply.send((await ping(question?["peer"]?.string?.string ?? "")).line)
        case "doctor": await reply.send((await diagnosis()).json.line)
        case "stop":
            let answer: JSONValue = ["stopping": true]
            await reply.send(answer.line)
            stop()
        case let command?:
            let answer = await answerAboutBranches(command, question ?? JSONObject())
            await reply.send((answer ?? Self.unknownCommand).line)
        case nil: await reply.send(Self.unknownCommand.line)
        }
    }

    private static let unknownCommand: JSONValue = ["error": "the node does not know this command"]

    /// A round trip to the one connected peer whose id has `part` in it.
    private func ping(_ part: String) async -> JSONValue {
        let cure: JSONValue = "atoll peers lists those that are connected"
        let matching = await host.peers().map(\.peerID).filter { "\($0)".contains(part) }
        guard let peer = matching.first else {
            return ["error": .text("no connected peer's id has '\(part)' in it"), "cure": cure]
        }
        guard matching.count == 1 else {
            return ["error": .text("\(matching.count) connected peers' ids have '\(part)' in them"), "cure": cure]
        }
        do {
            let time = try await host.ping(peer)
            return ["peer_id": .text("\(peer)"), "milliseconds": .number(time.inSeconds * 1000)]
        } catch {
            return ["error": .text("\(peer) does not answer"), "cure": cure]
        }
    }
}
