import Compression
import OuterSync
import PeerNet

/// What the ledger knows of one owner's error feedback (protocols/round.md): all of it follows from the final commits, so
/// every member finds the same.
struct OwnerHistory: Hashable, Sendable {
    /// The state that the last final commit with a result of this owner left.
    var state: Digest
    /// The tiles that it owned then.
    var tiles: [TileIndex]

    /// The histories after a final commit.
    ///
    /// A result begins or goes on with its owner's history. A member whose result is not in the commit keeps its history
    /// while it owns the same tiles; else, and for whoever is no member, it ends: what moves is not handed over.
    static func following(
        _ histories: [PeerID: OwnerHistory], _ value: CommitValue, shape: FragmentShape
    ) -> [PeerID: OwnerHistory] {
        guard shape.keepsFeedback else { return [:] }
        let exchange = Exchange(value.members, fragment: value.fragment, shape: shape)
        guard case .scatter(let ownership) = exchange else { return [:] }
        var following: [PeerID: OwnerHistory] = [:]
        for position in ownership.positions {
            let peer = value.members[position].peer
            let tiles = ownership.tiles(of: position)
            if let payload = value.payloads.first(where: { $0.owner == position }) {
                following[peer] = payload.feedback.map { OwnerHistory(state: $0.after, tiles: tiles) }
            } else if let known = histories[peer], known.tiles == tiles {
                following[peer] = known
            }
        }
        return following
    }

    /// Refuses a value whose owners say anything of feedback that the charter and the ledger do not allow.
    static func check(_ value: CommitValue, after tip: LedgerTip, shape: FragmentShape) throws(Refusal) {
        let keepsFeedback =
            shape.keepsFeedback && !Exchange(value.members, fragment: value.fragment, shape: shape).isGather
        for payload in value.payloads {
            guard (payload.feedback != nil) == keepsFeedback else {
                throw Refusal("a payload has feedback where the charter has none, or lacks it")
            }
            guard payload.feedback?.continues != true || tip.feedback[value.members[payload.owner].peer] != nil else {
                throw Refusal("a payload goes on with feedback that ended before")
            }
        }
    }

    /// Whether what an owner's signed result says of its feedback is what the ledger allows: it goes on from the very state
    /// that its last one left, or it begins anew.
    static func allows(_ result: OwnerResult, of owner: PeerID, after tip: LedgerTip, keepsFeedback: Bool) -> Bool {
        guard result.blob != nil else { return result.feedback == nil }
        guard let feedback = result.feedback else { return !keepsFeedback }
        return keepsFeedback && (feedback.before == nil || feedback.before == tip.feedback[owner]?.state)
    }
}
