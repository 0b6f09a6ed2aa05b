import Compression
package import OuterSync
package import PeerNet
import Swarm

/// A control message as the checker reads it: decoded from its bytes by protocols/swarm.proto alone, not by the core's code.
package struct ObservedMessage: Sendable {
    /// The round and attempt that a message is about, as far as its kind has them.
    package struct Slot: Hashable, Sendable, CustomStringConvertible {
        /// What kind of message.
        package var kind: MessageKind
        /// The fragment.
        package var fragment: FragmentIndex
        /// The round.
        package var round: RoundIndex
        /// The attempt; 0 where the kind has none.
        package var attempt: UInt32

        /// Kind, fragment, round and attempt.
        package var description: String { "\(kind) f\(fragment.value) r\(round.value) a\(attempt)" }
    }

    /// What it is about.
    package let slot: Slot
    /// Who signed it; nil where the kind has no outer signature.
    package let signer: PeerID?
    /// The signed body, or the whole message where nothing is signed.
    let body: [UInt8]

    /// The kinds by their field in the envelope's oneof.
    private static let kinds: [Int: MessageKind] = [
        6: .plan, 7: .join, 8: .roster, 9: .offer, 10: .result, 11: .hold, 12: .commit, 13: .ack, 14: .final,
    ]

    /// Decodes a message; nil if it is none, which no correct node sends.
    package init?(_ bytes: [UInt8]) {
        guard let envelope = WireFields(bytes), let field = envelope.oneOf(4...60) else { return nil }
        let message = envelope.bytes(field)
        let kind = Self.kinds[field] ?? .other
        switch kind {
        case .plan, .roster, .result, .commit, .ack, .join:
            // A join travels inside its delivery, with the commit that it names.
            guard let outer = WireFields(message), let signed = kind == .join ? WireFields(outer.bytes(1)) : outer,
                let signer = PeerID(publicKey: signed.bytes(1)), let fields = WireFields(signed.bytes(2))
            else { return nil }
            self.signer = signer
            body = signed.bytes(2)
            slot = Self.slot(kind, fields)
        case .offer, .hold:
            guard let fields = WireFields(message) else { return nil }
            signer = nil
            body = message
            slot = Self.slot(kind, fields)
        case .final:
            guard let final = ObservedFinal(message) else { return nil }
            signer = nil
            body = message
            slot = Slot(
                kind: kind, fragment: final.value.fragment, round: RoundIndex(final.value.round), attempt: final.attempt
            )
        case .other:
            signer = nil
            body = message
            slot = Slot(kind: kind, fragment: FragmentIndex(0), round: RoundIndex(0), attempt: 0)
        }
    }

    /// Whether a message only shows who its sender is, or refuses its receiver: all that a stranger may get.
    static func isAboutAdmission(_ bytes: [UInt8]) -> Bool {
        WireFields(bytes)?.oneOf(4...21).map { $0 >= 20 } ?? false
    }

    private static func slot(_ kind: MessageKind, _ fields: WireFields) -> Slot {
        Slot(
            kind: kind, fragment: FragmentIndex(Int(fields.number(1))), round: RoundIndex(fields.number(2)),
            attempt: UInt32(truncatingIfNeeded: fields.number(3)))
    }

    /// A few words for the trace.
    package var summary: String { slot.kind == .other ? "message" : slot.description }
}

/// What a round decides, as the schema says it.
struct ObservedValue: Sendable {
    struct Member: Sendable {
        var peer: PeerID
        var share: TrainingShare
    }
    struct Payload: Sendable {
        /// Positions of the contributors among the members.
        var contributors: [Int]
        var blob: BlobReference
    }

    let fragment: FragmentIndex
    let round: UInt64
    let base: Digest
    let previousCommit: Digest
    let isClosing: Bool
    let members: [Member]
    let payloads: [Payload]
    let head: Digest
    /// The digest of the value's bytes: its identity.
    let digest: Digest

    init?(_ bytes: [UInt8]) {
        guard let fields = WireFields(bytes), let base = Digest(bytes: fields.bytes(6)),
            let previous = Digest(bytes: fields.bytes(7)), let head = Digest(bytes: fields.bytes(11))
        else { return nil }
        fragment = FragmentIndex(Int(fields.number(4)))
        round = fields.number(5)
        self.base = base
        previousCommit = previous
        isClosing = fields.number(8) != 0
        self.head = head
        digest = Digest(hashing: bytes)
        var members: [Member] = []
        for bytes in fields.all(9) {
            guard let member = WireFields(bytes), let peer = PeerID(publicKey: member.bytes(1)) else { return nil }
            members.append(
                Member(peer: peer, share: TrainingShare(tokens: member.number(2), steps: member.number(3))))
        }
        self.members = members
        var payloads: [Payload] = []
        for bytes in fields.all(10) {
            guard let payload = WireFields(bytes), let blob = WireFields(payload.bytes(3)),
                let digest = Digest(bytes: blob.bytes(1))
            else { return nil }
            let contributors = payload.bytes(2).enumerated().flatMap { index, byte in
                (0..<8).filter { byte >> $0 & 1 == 1 }.map { 8 * index + $0 }
            }
            guard contributors.allSatisfy({ $0 < members.count }) else { return nil }
            let reference = BlobReference(digest: digest, byteCount: Int(blob.number(2)))
            payloads.append(Payload(contributors: contributors, blob: reference))
        }
        self.payloads = payloads
    }

    /// Whether everybody averages what its members contributed.
    func isGathered(by charter: Charter) -> Bool { members.count <= charter.gatherMembersMax }

    /// What contributors count for, as protocols/round.md says it.
    func countedTokens(of contributors: Set<Int>, by charter: Charter) -> UInt64 {
        let claims = contributors.map { members[$0].share.tokens }.sorted()
        guard !claims.isEmpty else { return 0 }
        let window = charter.innerStepsPerRound * charter.inner.batchSequences * charter.model.contextLength
        let limit = min(16 * UInt64(window), 16 * claims[(claims.count - 1) / 2])
        return claims.reduce(0) { $0 + min($1, limit) }
    }

    /// Fragment and round, for messages.
    var place: String { "f\(fragment.value) r\(round)" }
}

/// A value with its acks.
struct ObservedFinal: Sendable {
    let value: ObservedValue
    let attempt: UInt32
    /// Positions of the ackers among the previous commit's members.
    let voters: [Int]

    init?(_ bytes: [UInt8]) {
        guard let fields = WireFields(bytes), let value = ObservedValue(fields.bytes(2)) else { return nil }
        self.value = value
        attempt = UInt32(truncatingIfNeeded: fields.number(3))
        voters = fields.all(4).compactMap { WireFields($0).map { Int($0.number(1)) } }
    }
}
