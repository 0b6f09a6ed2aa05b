import Compression
import OuterSync
import PeerNet

// The coordinator of an attempt: plan, roster, commit, final.

extension NodeCore {
    mutating func beginAttempt(_ fragment: FragmentIndex, _ attempt: UInt32) {
        guard let round = fragments[fragment.value].round, round.voter.mayJoin(attempt) else { return }
        let id = AttemptID(fragment, round.index, attempt)
        event(.coordinating(fragment, round.index, attempt: attempt))
        setProposer(Proposer(id: id, quorum: round.quorum, at: now))
        let plan = Plan(
            id: id, base: round.tip.head, previousCommit: round.tip.commit, closing: budgetKnown)
        issue(.plan(Signed(plan, by: configuration.identity, in: context)), .publish)
        progressed(id)
        set(
            .phase(fragment),
            after: cappedToInterval(fragments[fragment.value].delays.join.value(bytes: 0, limits: limits)))
        setNudge(fragment)
    }

    private mutating func setProposer(_ proposer: Proposer) {
        fragments[proposer.id.fragment.value].round?.proposer = proposer
    }

    /// After a restart: goes on with this node's own attempt if no later one has been joined. The nudge sends its last
    /// message again.
    mutating func resumeAttempt(_ fragment: FragmentIndex) {
        guard let round = fragments[fragment.value].round, let attempt = round.voter.promised,
            round.rank.coordinator(of: attempt) == me
        else { return }
        let id = AttemptID(fragment, round.index, attempt)
        guard slots[SlotBook.Key(kind: .plan, id: id)] != nil else { return }
        setProposer(Proposer(id: id, quorum: round.quorum, at: now))
        for kind in [SlotBook.Kind.join, .roster, .result, .commit, .ack] {
            if let slot = slots[SlotBook.Key(kind: kind, id: id)] { handle(slot.message, from: me) }
        }
        set(.phase(fragment), after: limits.firstDeadline)
        set(.nudge(fragment), after: limits.retry)
    }

    mutating func joinReceived(_ join: Signed<Join>, accepted: Signed<Commit>?, from peer: PeerID) {
        let id = join.content.id
        switch relation(id) {
        case .past: return sendFinals(id.fragment, from: id.round, to: peer)
        case .future: return learn(of: id, from: peer)
        case .notYet: return
        case .open: break
        }
        let state = fragments[id.fragment.value]
        guard let round = state.round, var proposer = round.proposer, proposer.id == id,
            join.signer == me || mayServe(join.signer)
        else { return }
        guard join.content.base == round.tip.head else {
            return violation(peer, signer: join.signer, "a join for another base")
        }
        if let accepted {
            let commit = accepted.content
            guard accepted.signer == round.rank.coordinator(of: commit.id.attempt),
                commit.value.base == round.tip.head, commit.value.previousCommit == round.tip.commit,
                (try? CommitReview.checkSizes(commit.value, shape: state.shape)) != nil,
                (try? OwnerHistory.check(commit.value, after: round.tip, shape: state.shape)) != nil
            else { return violation(peer, signer: join.signer, "a join shows a commit that cannot have been acked") }
        }
        // Late joins teach the deadline too, or it could never grow.
        if join.signer != me { fragments[id.fragment.value].delays.join.learn(now - proposer.phaseStart) }
        guard proposer.phase == .collecting else { return }
        proposer.add(join, accepted: accepted)
        setProposer(proposer)
        progressed(id)
        tryRoster(id.fragment)
    }

    /// Who may be waited for: connected voters, and other connected members that hold the base.
    private func expectedMembers(_ fragment: FragmentIndex, _ round: Round) -> Set<PeerID> {
        var expected: Set<PeerID> = [me]
        for peer in peers.members where peers[peer]?.isLeaving == false {
            let report = peers[peer]?.reports[fragment.value]
            let holdsBase = report.map { $0.headRound == round.tip.round } ?? false
            if holdsBase || round.quorum.contains(peer) { expected.insert(peer) }
        }
        return expected
    }

    mutating func tryRoster(_ fragment: FragmentIndex) {
        guard let round = fragments[fragment.value].round, var proposer = round.proposer,
            let joins = proposer.roster(expected: expectedMembers(fragment, round))
        else { return }
        guard case .plan(let plan)? = slots[SlotBook.Key(kind: .plan, id: proposer.id)]?.message else { return }
        proposer.enter(.gathering, at: now)
        setProposer(proposer)
        let roster = Roster(
            id: proposer.id, base: round.tip.head, previousCommit: round.tip.commit, closing: plan.content.closing,
            joins: joins)
        issue(.roster(Signed(roster, by: configuration.identity, in: context)), .publish)
        let state = fragments[fragment.value]
        // Two transfers by way of an owner, or one of every contribution.
        let payloads = joins.count <= state.shape.gatherMembersMax ? joins.count : 2
        let deadline = state.delays.result.value(bytes: payloads * state.shape.payloadBytesMax, limits: limits)
        set(.phase(fragment), after: cappedToInterval(max(deadline, (slot ?? .zero) * 2)))
        setNudge(fragment)
    }

    mutating func holdReceived(_ hold: Hold, from peer: PeerID) {
        guard relation(hold.id) == .open, var proposer = fragments[hold.id.fragment.value].round?.proposer,
            proposer.id == hold.id
        else { return }
        for blob in hold.blobs { proposer.add(holder: peer, of: blob) }
        setProposer(proposer)
        progressed(hold.id)
        trySelection(hold.id.fragment)
    }

    /// Chooses what to propose: every owner's payload that a quorum holds, once no owner is open or time is up.
    mutating func trySelection(_ fragment: FragmentIndex) {
        guard let round = fragments[fragment.value].round, var proposer = round.proposer,
            proposer.phase == .gathering, let roster = round.roster, roster.content.id == proposer.id,
            let exchange = round.exchange
        else { return }
        if let accepted = roster.content.accepted { return propose(again: accepted, fragment) }
        var payloads: [CommitPayload] = []
        var openOwners = 0
        for position in round.contributing.isEmpty ? [] : exchange.positions {
            guard let result = round.results[position]?.content else {
                openOwners += 1
                continue
            }
            guard let blob = result.blob, !isRefused(blob, of: position, round) else { continue }
            guard proposer.isHeldByQuorum(blob.digest), isUsable(blob, of: position, round) else {
                openOwners += 1
                continue
            }
            // Who copies another's contribution is left out, or every commit with both would be refused.
            guard !payloads.contains(where: { $0.blob.digest == blob.digest }) else { continue }
            payloads.append(
                CommitPayload(
                    owner: position, contributors: result.contributors, blob: blob, feedback: result.feedback))
        }
        guard openOwners == 0 || proposer.isOverdue else { return }
        if openOwners > 0, payloads.isEmpty, proposer.extensions < Proposer.extensionsMax {
            // An empty commit would waste everybody's training; a slow network gets more time first.
            proposer.extensions += 1
            proposer.isOverdue = false
            setProposer(proposer)
            return set(.phase(fragment), after: limits.firstDeadline * (1 << proposer.extensions))
        }
        fragments[fragment.value].delays.result.learn(now - proposer.phaseStart)
        proposer.enter(.stepping, at: now)
        setProposer(proposer)
        computeProposal(fragment, round, roster, payloads)
    }

    private mutating func computeProposal(
        _ fragment: FragmentIndex, _ round: Round, _ roster: Signed<Roster>, _ payloads: [CommitPayload]
    ) {
        // The head is filled in when it is computed.
        let value = CommitValue(
            fragment: fragment, round: round.index, base: round.tip.head, previousCommit: round.tip.commit,
            closing: roster.content.closing, members: round.members, payloads: payloads, head: round.tip.head,
            resultLevel: round.resultLevel)
        let step = step(of: value, tokensBefore: round.tip.tokens)
        compute(
            .outerStep(fragment: fragment, base: round.tip.head, step: step), fragment,
            .proposal(roster.content.id, value, step))
    }

    mutating func proposalComputed(_ id: AttemptID, _ value: CommitValue, head: Digest) {
        guard relation(id) == .open, var proposer = fragments[id.fragment.value].round?.proposer, proposer.id == id,
            proposer.phase == .stepping, let round = fragments[id.fragment.value].round
        else { return }
        var value = value
        value.head = head
        let results = value.payloads.compactMap { round.results[$0.owner] }
        guard results.count == value.payloads.count else { return }
        let commit = Signed(
            Commit(id: id, value: value, results: results, in: context), by: configuration.identity, in: context)
        proposer.enter(.proposing(commit), at: now)
        setProposer(proposer)
        issue(.commit(commit), .publish)
        setNudge(id.fragment)
    }

    /// Proposes, unchanged, the commit that some voter acked at an earlier attempt: it may have been decided.
    private mutating func propose(again accepted: AcceptedValue, _ fragment: FragmentIndex) {
        guard let round = fragments[fragment.value].round, var proposer = round.proposer else { return }
        let own = round.voter.accepted
        let earlier =
            own?.content.valueDigest == accepted.value ? own : proposer.acceptedCommit(accepted.value)
        guard let earlier else { return }  // the join that shows it is on its way again with the next nudge
        let content = Commit(
            id: proposer.id, value: earlier.content.value, results: earlier.content.results, in: context)
        let commit = Signed(content, by: configuration.identity, in: context)
        proposer.enter(.proposing(commit), at: now)
        setProposer(proposer)
        issue(.commit(commit), .publish)
        setNudge(fragment)
    }

    mutating func ackReceived(_ ack: Signed<Ack>, from peer: PeerID) {
        let id = ack.content.id
        guard relation(id) == .open, var proposer = fragments[id.fragment.value].round?.proposer, proposer.id == id
        else {
            return
        }
        let final = proposer.add(ack)
        setProposer(proposer)
        progressed(id)
        guard let final else { return }
        out.append(.cancelTimer(.phase(id.fragment)))
        out.append(.cancelTimer(.nudge(id.fragment)))
        publish(.final(final))
        finalReceived(final, from: me)
    }

    mutating func phaseOverdue(_ fragment: FragmentIndex) {
        guard has(fragment), fragments[fragment.value].round?.proposer != nil else { return }
        fragments[fragment.value].round?.proposer?.isOverdue = true
        tryRoster(fragment)
        trySelection(fragment)
    }

    private mutating func setNudge(_ fragment: FragmentIndex) {
        let nudges = fragments[fragment.value].round?.proposer?.nudges ?? 0
        set(.nudge(fragment), after: min(limits.retry * (1 << min(nudges, 8)), limits.retryMax))
    }

    /// Repeats the attempt's last message to those who have not answered; whoever gets one twice answers again.
    mutating func nudge(_ fragment: FragmentIndex) {
        guard has(fragment), let round = fragments[fragment.value].round, let proposer = round.proposer else { return }
        let voters = round.quorum.voters.filter { $0 != me && peers.isMember($0) }
        switch proposer.phase {
        case .collecting:
            let expected = expectedMembers(fragment, round).subtracting(proposer.joins.keys).sorted()
            for peer in expected { resend(.plan, proposer.id, .send(peer)) }
        case .gathering, .stepping:
            let members = Set(round.members.map(\.peer)).union(voters).sorted()
            for peer in members { resend(.roster, proposer.id, .send(peer)) }
        case .proposing:
            for peer in voters where proposer.acks[peer] == nil {
                resend(.roster, proposer.id, .send(peer))
                resend(.commit, proposer.id, .send(peer))
            }
        case .decided: return
        }
        fragments[fragment.value].round?.proposer?.nudges += 1
        setNudge(fragment)
    }
}

extension Proposer {
    /// How often a selection without any payload waits longer before it becomes an empty commit.
    static let extensionsMax = 3
}
