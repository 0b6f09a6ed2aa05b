import Compression
import PeerNet

/// Who coordinates which attempt: the voters in rendezvous order over the last final commit, so that the work moves
/// around and everybody agrees without a message.
struct Rank: Hashable, Sendable {
    private let order: [PeerID]

    init(voters: [PeerID], after commit: Digest) {
        let prefix = commit.bytes
        order =
            voters
            .map { (score: Digest(hashing: prefix + $0.publicKey), peer: $0) }
            .sorted { $0.score != $1.score ? $0.score < $1.score : $0.peer < $1.peer }
            .map(\.peer)
    }

    /// Attempts after which the first voter is asked again.
    var cycle: UInt32 { UInt32(order.count) }

    func coordinator(of attempt: UInt32) -> PeerID { order[Int(attempt) % order.count] }

    /// The first attempt after `attempt` (nil: from the first on) that `peer` coordinates; nil if it has no vote.
    func attempt(of peer: PeerID, after attempt: UInt32?) -> UInt32? {
        let first = attempt.map { $0 + 1 } ?? 0
        return (first..<first + cycle).first { coordinator(of: $0) == peer }
    }
}
