import Compression
import OuterSync
import PeerNet

// From roster to results: contribute, own, hold.

extension NodeCore {
    mutating func rosterReceived(_ roster: Signed<Roster>, from peer: PeerID) {
        let id = roster.content.id
        switch relation(id) {
        case .past: return sendFinals(id.fragment, from: id.round, to: peer)
        case .future: return learn(of: id, from: peer)
        case .notYet: return
        case .open: break
        }
        let state = fragments[id.fragment.value]
        guard let round = state.round, round.voter.promised.map({ id.attempt >= $0 }) ?? true,
            id.attempt >= round.highestAttempt ?? 0
        else { return }
        if let known = round.roster, known.content.id == id {
            guard known.digest == roster.digest else {
                return violation(peer, signer: roster.signer, "two rosters for one attempt")
            }
            progressed(id)
            return repeatContribution(id.fragment)
        }
        guard roster.signer == round.rank.coordinator(of: id.attempt) else {
            return violation(peer, signer: roster.signer, "a roster by a voter whose turn it is not")
        }
        guard roster.content.base == round.tip.head, roster.content.previousCommit == round.tip.commit else {
            return event(.planRefused(id.fragment, id.round, attempt: id.attempt, reason: "it follows another history"))
        }
        guard round.quorum.isReached(by: roster.content.joins.map(\.signer)) else {
            return violation(peer, signer: roster.signer, "a roster without a quorum of voters")
        }
        guard !roster.content.closing || budgetKnown else { return send(.status(report()), to: peer) }
        if let stranger = roster.content.joins.map(\.signer).first(where: { $0 != me && !mayServe($0) }) {
            // The coordinator may know of a newcomer before this node does: its answer brings the records, and a nudge
            // the roster again.
            event(
                .planRefused(
                    id.fragment, id.round, attempt: id.attempt, reason: "\(stranger.short) is not known to be a member")
            )
            return send(.status(report()), to: peer)
        }
        progressed(id)
        let resultLevel = resultLevel(of: roster.content, after: round.tip, state.shape)
        fragments[id.fragment.value].round?.set(roster, shape: state.shape, resultLevel: resultLevel)
        out.append(.cancelTimer(.aggregate(id.fragment)))
        if roster.content.accepted == nil {
            contribute(id.fragment)
            beginOwning(id.fragment)
        }
        for early in fragments[id.fragment.value].round?.takeEarly(attempt: id.attempt) ?? [] {
            handle(early.message, from: early.from)
        }
        trySelection(id.fragment)
    }

    /// Somebody has not heard from everybody: say again what this node has said in this attempt.
    private mutating func repeatContribution(_ fragment: FragmentIndex) {
        guard let round = fragments[fragment.value].round, let roster = round.roster else { return }
        contribute(fragment)
        resend(.result, roster.content.id, .publish)
        tellHeld(fragment)
    }

    // MARK: Contributor

    /// Encodes what no earlier attempt has encoded, and offers every owner its blob.
    private mutating func contribute(_ fragment: FragmentIndex) {
        guard let round = fragments[fragment.value].round, let roster = round.roster, let exchange = round.exchange,
            let mine = round.position(of: me), round.members[mine].share.tokens > 0
        else { return }
        guard !exchange.isGather else { return contributeToAll(fragment, round, roster, exchange, mine) }
        guard case .taken = round.snapshot else { return }
        var assignment = [[TileIndex]](repeating: [], count: round.members.count)
        var targets = [Contributor.Target?](repeating: nil, count: round.members.count)
        for position in exchange.positions {
            let target = Contributor.Target(
                owner: round.members[position].peer, tiles: exchange.tiles(of: position))
            if let blob = round.contributor.blob(for: target) {
                offer(blob, to: target.owner, roster.content.id)
            } else {
                assignment[position] = target.tiles
                targets[position] = target
            }
        }
        guard targets.contains(where: { $0 != nil }), !round.contributor.isEncoding else { return }
        fragments[fragment.value].round?.contributor.isEncoding = true
        compute(
            .encodeContribution(
                fragment: fragment, round: round.index, assignment: assignment,
                room: contributionRoom(for: round.members), measuredFrom: measuredFrom(round.index, fragment)),
            fragment,
            .contribution(round.index, targets))
    }

    private mutating func offer(_ blob: BlobReference, to owner: PeerID, _ id: AttemptID) {
        let offer = Offer(id: id, blob: blob)
        if owner == me { offerReceived(offer, from: me) } else { send(.offer(offer), to: owner) }
    }

    mutating func contributionEncoded(
        _ fragment: FragmentIndex, _ index: RoundIndex, _ targets: [Contributor.Target?], _ blobs: [BlobReference?],
        _ tables: [CodecTable?]
    ) {
        guard var round = fragments[fragment.value].round, round.index == index, blobs.count == targets.count else {
            // The round ended meanwhile: nobody needs what was encoded.
            for blob in blobs.compactMap({ $0 }) { shelf.hold(blob, for: .contribution(fragment, index)) }
            return release(.contribution(fragment, index))
        }
        round.contributor.isEncoding = false
        for (target, blob) in zip(targets, blobs) {
            guard let target, let blob else { continue }
            round.contributor.add(blob, for: target)
            shelf.hold(blob, for: .contribution(fragment, index))
        }
        noteContributions(fragment, index, targets, blobs, tables)
        fragments[fragment.value].round = round
        contribute(fragment)
    }

    // MARK: Owner

    private mutating func beginOwning(_ fragment: FragmentIndex) {
        let state = fragments[fragment.value]
        guard let round = state.round, let roster = round.roster, case .scatter(let ownership)? = round.exchange,
            let mine = round.position(of: me), ownership.positions.contains(mine), !round.contributing.isEmpty
        else { return }
        let id = roster.content.id
        if let slot = slots[SlotBook.Key(kind: .result, id: id)] {
            // Signed before a restart: that is the result, whatever would come now.
            if slot.isDurable { handle(slot.message, from: me) }
            return
        }
        fragments[fragment.value].round?.owner = Owner(
            id: id, tiles: ownership.tiles(of: mine), expected: round.contributing, at: now)
        let deadline = state.delays.contribution.value(bytes: state.shape.payloadBytesMax, limits: limits)
        set(.aggregate(fragment), after: cappedToInterval(max(deadline, slot ?? .zero)))
    }

    mutating func offerReceived(_ offer: Offer, from peer: PeerID) {
        let id = offer.id
        guard relation(id) == .open, let round = fragments[id.fragment.value].round else { return }
        guard round.roster?.content.id == id else {
            fragments[id.fragment.value].round?.stash(.offer(offer), attempt: id.attempt, from: peer)
            return
        }
        guard var owner = round.owner, let position = round.position(of: peer) else { return }
        guard offer.blob.byteCount <= fragments[id.fragment.value].shape.payloadBytesMax else {
            return violation(peer, signer: peer, "a contribution is too large")
        }
        // A late one teaches the deadline too, or it could never grow.
        if peer != me, owner.offers[position] == nil {
            fragments[id.fragment.value].delays.contribution.learn(now - owner.started)
        }
        guard owner.phase == .gathering, owner.add(offer.blob, from: position) else { return }
        fragments[id.fragment.value].round?.owner = owner
        shelf.need(offer.blob, for: .contribution(id.fragment, id.round), from: [peer], namedBy: peer)
        progressed(id)
        tryAggregate(id.fragment)
    }

    mutating func aggregateOverdue(_ fragment: FragmentIndex) {
        guard has(fragment), fragments[fragment.value].round?.owner != nil else { return }
        fragments[fragment.value].round?.owner?.isOverdue = true
        tryAggregate(fragment)
        guard let owner = fragments[fragment.value].round?.owner, owner.phase == .gathering else { return }
        fragments[fragment.value].round?.owner?.extensions += 1
        fragments[fragment.value].round?.owner?.isOverdue = false
        set(.aggregate(fragment), after: limits.firstDeadline)
    }

    mutating func tryAggregate(_ fragment: FragmentIndex) {
        guard let round = fragments[fragment.value].round, let owner = round.owner,
            let selected = owner.selection(isHeld: { shelf.isHeld($0) })
        else { return }
        fragments[fragment.value].round?.owner?.phase = .aggregating
        out.append(.cancelTimer(.aggregate(fragment)))
        guard !selected.isEmpty else { return signResult(owner.id, blob: nil, contributors: []) }
        let contributions = selected.compactMap { position in
            owner.offers[position].map {
                ContributionReference(member: position, share: round.members[position].share, blob: $0)
            }
        }
        compute(
            .aggregate(
                fragment: fragment, round: round.index, tiles: owner.tiles, contributions: contributions,
                resultLevel: round.resultLevel, measuredFrom: measuredFrom(round.index, fragment),
                feedback: round.tip.feedback[me]?.state),
            fragment, .aggregate(owner.id))
    }

    mutating func aggregated(
        _ id: AttemptID, blob: BlobReference, members: [Int], refused: [RefusedContribution],
        feedback: FeedbackDigests?
    ) {
        shelf.hold(blob, for: .payload(id.fragment, id.round))
        guard relation(id) == .open, let round = fragments[id.fragment.value].round, round.owner?.id == id else {
            return trimPayloads(id.fragment, id.round)
        }
        for refusal in refused where round.members.indices.contains(refusal.member) {
            let peer = round.members[refusal.member].peer
            event(.contributionRefused(id.fragment, id.round, from: peer, reason: refusal.reason))
        }
        if feedback != nil, feedback?.before == nil, round.tip.feedback[me] != nil {
            event(.feedbackLost(id.fragment, id.round))
        }
        signResult(id, blob: members.isEmpty ? nil : blob, contributors: members, feedback: feedback)
    }

    /// Signs what this node has for its tiles; without a blob nobody needs to wait for it.
    mutating func signResult(
        _ id: AttemptID, blob: BlobReference?, contributors: [Int], feedback: FeedbackDigests? = nil
    ) {
        guard relation(id) == .open, let round = fragments[id.fragment.value].round, let roster = round.roster,
            roster.content.id == id, round.owner?.id == id
        else { return }
        fragments[id.fragment.value].round?.owner?.phase = .done
        let result = OwnerResult(
            id: id, roster: roster.digest, contributors: MemberSet(contributors), blob: blob,
            feedback: blob == nil ? nil : feedback)
        issue(.result(Signed(result, by: configuration.identity, in: context)), .publish)
    }

    // MARK: Holder

    mutating func resultReceived(_ result: Signed<OwnerResult>, from peer: PeerID) {
        let id = result.content.id
        guard relation(id) == .open, let round = fragments[id.fragment.value].round else { return }
        guard let roster = round.roster, roster.content.id == id else {
            fragments[id.fragment.value].round?.stash(.result(result), attempt: id.attempt, from: peer)
            return
        }
        guard result.content.roster == roster.digest, let position = round.position(of: result.signer),
            let exchange = round.exchange, exchange.positions.contains(position),
            exchange.allows(result.content.contributors, of: position),
            Set(result.content.contributors.positions).isSubset(of: round.contributing)
        else { return violation(peer, signer: result.signer, "a result that the roster does not allow") }
        guard result.content.blob?.byteCount ?? 0 <= fragments[id.fragment.value].shape.payloadBytesMax else {
            return violation(peer, signer: result.signer, "a result is too large")
        }
        guard
            OwnerHistory.allows(
                result.content, of: result.signer, after: round.tip,
                keepsFeedback: fragments[id.fragment.value].shape.keepsFeedback && !exchange.isGather)
        else { return violation(peer, signer: result.signer, "an owner has changed the history of its feedback") }
        guard round.results[position] == nil else { return }
        fragments[id.fragment.value].round?.results[position] = result
        progressed(id)
        if let blob = result.content.blob {
            shelf.need(
                blob, for: .payload(id.fragment, id.round), from: sources([result.signer, roster.signer]),
                namedBy: result.signer)
            if shelf.isHeld(blob) {
                checkPayloads(id.fragment)
                tellHeld(id.fragment)
            }
        }
        trySelection(id.fragment)
    }

    /// Tells the coordinator which payloads this node holds durably, all of them each time.
    mutating func tellHeld(_ fragment: FragmentIndex) {
        guard let round = fragments[fragment.value].round, let roster = round.roster, round.quorum.contains(me) else {
            return
        }
        let blobs = round.results.keys.sorted().compactMap { position in
            round.results[position]?.content.blob.flatMap { isUsable($0, of: position, round) ? $0.digest : nil }
        }
        guard !blobs.isEmpty else { return }
        let hold = Hold(id: roster.content.id, blobs: blobs)
        if roster.signer == me { holdReceived(hold, from: me) } else { send(.hold(hold), to: roster.signer) }
    }

    /// Whom to ask for a blob: these first, then the other connected members, and this node's own disk last.
    func sources(_ preferred: [PeerID]) -> [PeerID] {
        var sources: [PeerID] = []
        for peer in preferred + peers.members where peer != me && !sources.contains(peer) { sources.append(peer) }
        return sources + [me]
    }
}
