package import PeerNet

/// What a message that arrived by gossip is worth, before anything is done with it.
package enum GossipVerdict: Hashable, Sendable {
    /// Well-formed and signed by its author: to be handled and passed on.
    case accept
    /// By somebody who is not let in, as far as this node knows: not passed on, and nobody's fault.
    case ignore
    /// No message that gossip carries, whatever this node knows: those who passed it on are at fault.
    case reject(reason: String)
}

extension NodeCore {
    /// Judges a message that `author` published. Only what speaks for itself travels by gossip: messages that their author
    /// signed, finals, which carry the signatures of a quorum, and records of who may take part. All else is between two peers.
    package func judge(_ bytes: [UInt8], by author: PeerID) -> GossipVerdict {
        let message: Message
        do {
            switch try Message.arrival(bytes, in: context) {
            case .own(let own): message = own
            case .swarmWide(let other, _): message = other
            case .othersRound: return .reject(reason: "it is of a round of another branch")
            }
        } catch { return .reject(reason: error.reason) }
        let signer: PeerID
        guard mayServe(author) else { return .ignore }
        switch message {
        case .plan(let plan): signer = plan.signer
        case .roster(let roster): signer = roster.signer
        case .result(let result): signer = result.signer
        case .commit(let commit): signer = commit.signer
        case .final: return .accept
        // Each of its records is signed by whoever has the right to it.
        case .admission(let notice) where !notice.presents: return .accept
        case .records(let notice) where notice.summary == nil: return .accept
        case .hello, .status, .join, .offer, .hold, .ack, .ledgerRequest, .ledgerPage, .snapshotRequest, .snapshot,
            .goodbye, .admission, .admissionRefused, .records:
            return .reject(reason: "gossip carries no messages of this kind")
        }
        guard signer == author else { return .reject(reason: "its author is not its signer") }
        return .accept
    }
}
