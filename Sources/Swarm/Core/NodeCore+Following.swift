import Compression
import OuterSync
import PeerNet

// The head follows the ledger: payloads, outer step, adopt; then what that means for the live value.

extension NodeCore {
    /// Takes the next step towards the ledger's tip, if none is under way. Called whenever something changed.
    mutating func follow(_ fragment: FragmentIndex) {
        guard isStarted else { return }
        let state = fragments[fragment.value]
        switch state.following {
        case .stepping, .adopting, .installing, .resting: return
        case .seekingSnapshot: return
        case .fetchingSnapshot(let round, let manifest): return continueSnapshot(fragment, round, manifest)
        case .idle, .fetching: break
        }
        askForLedger(fragment)
        guard !state.isAtTip else {
            fragments[fragment.value].following = .idle
            overwriteIfNeeded(fragment)
            openRound(fragment)
            return checkCaughtUp()
        }
        let lag = state.ledger.tip.round.value - state.head.value
        if lag > Self.caughtUpLagMax { isCaughtUp = false }
        if lag > Limits.replayRoundsMax {
            // The whole chain first: the newest snapshot is the one that saves most.
            guard fragments[fragment.value].pageRequest == nil else { return }
            if state.failures.isMultiple(of: 2) { return seekSnapshot(fragment) }
        }
        guard state.head.next <= state.durableRound else { return }
        replayNext(fragment)
    }

    private mutating func replayNext(_ fragment: FragmentIndex) {
        let state = fragments[fragment.value]
        let round = state.head.next
        guard let final = state.ledger.final(of: round), let tokens = state.ledger.tokens(after: state.head) else {
            return
        }
        let value = final.value
        if let chosen = state.candidates.first(where: { $0.head == value.head })?.head {
            return adopt(fragment, round, chosen)
        }
        var missing: [BlobReference] = []
        let ackers = final.acks.compactMap { ack in
            voters(of: round, fragment).indices.contains(ack.voter) ? voters(of: round, fragment)[ack.voter] : nil
        }
        for payload in value.payloads where !shelf.isHeld(payload.blob) {
            missing.append(payload.blob)
            let owner = value.members[payload.owner].peer
            shelf.need(
                payload.blob, for: .payload(fragment, round),
                from: sources(([owner] + ackers).filter { peers.isMember($0) }))
        }
        guard missing.isEmpty else {
            fragments[fragment.value].following = .fetching(round)
            if missing.contains(where: { shelf.hasFailed($0, sweeps: 2) }) { seekSnapshot(fragment) }
            return
        }
        fragments[fragment.value].following = .stepping(round)
        let step = step(of: value, tokensBefore: tokens)
        compute(.outerStep(fragment: fragment, base: state.headDigest, step: step), fragment, .replay(round, step))
    }

    /// Those who decided a round.
    private func voters(of round: RoundIndex, _ fragment: FragmentIndex) -> [PeerID] {
        guard round.value > 1 else { return [configuration.firstVoter] }
        return fragments[fragment.value].ledger.final(of: RoundIndex(round.value - 1))?.value.voters ?? []
    }

    mutating func replayed(_ fragment: FragmentIndex, _ round: RoundIndex, _ step: OuterStepDescription, _ head: Digest)
    {
        guard fragments[fragment.value].following == .stepping(round) else { return }
        guard head == fragments[fragment.value].ledger.head(after: round) else {
            event(.jobFailed(fragment, reason: "round \(round.value) makes head \(head.short), not the final one"))
            compute(.discard(fragment: fragment, head: head), fragment, .discard)
            return followFailed(fragment)
        }
        if fragments[fragment.value].candidate(for: step) == nil {
            fragments[fragment.value].candidates.append(.init(step: step, head: head))
        }
        adopt(fragment, round, head)
    }

    private mutating func adopt(_ fragment: FragmentIndex, _ round: RoundIndex, _ head: Digest) {
        fragments[fragment.value].following = .adopting(round)
        compute(.adopt(fragment: fragment, head: head), fragment, .adopt(round))
    }

    mutating func adopted(_ fragment: FragmentIndex, _ round: RoundIndex) {
        guard fragments[fragment.value].following == .adopting(round),
            let head = fragments[fragment.value].ledger.head(after: round)
        else { return }
        moveHead(fragment, to: round, head)
        takeOutcome(fragment, round)
        if fragments[fragment.value].isAtTip, !fragments[fragment.value].ledger.tip.voters.contains(me) {
            // Coordinators wait for voters, and for others that are known to hold the base.
            tellMembers(.status(report()))
        }
        if (round.value + UInt64(fragment.value)).isMultiple(of: Limits.snapshotIntervalRounds) {
            captureSnapshot(fragment)
        }
        follow(fragment)
        checkFinished()
    }

    /// The fragment's head is durably that of `round` now.
    mutating func moveHead(_ fragment: FragmentIndex, to round: RoundIndex, _ head: Digest) {
        fragments[fragment.value].candidates.removeAll { $0.head == head }
        fragments[fragment.value].head = round
        fragments[fragment.value].headDigest = head
        fragments[fragment.value].following = .idle
        fragments[fragment.value].failures = 0
        discardCandidates(fragment, except: nil)
        out.append(.pruneSlots(fragment, through: round))
        slots.prune(fragment, through: round)
        retryWait = limits.retry
        event(.adopted(fragment, round, head: head))
        dropOldPayloads(fragment)
    }

    mutating func followFailed(_ fragment: FragmentIndex) {
        fragments[fragment.value].failures += 1
        fragments[fragment.value].following = .resting
        set(.catchUp(fragment), after: limits.retry * (1 << min(fragments[fragment.value].failures, 4)))
    }

    // MARK: The live value

    /// What the newest head means for the live value: blend the tiles that count this node's contribution, keep the
    /// rest; overwrite when it was left out twice in a row, missed one without training, or the fragment closes.
    private mutating func takeOutcome(_ fragment: FragmentIndex, _ round: RoundIndex) {
        let outcome = fragments[fragment.value].outcomes.removeValue(forKey: round)
        guard let value = fragments[fragment.value].ledger.final(of: round)?.value else { return }
        let isListed = !(outcome?.blended.isEmpty ?? true)
        if isListed, !hasContributed {
            hasContributed = true
            event(.firstContribution(fragment, round))
        }
        let live = fragments[fragment.value].live
        guard live.isUsable, !value.closing else {
            if value.closing { fragments[fragment.value].live.isUsable = false }
            return
        }
        guard !charter.syncMode.isLate else { return takeLateOutcome(fragment, round, outcome) }
        if isListed, let snapshot = outcome?.snapshot, let blended = outcome?.blended {
            fragments[fragment.value].live.shareStart = snapshot
            fragments[fragment.value].live.leftOut = 0
            apply(fragment, round, blended: blended, notBefore: snapshot.steps + UInt64(charter.overlapSteps))
        } else if isListed {
            mustOverwrite(fragment, "its contribution was committed without its snapshot")
        } else if progress.tokens <= live.shareStart.tokens {
            mustOverwrite(fragment, "it missed a final commit without training")
        } else {
            fragments[fragment.value].live.leftOut += 1
            event(.leftOut(fragment, round, inARow: live.leftOut + 1))
            if live.leftOut + 1 >= 2 { mustOverwrite(fragment, "it was left out of two final commits in a row") }
        }
    }

    mutating func mustOverwrite(_ fragment: FragmentIndex, _ reason: String) {
        fragments[fragment.value].live.isUsable = false
        event(.overwriting(fragment, fragments[fragment.value].head, reason: reason))
    }

    /// Overwrites the live value by the head once the head is as new as it can be.
    private mutating func overwriteIfNeeded(_ fragment: FragmentIndex) {
        let state = fragments[fragment.value]
        guard !state.live.isUsable, state.pageRequest == nil else { return }
        guard !(state.live.isOverwriting && state.live.applying == state.head) else { return }
        apply(fragment, state.head, blended: nil, notBefore: 0)
    }

    private mutating func apply(
        _ fragment: FragmentIndex, _ round: RoundIndex, blended: [TileIndex]?, notBefore: UInt64,
        keepsResidual: Bool = false
    ) {
        fragments[fragment.value].live.applying = round
        fragments[fragment.value].live.isOverwriting = blended == nil
        var application = HeadApplication(
            fragment: fragment, round: round, blendedTiles: blended ?? [],
            alpha: blended == nil ? 0 : charter.blendAlpha, overwrite: blended == nil, notBeforeStep: notBefore)
        application.keepsResidual = keepsResidual
        out.append(.apply(application))
    }

    /// Overwrites the live value with a head that has just been adopted.
    mutating func overwrite(_ fragment: FragmentIndex, with round: RoundIndex, keepsResidual: Bool) {
        apply(fragment, round, blended: nil, notBefore: 0, keepsResidual: keepsResidual)
    }

    mutating func applied(_ fragment: FragmentIndex, _ round: RoundIndex, _ progress: TrainingProgress) {
        guard has(fragment), fragments[fragment.value].live.applying == round else { return }
        fragments[fragment.value].live.applying = nil
        if fragments[fragment.value].live.isOverwriting {
            fragments[fragment.value].live = .init(isUsable: true, start: round, shareStart: progress)
        }
        settleSnapshot(fragment)
    }

    // MARK: Budget and end

    /// The branch's committed tokens: the most behind any fragment's head, as the ledgers tell.
    mutating func updateCommittedTokens() {
        let tokens = fragments.map(\.ledger.tip.tokens).max() ?? 0
        if tokens > committedTokens || committedTokens == 0 && tokens == 0 && !budgetKnown {
            committedTokens = tokens
            out.append(.setCommittedTokens(tokens))
        }
        guard tokens >= charter.tokenBudget, !budgetKnown else { return }
        budgetKnown = true
        event(.budgetReached(committedTokens: tokens))
        out.append(.stopTraining)
        for index in fragments.indices {
            takeDeferredPlan(FragmentIndex(index))
            checkDue(FragmentIndex(index))
        }
    }

    mutating func checkFinished() {
        guard !isFinished,
            fragments.allSatisfy({ $0.ledger.tip.closed && $0.isAtTip })
        else { return }
        isFinished = true
        out.append(.finished)
    }
}
