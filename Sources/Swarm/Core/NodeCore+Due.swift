import OuterSync
import PeerNet

// When a round is due, and who begins it.

extension NodeCore {
    /// Steps that the members must have made on average since the last round of a fragment. The first round comes
    /// earlier the lower the fragment's index, so that the fragments' rounds are spread over H steps from then on.
    func stepsUntilDue(_ fragment: FragmentIndex) -> Double {
        let state = fragments[fragment.value]
        let interval = Double(charter.innerStepsPerRound)
        guard state.ledger.tip.round.value == 0 else { return interval }
        return max(1, interval * Double(fragment.value + 1) / Double(fragments.count))
    }

    /// The voters' mean steps since the last round: counted for this node, estimated from committed rates for others.
    func meanSteps(_ fragment: FragmentIndex) -> Double {
        let state = fragments[fragment.value]
        let elapsed = max(0, (now - state.cycleStart.at).inSeconds)
        var steps = Double(progress.steps &- min(progress.steps, state.cycleStart.steps))
        let voters = state.ledger.tip.voters
        for member in state.ledger.tip.members where member.peer != me {
            steps += Double(member.millistepsPerSecond) / 1_000 * elapsed
        }
        return steps / Double(max(1, voters.count))
    }

    /// Notices that a round has become due, and begins an attempt if it is this node's turn.
    mutating func checkDue(_ fragment: FragmentIndex) {
        guard isStarted, !isStopping, !hasHeardOfClosure, let round = fragments[fragment.value].round,
            round.quorum.contains(me)
        else {
            return
        }
        if round.dueSince == nil {
            let missing = budgetKnown ? 0 : stepsUntilDue(fragment) - meanSteps(fragment)
            guard missing <= 0 else { return setDueTimer(fragment, missing: missing) }
            fragments[fragment.value].round?.dueSince = now
            fragments[fragment.value].round?.lastProgress = now
        }
        beginAttemptInTurn(fragment)
    }

    /// Steps normally bring the next check; the timer is for a node that trains slowly or not at all.
    private mutating func setDueTimer(_ fragment: FragmentIndex, missing: Double) {
        let state = fragments[fragment.value]
        let others = state.ledger.tip.members.filter { $0.peer != me }
        let rates = others.reduce(pace.stepsPerSecond) { $0 + Double($1.millistepsPerSecond) / 1_000 }
        let perSecond = rates / Double(max(1, state.ledger.tip.voters.count))
        guard perSecond > 0 else { return }
        let wait = Duration.seconds(min(missing / perSecond, limits.deadlineMax.inSeconds))
        set(.due(fragment), after: max(wait, .milliseconds(100)))
    }

    /// Begins this node's next attempt, or waits for those before it: the learnt duration of a round for each attempt
    /// whose coordinator can be reached, a moment for each that cannot; twice as much after each full cycle of voters,
    /// so that rivals get out of each other's way.
    private mutating func beginAttemptInTurn(_ fragment: FragmentIndex) {
        let state = fragments[fragment.value]
        guard let round = state.round, round.dueSince != nil,
            let attempt = round.rank.attempt(of: me, after: round.highestAttempt), attempt < Limits.attemptsMax
        else { return }
        let patience = roundPatience(fragment)
        var wait = Duration.zero
        for earlier in (round.highestAttempt ?? 0)..<attempt {
            let coordinator = round.rank.coordinator(of: earlier)
            let isReachable = coordinator == me || peers.isMember(coordinator) && peers[coordinator]?.isLeaving != true
            let backOff = 1 << min(earlier / round.rank.cycle, 6)
            wait += (isReachable ? patience : limits.deadlineGrace) * backOff
        }
        let turn = round.lastProgress + wait
        guard turn <= now else { return out.append(.setTimer(.due(fragment), at: turn)) }
        beginAttempt(fragment, attempt)
    }

    /// How long a round may stand still before the next coordinator tries.
    private func roundPatience(_ fragment: FragmentIndex) -> Duration {
        let state = fragments[fragment.value]
        return state.delays.round.value(bytes: 2 * state.shape.payloadBytesMax, limits: limits)
    }

    /// No deadline runs past the fragment's next slot, as far as this node's pace tells.
    func cappedToInterval(_ deadline: Duration) -> Duration {
        let pace = pace.stepsPerSecond
        guard pace > 0, !budgetKnown else { return deadline }
        let interval = Duration.seconds(min(Double(charter.innerStepsPerRound) / pace, limits.deadlineMax.inSeconds))
        return max(min(deadline, interval), limits.deadlineGrace)
    }
}
