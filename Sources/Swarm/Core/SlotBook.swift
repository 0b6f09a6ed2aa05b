import Compression
import OuterSync
import PeerNet

/// Every message that this node has signed for undecided rounds: each slot once, on disk before it leaves, and the same
/// bytes whenever it is needed again, across restarts too.
struct SlotBook: Sendable {
    enum Kind: Int, Hashable, Sendable { case plan, join, roster, result, commit, accepted, ack }

    struct Key: Hashable, Sendable {
        let kind: Kind
        let id: AttemptID
    }

    /// Where a slot's message goes once it is on disk; it is always handled by this node itself too, once.
    enum Delivery: Hashable, Sendable { case publish, send(PeerID), keep }

    struct Slot: Sendable {
        let message: Message
        let bytes: [UInt8]
        var isDurable: Bool
        var deliveries: [Delivery]
    }

    private var slots: [Key: Slot] = [:]

    subscript(_ key: Key) -> Slot? {
        get { slots[key] }
        set { slots[key] = newValue }
    }

    /// Takes a record of an earlier start.
    mutating func restore(_ message: Message, bytes: [UInt8], me: PeerID) {
        guard let key = Self.key(of: message, me: me) else { return }
        slots[key] = Slot(message: message, bytes: bytes, isDurable: true, deliveries: [])
    }

    /// The slot that a message fills; a commit by another node is one that this node has acked.
    static func key(of message: Message, me: PeerID) -> Key? {
        switch message {
        case .plan(let plan): Key(kind: .plan, id: plan.content.id)
        case .join(let join, _): Key(kind: .join, id: join.content.id)
        case .roster(let roster): Key(kind: .roster, id: roster.content.id)
        case .result(let result): Key(kind: .result, id: result.content.id)
        case .commit(let commit): Key(kind: commit.signer == me ? .commit : .accepted, id: commit.content.id)
        case .ack(let ack): Key(kind: .ack, id: ack.content.id)
        case .hello, .status, .offer, .hold, .final, .ledgerRequest, .ledgerPage, .snapshotRequest, .snapshot,
            .goodbye, .admission, .admissionRefused, .records:
            nil
        }
    }

    /// The slots of a kind for a round, ascending by attempt.
    func slots(_ kind: Kind, _ fragment: FragmentIndex, _ round: RoundIndex) -> [Slot] {
        slots.keys.filter { $0.kind == kind && $0.id.fragment == fragment && $0.id.round == round }
            .sorted { $0.id.attempt < $1.id.attempt }.compactMap { slots[$0] }
    }

    /// Forgets what can never be asked for again: everything up to a final round.
    mutating func prune(_ fragment: FragmentIndex, through round: RoundIndex) {
        for key in slots.keys where key.id.fragment == fragment && key.id.round <= round { slots[key] = nil }
    }

    /// Forgets a round's slots of earlier attempts: the promise made now forbids to use them. The commit acked last
    /// stays, because the next join shows it.
    mutating func forget(_ fragment: FragmentIndex, _ round: RoundIndex, before attempt: UInt32) {
        let stale = slots.keys.filter {
            $0.id.fragment == fragment && $0.id.round == round && $0.id.attempt < attempt
                && slots[$0]?.isDurable == true
        }
        for key in stale {
            switch key.kind {
            case .plan, .join, .roster, .result: slots[key] = nil
            case .commit, .accepted, .ack: break  // one per attempt acked; few
            }
        }
    }
}
