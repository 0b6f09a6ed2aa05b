import PeerNet

/// One voter's part in one round's consensus (the Paxos acceptor). It never acks below its promise, acks one commit per
/// attempt, and tells each new coordinator the last commit that it acked.
struct Voter: Hashable, Sendable {
    /// The highest attempt joined or acked.
    private(set) var promised: UInt32?
    /// The commit acked at the highest attempt.
    private(set) var accepted: Signed<Commit>?

    func mayJoin(_ attempt: UInt32) -> Bool { promised.map { attempt > $0 } ?? true }

    /// Whether an ack of this commit keeps every promise.
    func mayAck(_ commit: Commit) -> Bool {
        guard let promised else { return true }
        guard attemptAccepted(commit.id.attempt) else { return commit.id.attempt >= promised }
        return accepted?.content.valueDigest == commit.valueDigest
    }

    mutating func promise(_ attempt: UInt32) { promised = max(promised ?? 0, attempt) }

    mutating func accept(_ commit: Signed<Commit>) {
        promise(commit.content.id.attempt)
        if let accepted, accepted.content.id.attempt >= commit.content.id.attempt { return }
        accepted = commit
    }

    private func attemptAccepted(_ attempt: UInt32) -> Bool { accepted?.content.id.attempt == attempt }
}
