package import JSONText
import Swarm

/// What a running node says of itself: the answer of `node status`, one line of `node status --follow`.
package struct NodeReport: Equatable, Sendable {
    /// One fragment's newest head.
    package struct Fragment: Equatable, Sendable {
        /// Final commits behind the head.
        package var round: UInt64
        /// The head's digest, hexadecimal.
        package var head: String
        /// Whether its last round is over.
        package var closed: Bool
    }

    /// One connected peer.
    package struct Peer: Equatable, Sendable {
        /// The peer id as text.
        package var peerID: String
        /// The connection's remote multiaddr.
        package var address: String
        /// Whether this node dialed.
        package var isOutbound: Bool
        /// What the peer says it runs, once it has.
        package var agent: String
        /// Smoothed round-trip time in milliseconds, once measured.
        package var roundTripMilliseconds: Double?
        /// Bytes written to sockets for it.
        package var bytesSent: UInt64
        /// Bytes read from sockets from it.
        package var bytesReceived: UInt64

        var json: JSONValue {
            [
                "peer_id": .text(peerID), "address": .text(address), "outbound": .bool(isOutbound),
                "agent": .text(agent),
                "round_trip_milliseconds": roundTripMilliseconds.map(JSONValue.number) ?? .null,
                "bytes_sent": .integer(Int64(clamping: bytesSent)),
                "bytes_received": .integer(Int64(clamping: bytesReceived)),
            ]
        }
    }

    /// The swarm's name.
    package var swarmName: String
    /// The swarm's id, hexadecimal.
    package var swarmID: String
    /// This node's peer id as text.
    package var peerID: String
    /// What the node is doing: catching-up, training, closing or finished.
    package var phase: String
    /// The address that an invite would carry.
    package var addresses: [String]
    /// Inner steps of this node in this swarm.
    package var steps: UInt64
    /// Tokens of this node in this swarm.
    package var tokens: UInt64
    /// The running mean of the last steps' training loss, nats per token; nil before the first step.
    package var loss: Double?
    /// Tokens per second of this node over the last steps.
    package var tokensPerSecond: Double
    /// The share of wall time since training began that was spent inside steps.
    package var utilisation: Double
    /// Tokens of all nodes in final commits.
    package var committedTokens: UInt64
    /// The charter's budget.
    package var tokenBudget: UInt64
    /// Bytes written to sockets by this process.
    package var bytesSent: UInt64
    /// Bytes read from sockets by this process.
    package var bytesReceived: UInt64
    /// Rounds of all fragments together that this process has followed.
    package var roundsFollowed: UInt64
    /// Why the disk takes nothing now; nil while it does. Training goes on, but what is not on disk is not signed.
    package var diskProblem: String?
    /// Why no member lets this node in, with the cure; nil once one does.
    package var refusal: String?
    /// The id of the branch that the node trains.
    package var branch = Branch.main
    /// The fragments' heads, in order.
    package var fragments: [Fragment]
    /// The connected peers.
    package var peers: [Peer]

    /// The report as JSON.
    package var json: JSONValue {
        [
            "swarm_name": .text(swarmName), "swarm_id": .text(swarmID), "peer_id": .text(peerID), "phase": .text(phase),
            "branch": .text(branch),
            "addresses": .array(addresses.map(JSONValue.text)), "steps": .integer(Int64(clamping: steps)),
            "tokens": .integer(Int64(clamping: tokens)), "loss": loss.map(JSONValue.number) ?? .null,
            "tokens_per_second": .number(tokensPerSecond), "utilisation": .number(utilisation),
            "committed_tokens": .integer(Int64(clamping: committedTokens)),
            "token_budget": .integer(Int64(clamping: tokenBudget)),
            "bytes_sent": .integer(Int64(clamping: bytesSent)),
            "bytes_received": .integer(Int64(clamping: bytesReceived)),
            "rounds_followed": .integer(Int64(clamping: roundsFollowed)),
            "disk_problem": diskProblem.map(JSONValue.text) ?? .null,
            "refusal": refusal.map(JSONValue.text) ?? .null,
            "fragments": .array(
                fragments.map {
                    [
                        "round": .integer(Int64(clamping: $0.round)), "head": .text($0.head),
                        "closed": .bool($0.closed),
                    ]
                }),
            "peers": .array(peers.map(\.json)),
        ]
    }

    /// Reads back what `json` gave; nil if a field is missing or of another kind.
    package init?(json: JSONValue) {
        guard let object = json.object else { return nil }
        func text(_ key: JSONString) -> String? { object[key]?.string?.string }
        func count(_ key: JSONString) -> UInt64? { object[key]?.integer.flatMap { UInt64(exactly: $0) } }
        guard let swarmName = text("swarm_name"), let swarmID = text("swarm_id"), let peerID = text("peer_id"),
            let phase = text("phase"), let addresses = object["addresses"]?.array, let steps = count("steps"),
            let tokens = count("tokens"), let tokensPerSecond = object["tokens_per_second"]?.double,
            let utilisation = object["utilisation"]?.double, let committedTokens = count("committed_tokens"),
            let tokenBudget = count("token_budget"), let bytesSent = count("bytes_sent"),
            let bytesReceived = count("bytes_received"), let fragments = object["fragments"]?.array,
            let peers = object["peers"]?.array
        else { return nil }
        self.swarmName = swarmName
        self.swarmID = swarmID
        self.peerID = peerID
        self.phase = phase
        self.addresses = addresses.compactMap { $0.string?.string }
        self.steps = steps
        self.tokens = tokens
        loss = object["loss"]?.double
        self.tokensPerSecond = tokensPerSecond
        self.utilisation = utilisation
        self.committedTokens = committedTokens
        self.tokenBudget = tokenBudget
        self.bytesSent = bytesSent
        self.bytesReceived = bytesReceived
        roundsFollowed = count("rounds_followed") ?? 0
        diskProblem = text("disk_problem")
        refusal = text("refusal")
        branch = text("branch") ?? Branch.main
        self.fragments = fragments.compactMap { value in
            guard let entry = value.object, let round = entry["round"]?.integer, let head = entry["head"]?.string,
                let closed = entry["closed"]?.bool
            else { return nil }
            return Fragment(round: UInt64(clamping: round), head: head.string, closed: closed)
        }
        self.peers = peers.compactMap { value in
            guard let entry = value.object, let peerID = entry["peer_id"]?.string,
                let address = entry["address"]?.string, let isOutbound = entry["outbound"]?.bool,
                let agent = entry["agent"]?.string
            else { return nil }
            return Peer(
                peerID: peerID.string, address: address.string, isOutbound: isOutbound, agent: agent.string,
                roundTripMilliseconds: entry["round_trip_milliseconds"]?.double,
                bytesSent: UInt64(clamping: entry["bytes_sent"]?.integer ?? 0),
                bytesReceived: UInt64(clamping: entry["bytes_received"]?.integer ?? 0))
        }
    }

    /// Wraps the fields.
    init(
        swarmName: String, swarmID: String, peerID: String, phase: String, addresses: [String], steps: UInt64,
        tokens: UInt64, loss: Double?, tokensPerSecond: Double, utilisation: Double, committedTokens: UInt64,
        tokenBudget: UInt64, bytesSent: UInt64, bytesReceived: UInt64, roundsFollowed: UInt64 = 0,
        diskProblem: String? = nil,
        refusal: String? = nil, fragments: [Fragment], peers: [Peer]
    ) {
        self.swarmName = swarmName
        self.swarmID = swarmID
        self.peerID = peerID
        self.phase = phase
        self.addresses = addresses
        self.steps = steps
        self.tokens = tokens
        self.loss = loss
        self.tokensPerSecond = tokensPerSecond
        self.utilisation = utilisation
        self.committedTokens = committedTokens
        self.tokenBudget = tokenBudget
        self.bytesSent = bytesSent
        self.bytesReceived = bytesReceived
        self.roundsFollowed = roundsFollowed
        self.diskProblem = diskProblem
        self.refusal = refusal
        self.fragments = fragments
        self.peers = peers
    }

    /// One line for people: what `--follow` prints.
    package var line: String {
        let share = tokenBudget > 0 ? Double(committedTokens) / Double(tokenBudget) * 100 : 0
        let loss = loss.map { Self.decimal($0, places: 3) } ?? "-"
        let rounds = fragments.map { String($0.round) }.joined(separator: "/")
        return
            "\(branch == Branch.main ? "" : "\(branch)  ")\(phase)  step \(steps)  loss \(loss)  \(Int(tokensPerSecond)) tokens/s  "
            + "committed \(Self.decimal(share, places: 1)) %  rounds \(rounds)  peers \(peers.count)  "
            + "sent \(Self.bytes(bytesSent))  received \(Self.bytes(bytesReceived))"
            + (diskProblem == nil ? "" : "  DISK PROBLEM")
    }

    /// A number with a fixed count of decimal places.
    package static func decimal(_ value: Double, places: Int) -> String {
        guard value.isFinite, abs(value) < 1e15 else { return "\(value)" }
        var scale = 1.0
        for _ in 0..<places { scale *= 10 }
        let scaled = Int64((abs(value) * scale).rounded())
        let whole = scaled / Int64(scale)
        let sign = value < 0 && scaled != 0 ? "-" : ""
        guard places > 0 else { return "\(sign)\(whole)" }
        let fraction = String(scaled % Int64(scale))
        return "\(sign)\(whole)." + String(repeating: "0", count: places - fraction.count) + fraction
    }

    /// A count of bytes in the unit that suits it.
    package static func bytes(_ count: UInt64) -> String {
        switch count {
        case ..<1_000: "\(count) B"
        case ..<1_000_000: "\(decimal(Double(count) / 1e3, places: 1)) kB"
        case ..<1_000_000_000: "\(decimal(Double(count) / 1e6, places: 1)) MB"
        default: "\(decimal(Double(count) / 1e9, places: 2)) GB"
        }
    }
}
