import Compression
import OuterSync
import PeerNet

/// A coordinator's request to accept a value, with the owners' results that prove its payloads (Paxos: accept).
struct Commit: SignedContent {
    static let kind = SignedKind.commit
    var id: AttemptID
    var value: CommitValue
    /// The value's encoding, whose digest the acks sign.
    var valueBytes: [UInt8]
    /// One per payload, in payload order; they keep the attempt in which they were made when a value is re-proposed.
    var results: [Signed<OwnerResult>]

    init(id: AttemptID, value: CommitValue, results: [Signed<OwnerResult>], in context: BranchContext) {
        self.id = id
        self.value = value
        valueBytes = value.bytes(in: context)
        self.results = results
    }

    init(body: [UInt8], in context: BranchContext) throws(Refusal) {
        let message = try decode(WireCommit.self, body)
        id = try AttemptID(fragment: message.fragment, round: message.round, attempt: message.attempt)
        valueBytes = array(message.value)
        value = try CommitValue(bytes: valueBytes, in: context)
        guard value.fragment == id.fragment, value.round == id.round else {
            throw Refusal("a commit carries the value of another round")
        }
        guard message.results.count == value.payloads.count else {
            throw Refusal("a commit proves more or fewer payloads than it has")
        }
        results = []
        for (payload, result) in zip(value.payloads, message.results) {
            let result = try Signed<OwnerResult>(result, in: context)
            guard result.signer == value.members[payload.owner].peer, result.content.blob == payload.blob,
                result.content.contributors == payload.contributors,
                payload.feedback
                    == CommitPayload(
                        owner: payload.owner, contributors: payload.contributors, blob: payload.blob,
                        feedback: result.content.feedback
                    ).feedback,
                result.content.id.fragment == id.fragment, result.content.id.round == id.round,
                result.content.id.attempt <= id.attempt
            else { throw Refusal("a commit's payload is not the one that its owner signed") }
            results.append(result)
        }
    }

    var body: [UInt8] {
        var message = WireCommit()
        message.fragment = UInt32(id.fragment.value)
        message.round = id.round.value
        message.attempt = id.attempt
        message.value = wire(valueBytes)
        message.results = results.map(\.message)
        return encode(message)
    }

    var valueDigest: Digest { Digest(hashing: valueBytes) }
}

/// A value with a quorum of acks of one attempt: one link of a fragment's ledger, on the wire and on disk.
struct Final: Hashable, Sendable {
    static let version: UInt32 = 1

    /// One voter's ack; its body follows from the final.
    struct Acknowledgement: Hashable, Sendable {
        /// The voter's position among the previous commit's members.
        var voter: Int
        var signature: [UInt8]
    }

    var value: CommitValue
    var valueBytes: [UInt8]
    var attempt: UInt32
    /// Strictly ascending by voter.
    var acks: [Acknowledgement]

    init(_ commit: Commit, acks: [Acknowledgement]) {
        value = commit.value
        valueBytes = commit.valueBytes
        attempt = commit.id.attempt
        self.acks = acks
    }

    init(_ message: WireFinal, in context: BranchContext) throws(Refusal) {
        guard message.version == Self.version else {
            throw Refusal("a final commit has version \(message.version), not \(Self.version)")
        }
        valueBytes = array(message.value)
        value = try CommitValue(bytes: valueBytes, in: context)
        guard message.attempt <= Limits.attemptsMax else { throw Refusal("an attempt is out of range") }
        attempt = message.attempt
        guard (1...Limits.roundMembersMax).contains(message.acks.count) else {
            throw Refusal("a final commit has no acks or too many")
        }
        acks = []
        for ack in message.acks {
            guard ack.voter < Limits.roundMembersMax, acks.last.map({ $0.voter < Int(ack.voter) }) ?? true else {
                throw Refusal("a final commit's acks are not in order")
            }
            acks.append(Acknowledgement(voter: Int(ack.voter), signature: array(ack.signature)))
        }
    }

    /// Decodes a ledger record.
    init(bytes: [UInt8], in context: BranchContext) throws(Refusal) {
        try self.init(try decode(WireFinal.self, bytes), in: context)
    }

    var message: WireFinal {
        var message = WireFinal()
        message.version = Self.version
        message.value = wire(valueBytes)
        message.attempt = attempt
        message.acks = acks.map { ack in
            var entry = WireFinalAck()
            entry.voter = UInt32(ack.voter)
            entry.signature = wire(ack.signature)
            return entry
        }
        return message
    }

    var bytes: [UInt8] { encode(message) }
    var digest: Digest { Digest(hashing: valueBytes) }
    var ack: Ack { Ack(id: AttemptID(value.fragment, value.round, attempt), value: digest) }
}
