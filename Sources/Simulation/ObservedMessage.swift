package import Compression
package import OuterSync
import SwiftProtobuf
package import Swarm

/// A control message as the checker reads it: decoded from its bytes by the schema alone, not by the core's code.
package struct ObservedMessage: Sendable {
    /// The round and attempt that a message is about, as far as its kind has them.
    package struct Slot: Hashable, Sendable {
        /// What kind of message.
        package var kind: MessageKind
        /// The fragment.
        package var fragment: FragmentIndex
        /// The round.
        package var round: RoundIndex
        /// The attempt; 0 where the kind has none.
        package var attempt: UInt32

        /// Wraps the fields.
        package init(kind: MessageKind, fragment: FragmentIndex, round: RoundIndex, attempt: UInt32) {
            self.kind = kind
            self.fragment = fragment
            self.round = round
            self.attempt = attempt
        }
    }

    /// The message.
    package let envelope: WireEnvelope
    /// What it is about.
    package let slot: Slot
    /// Its outer signature; nil where the kind has none.
    package let signed: WireSigned?

    /// Decodes a message; nil if it is none, which no correct node sends.
    package init?(_ bytes: [UInt8]) {
        guard let envelope = try? WireEnvelope(serializedBytes: bytes), let message = envelope.message else { return nil }
        guard let (slot, signed) = Self.read(message) else { return nil }
        self.envelope = envelope
        self.slot = slot
        self.signed = signed
    }

    private static func read(_ message: WireEnvelope.OneOf_Message) -> (Slot, WireSigned?)? {
        func slot(_ kind: MessageKind, _ fragment: UInt32, _ round: UInt64, _ attempt: UInt32) -> Slot {
            Slot(
                kind: kind, fragment: FragmentIndex(Int(fragment)), round: RoundIndex(round), attempt: attempt)
        }
        switch message {
        case .plan(let signed):
            guard let body = try? WirePlan(serializedBytes: signed.body) else { return nil }
            return (slot(.plan, body.fragment, body.round, body.attempt), signed)
        case .join(let delivery):
            guard let body = try? WireJoin(serializedBytes: delivery.join.body) else { return nil }
            return (slot(.join, body.fragment, body.round, body.attempt), delivery.join)
        case .roster(let signed):
            guard let body = try? WireRoster(serializedBytes: signed.body) else { return nil }
            return (slot(.roster, body.fragment, body.round, body.attempt), signed)
        case .offer(let body):
            return (slot(.offer, body.fragment, body.round, body.attempt), nil)
        case .result(let signed):
            guard let body = try? WireResult(serializedBytes: signed.body) else { return nil }
            return (slot(.result, body.fragment, body.round, body.attempt), signed)
        case .hold(let body):
            return (slot(.hold, body.fragment, body.round, body.attempt), nil)
        case .commit(let signed):
            guard let body = try? WireCommit(serializedBytes: signed.body) else { return nil }
            return (slot(.commit, body.fragment, body.round, body.attempt), signed)
        case .ack(let signed):
            guard let body = try? WireAck(serializedBytes: signed.body) else { return nil }
            return (slot(.ack, body.fragment, body.round, body.attempt), signed)
        case .final(let final):
            guard let value = try? WireCommitValue(serializedBytes: final.value) else { return nil }
            return (slot(.final, value.fragment, value.round, final.attempt), nil)
        case .hello, .status, .ledgerRequest, .ledgerPage, .snapshotRequest, .snapshot, .goodbye:
            return (slot(.other, 0, 0, 0), nil)
        }
    }

    /// A few words for the trace.
    package var summary: String {
        slot.kind == .other
            ? "message" : "\(slot.kind) f\(slot.fragment.value) r\(slot.round.value) a\(slot.attempt)"
    }
}
