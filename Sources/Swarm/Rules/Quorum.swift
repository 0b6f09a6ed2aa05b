import PeerNet

/// Who decides a round, and how many of them suffice: a majority, or exactly half if it includes the lowest peer id.
/// Any two quorums share a voter: two majorities do, a half and a majority do, and two halves share the lowest.
struct Quorum: Hashable, Sendable {
    /// Strictly ascending.
    let voters: [PeerID]

    init(_ voters: [PeerID]) { self.voters = Set(voters).sorted() }

    func isReached(by peers: some Sequence<PeerID>) -> Bool {
        let present = Set(peers)
        let count = voters.count { present.contains($0) }
        if 2 * count > voters.count { return true }
        guard 2 * count == voters.count, let lowest = voters.first else { return false }
        return present.contains(lowest)
    }

    func contains(_ peer: PeerID) -> Bool { voters.contains(peer) }
}
