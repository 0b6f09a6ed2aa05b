import Compression
import OuterSync
import PeerNet

extension NodeCore {
    /// Where the node stands, for people and tests; O(fragments x voters).
    package var status: NodeStatus {
        NodeStatus(
            phase: phase,
            fragments: fragments.map { state in
                NodeStatus.Fragment(
                    ledgerRound: state.ledger.tip.round, headRound: state.head, head: state.headDigest,
                    commit: state.ledger.tip.commit, voters: state.ledger.tip.voters, tokens: state.ledger.tip.tokens,
                    closed: state.ledger.tip.closed, activity: activity(state))
            }, committedTokens: committedTokens, tokenBudget: charter.tokenBudget, connectedMembers: peers.members,
            knownMembers: peers.count, refusal: peers.members.isEmpty ? refusal : nil,
            canPersist: requests.failedRecords.isEmpty)
    }

    private var phase: NodeStatus.Phase {
        if isFinished || hasHeardOfClosure { return .finished }
        if !isCaughtUp { return .catchingUp }
        return budgetKnown ? .closing : .training
    }

    private func activity(_ state: FragmentState) -> String? {
        switch state.following {
        case .idle: break
        case .fetching(let round): return "fetching the payloads of round \(round.value)"
        case .stepping(let round): return "computing the head of round \(round.value)"
        case .adopting(let round): return "adopting the head of round \(round.value)"
        case .seekingSnapshot: return "asking for a snapshot"
        case .fetchingSnapshot(let round, _): return "fetching the snapshot of round \(round.value)"
        case .installing(let round, _): return "installing the snapshot of round \(round.value)"
        case .resting: return "waiting to try again"
        }
        guard let round = state.round, round.dueSince != nil else { return nil }
        let attempt =
            round.highestAttempt.map { "round \(round.index.value), attempt \($0)" }
            ?? "round \(round.index.value), due"
        guard let proposer = round.proposer else { return attempt }
        switch proposer.phase {
        case .collecting: return attempt + ": collecting joins"
        case .gathering: return attempt + ": gathering results"
        case .stepping: return attempt + ": computing the head to propose"
        case .proposing: return attempt + ": collecting acks"
        case .decided: return attempt + ": decided"
        }
    }
}
