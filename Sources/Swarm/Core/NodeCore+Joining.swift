import OuterSync
import PeerNet

// Plan, snapshot, join: how a member promises to take part.

extension NodeCore {
    /// How a message's round relates to the one that is open here.
    enum Relation: Hashable { case past, open, notYet, future }

    func relation(_ id: AttemptID) -> Relation {
        let state = fragments[id.fragment.value]
        let tip = state.ledger.tip.round
        if id.round <= tip { return .past }
        if id.round > tip.next || state.ledger.tip.closed { return .future }
        return state.round == nil ? .notYet : .open
    }

    /// Opens the next round of a fragment once the head has reached the ledger's tip; what this node signed for it
    /// before a restart binds it still.
    mutating func openRound(_ fragment: FragmentIndex) {
        let state = fragments[fragment.value]
        guard state.round == nil, state.isAtTip, state.following == .idle, !state.ledger.tip.closed else { return }
        var round = Round(after: state.ledger.tip, at: now)
        let joins = slots.slots(.join, fragment, round.index)
        for slot in joins {
            guard case .join(let join, _) = slot.message else { continue }
            round.voter.promise(join.content.id.attempt)
            round.highestAttempt = join.content.id.attempt
            round.snapshot = .unavailable  // the copy died with the process
        }
        for slot in slots.slots(.accepted, fragment, round.index) + slots.slots(.commit, fragment, round.index) {
            guard case .commit(let commit) = slot.message else { continue }
            let key = SlotBook.Key(kind: .ack, id: commit.content.id)
            if commit.signer != me || slots[key] != nil { round.voter.accept(commit) }
        }
        if round.highestAttempt != nil { round.dueSince = now }
        fragments[fragment.value].round = round
        // What an ack or a result on disk vouches for is kept, and others may still ask for it.
        if let accepted = round.voter.accepted { needPayloads(of: accepted) }
        for slot in slots.slots(.result, fragment, round.index) {
            guard case .result(let result) = slot.message, let blob = result.content.blob else { continue }
            shelf.need(blob, for: .payload(fragment, round.index), from: sources([]))
        }
        resumeAttempt(fragment)
        takeDeferredPlan(fragment)
        checkDue(fragment)
    }

    mutating func takeDeferredPlan(_ fragment: FragmentIndex) {
        guard let deferred = fragments[fragment.value].deferredPlan else { return }
        fragments[fragment.value].deferredPlan = nil
        planReceived(deferred.plan, from: deferred.from)
    }

    mutating func planReceived(_ plan: Signed<Plan>, from peer: PeerID) {
        let id = plan.content.id
        switch relation(id) {
        case .past: return sendFinals(id.fragment, from: id.round, to: peer)
        case .future: return learn(of: id, from: peer)
        case .notYet:
            fragments[id.fragment.value].deferredPlan = (peer, plan)
            return
        case .open: break
        }
        guard let round = fragments[id.fragment.value].round else { return }
        guard plan.signer == round.rank.coordinator(of: id.attempt) else {
            return violation(peer, signer: plan.signer, "a plan by a voter whose turn it is not")
        }
        guard plan.content.base == round.tip.head, plan.content.previousCommit == round.tip.commit else {
            return event(.planRefused(id.fragment, id.round, attempt: id.attempt, reason: "it follows another history"))
        }
        guard !plan.content.closing || budgetKnown else {
            // The coordinator knows a final that this node has not seen: ask where it stands, then look again.
            fragments[id.fragment.value].deferredPlan = (peer, plan)
            return send(.status(report()), to: peer)
        }
        if resend(.join, id, .send(plan.signer)) { return progressed(id) }
        guard round.voter.mayJoin(id.attempt) else { return }
        progressed(id)
        fragments[id.fragment.value].round?.pendingPlan = plan
        settleSnapshot(id.fragment)
    }

    /// Notes that an attempt is alive; a higher one ends this node's own lower one.
    mutating func progressed(_ id: AttemptID) {
        guard var round = fragments[id.fragment.value].round, round.index == id.round else { return }
        guard id.attempt >= round.highestAttempt ?? 0 else { return }
        round.highestAttempt = id.attempt
        round.lastProgress = now
        if round.dueSince == nil { round.dueSince = now }
        if let own = round.proposer, own.id.attempt < id.attempt { round.proposer = nil }
        fragments[id.fragment.value].round = round
        checkDue(id.fragment)
    }

    /// Takes the round's snapshot, once, as soon as the live value can give one; then joins.
    mutating func settleSnapshot(_ fragment: FragmentIndex) {
        let state = fragments[fragment.value]
        guard let round = state.round, round.pendingPlan != nil else { return }
        switch round.snapshot {
        case .requested: break
        case .taken, .unavailable: join(fragment)
        case .none, .waiting:
            if !canContribute(fragment, to: round.index) {
                fragments[fragment.value].round?.snapshot = .unavailable
                join(fragment)
            } else if state.live.applying != nil {
                fragments[fragment.value].round?.snapshot = .waiting
            } else {
                fragments[fragment.value].round?.snapshot = .requested
                event(.roundStarted(fragment, round.index))
                out.append(.takeSnapshot(fragment, round.index, sequel(fragment, of: round.index)))
            }
        }
    }

    mutating func snapshotTaken(_ fragment: FragmentIndex, _ index: RoundIndex, _ taken: TrainingProgress?) {
        guard has(fragment), let round = fragments[fragment.value].round, round.index == index,
            round.snapshot == .requested
        else {
            out.append(.releaseSnapshot(fragment, index, committed: []))
            if has(fragment), sequel(fragment, of: index) != .none {
                mustOverwrite(fragment, "its copy came after its round")
                follow(fragment)
            }
            return
        }
        let start = fragments[fragment.value].live.shareStart
        if let taken, taken.tokens > start.tokens, taken.steps > start.steps {
            let share = TrainingShare(
                tokens: min(taken.tokens - start.tokens, Limits.shareMax),
                steps: min(taken.steps - start.steps, Limits.shareMax))
            fragments[fragment.value].round?.snapshot = .taken(share, at: taken)
            fragments[fragment.value].round?.snapshotAt = now
            turned(fragment, index, at: taken)
        } else {
            fragments[fragment.value].round?.snapshot = .unavailable
            if sequel(fragment, of: index) != .none {
                mustOverwrite(fragment, "its trainer had nothing to contribute")
                follow(fragment)
            }
            if taken != nil { out.append(.releaseSnapshot(fragment, index, committed: [])) }
        }
        join(fragment)
    }

    /// Signs the promise for the pending plan. It names the last commit acked, so that the coordinator proposes that.
    private mutating func join(_ fragment: FragmentIndex) {
        guard var round = fragments[fragment.value].round, let plan = round.pendingPlan,
            round.voter.mayJoin(plan.content.id.attempt)
        else { return }
        var share = TrainingShare(tokens: 0, steps: 0)
        if case .taken(let taken, _) = round.snapshot { share = taken }
        let accepted = round.voter.accepted
        let content = Join(
            id: plan.content.id, base: round.tip.head, share: share, millistepsPerSecond: pace.millistepsPerSecond,
            rateClass: rateClass(), rates: negotiates ? links.ownRates : LinkRates(),
            accepted: accepted.map { AcceptedValue(attempt: $0.content.id.attempt, value: $0.content.valueDigest) })
        round.pendingPlan = nil
        round.voter.promise(plan.content.id.attempt)
        fragments[fragment.value].round = round
        slots.forget(fragment, round.index, before: plan.content.id.attempt)
        issue(.join(Signed(content, by: configuration.identity, in: context), accepted: accepted), .send(plan.signer))
    }
}
