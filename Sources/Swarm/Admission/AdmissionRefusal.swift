/// Why a peer is not let into a swarm; the number travels.
package enum AdmissionRefusal: UInt32, Error, Hashable, Sendable, CaseIterable, CustomStringConvertible {
    /// The charter does not list the peer.
    case notListed = 1
    /// The peer has nothing to show.
    case noInvite = 2
    /// The capability's time is over.
    case expired = 3
    /// As many peers as allowed came in before.
    case overused = 4
    /// The capability, the delegation behind it, or the peer was revoked.
    case revoked = 5
    /// The refuser holds as many vouchers as it may.
    case full = 6
    /// Nobody with the right to do so signed the capability, or it was claimed for somebody else.
    case invalid = 7
    /// The refuser is not let in itself yet, has not heard of the member that let the peer in, or was shown nothing: ask
    /// again.
    case notYet = 8

    /// The cause in words, for the peer that is refused.
    package var description: String {
        switch self {
        case .notListed: "the swarm admits only the peers that its charter lists, and this node is not among them"
        case .noInvite: "the swarm admits only who has an invite by its founder or a delegate of the founder"
        case .expired: "the invite has expired"
        case .overused: "the invite has been used as often as it may be"
        case .revoked: "the invite, or this node's membership, was revoked"
        case .full: "the swarm has as many members as it can have"
        case .invalid: "the invite was not signed by the swarm's founder or a delegate, or is for another node"
        case .notYet: "the peer cannot tell yet whether this node is a member"
        }
    }

    /// What the refused one can do.
    package var cure: String {
        switch self {
        case .notListed: "Ask the founder for a swarm whose charter lists this node's peer id, which atoll init prints"
        case .noInvite: "Ask the founder or a delegate for a line that atoll swarm invite prints there"
        case .expired, .overused, .invalid: "Ask the founder or a delegate for a new invite"
        case .revoked: "Ask the founder why"
        case .full: "Try again when members were revoked, or form another swarm"
        case .notYet: "Wait: the node asks again by itself"
        }
    }

    /// Whether asking again soon can help.
    package var isTemporary: Bool { self == .notYet }
}
