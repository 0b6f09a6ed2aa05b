import Compression
import JSONText
import Logging
import OuterSync
import PeerNet
import Swarm

/// A core's event as people and the run log see it.
struct EventLine {
    var level: Logger.Level
    var text: String
    var name: String
    var members: RunLog.Members

    init(_ event: NodeCore.Event) {
        switch event {
        case .memberConnected(let peer):
            self.init(.info, "member \(peer.short) connected", "member_connected", ["peer": .text(peer.description)])
        case .memberDisconnected(let peer):
            self.init(.info, "member \(peer.short) is gone", "member_disconnected", ["peer": .text(peer.description)])
        case .otherBranchConnected(let peer, let branch):
            self.init(
                .info, "member \(peer.short) of branch \(branch) connected", "other_branch_connected",
                ["peer": .text(peer.description), "branch": .text(branch)])
        case .branchKnown(let branch):
            self.init(
                .notice, "there is a branch \(branch.id), made by \(branch.maker.short)", "branch_known",
                ["branch": .text(branch.id), "peer": .text(branch.maker.description)])
        case .expertKnown(let expert):
            self.init(
                .notice, "\(expert.publisher.short) offers the expert \(expert.record.name) (\(expert.id))",
                "expert_known", ["expert": .text(expert.id), "peer": .text(expert.publisher.description)])
        case .branchClosed(let expert):
            self.init(
                .notice, "the branch was closed with the expert \(expert.record.name) (\(expert.id)): training ends",
                "branch_closed", ["expert": .text(expert.id)])
        case .roundStarted(let fragment, let round):
            self.init(.debug, fragment, round, "planned", "round_started")
        case .coordinating(let fragment, let round, let attempt):
            self.init(
                .debug, "fragment \(fragment.value) round \(round.value): coordinating attempt \(attempt)",
                "coordinating",
                ["fragment": .of(fragment.value), "round": .of(round.value), "attempt": .integer(Int64(attempt))])
        case .roundFinal(let summary): self.init(summary)
        case .adopted(let fragment, let round, let head):
            self.init(
                .debug, "fragment \(fragment.value) round \(round.value): head \(head.short)", "adopted",
                ["fragment": .of(fragment.value), "round": .of(round.value), "head": .text(head.description)])
        case .firstContribution(let fragment, let round):
            self.init(.notice, fragment, round, "the first contribution is final", "first_contribution")
        case .leftOut(let fragment, let round, let inARow):
            self.init(
                .info, "left out of fragment \(fragment.value) round \(round.value) (\(inARow) in a row)", "left_out",
                ["fragment": .of(fragment.value), "round": .of(round.value), "in_a_row": .integer(Int64(inARow))])
        case .feedbackLost(let fragment, let round):
            self.init(.info, fragment, round, "what this node's last mean left over is lost", "feedback_lost")
        case .overwriting(let fragment, let round, let reason):
            self.init(
                .info, "fragment \(fragment.value): live value replaced by head \(round.value): \(reason)",
                "overwriting",
                ["fragment": .of(fragment.value), "round": .of(round.value), "reason": .text(reason)])
        case .catchingUp(let fragment, let head, let known):
            self.init(
                .info, "fragment \(fragment.value): catching up from round \(head.value) to \(known.value)",
                "catching_up",
                ["fragment": .of(fragment.value), "round": .of(head.value), "known": .of(known.value)])
        case .fetchingSnapshot(let fragment, let round, let tiles):
            self.init(
                .info, "fragment \(fragment.value): fetching the snapshot of round \(round.value), \(tiles) tiles",
                "fetching_snapshot",
                ["fragment": .of(fragment.value), "round": .of(round.value), "tiles": .integer(Int64(tiles))])
        case .caughtUp: self.init(.notice, "caught up with the swarm", "caught_up", [:])
        case .contributionRefused(let fragment, let round, let peer, let reason):
            self.init(
                .warning, fragment, round, "contribution of \(peer.short) refused", "contribution_refused",
                of: peer, reason: reason)
        case .planRefused(let fragment, let round, let attempt, let reason):
            self.init(.info, fragment, round, "plan of attempt \(attempt) refused", "plan_refused", reason: reason)
        case .commitRefused(let fragment, let round, let attempt, let reason):
            self.init(
                .warning, fragment, round, "commit of attempt \(attempt) refused", "commit_refused", reason: reason)
        case .peerAdmitted(let peer, let serial):
            self.init(
                .notice, "let \(peer.short) in by invite \(serial)", "peer_admitted",
                ["peer": .text(peer.description), "serial": .text(serial.description)])
        case .peerRefused(let peer, let refusal):
            self.init(
                .notice, "did not let \(peer.short) in: \(refusal)", "peer_refused",
                ["peer": .text(peer.description), "reason": .text(refusal.description)])
        case .refusedBy(let peer, let refusal):
            self.init(
                .warning, "\(peer.short) does not let this node in: \(refusal). \(refusal.cure)", "refused_by",
                ["peer": .text(peer.description), "reason": .text(refusal.description)])
        case .violation(let peer, let reason):
            self.init(
                .warning, "\(peer.short) broke a rule: \(reason)", "violation",
                ["peer": .text(peer.description), "reason": .text(reason)])
        case .cannotPersist(let reason):
            self.init(
                .error, "the disk refuses records; training goes on, nothing is signed: \(reason)", "cannot_persist",
                ["reason": .text(reason)])
        case .canPersist: self.init(.notice, "the disk takes records again", "can_persist", [:])
        case .jobFailed(let fragment, let reason):
            self.init(
                .error, "fragment \(fragment.value): \(reason)", "job_failed",
                ["fragment": .of(fragment.value), "reason": .text(reason)])
        case .budgetReached(let tokens):
            self.init(
                .notice, "token budget reached; last rounds", "budget_reached",
                ["committed_tokens": .integer(Int64(clamping: tokens))])
        }
    }

    private init(_ level: Logger.Level, _ text: String, _ name: String, _ members: RunLog.Members) {
        self.level = level
        self.text = text
        self.name = name
        self.members = members
    }

    /// What happened in a round, where no more is to be said than that, and perhaps why.
    private init(
        _ level: Logger.Level, _ fragment: FragmentIndex, _ round: RoundIndex, _ text: String, _ name: String,
        of peer: PeerID? = nil, reason: String? = nil
    ) {
        let place = "fragment \(fragment.value) round \(round.value): \(text)"
        if let reason, let peer {
            self.init(
                level, "\(place): \(reason)", name,
                [
                    "fragment": .of(fragment.value), "round": .of(round.value), "peer": .text(peer.description),
                    "reason": .text(reason),
                ])
        } else if let reason {
            self.init(
                level, "\(place): \(reason)", name,
                ["fragment": .of(fragment.value), "round": .of(round.value), "reason": .text(reason)])
        } else {
            self.init(level, place, name, ["fragment": .of(fragment.value), "round": .of(round.value)])
        }
    }

    private init(_ summary: NodeCore.RoundSummary) {
        let seconds = summary.duration.map { NodeReport.decimal($0.inSeconds, places: 2) + " s" } ?? "from the ledger"
        self.init(
            .info,
            "fragment \(summary.fragment.value) round \(summary.round.value) is final: \(summary.contributors) of "
                + "\(summary.members) contributed, \(NodeReport.bytes(UInt64(summary.payloadBytes))), \(seconds)",
            "round_final",
            [
                "fragment": .of(summary.fragment.value), "round": .of(summary.round.value),
                "attempt": .integer(Int64(summary.attempt)), "members": .integer(Int64(summary.members)),
                "contributors": .integer(Int64(summary.contributors)),
                "payload_bytes": .integer(Int64(summary.payloadBytes)),
                "tokens": .integer(Int64(clamping: summary.tokens)),
                "seconds": summary.duration.map { .number($0.inSeconds) } ?? .null,
                "head": .text(summary.head.description), "closing": .bool(summary.closing),
            ])
    }
}

extension JSONValue {
    fileprivate static func of(_ value: Int) -> JSONValue { .integer(Int64(value)) }
    fileprivate static func of(_ value: UInt64) -> JSONValue { .integer(Int64(clamping: value)) }
}
