import Compression
import OuterSync
import PeerNet

// Gather: every member's contribution is a payload of its own, which everybody fetches, checks and averages.

/// Whether one payload can be what it claims: it depends on its bytes and on what is expected of them.
struct PayloadCheck: Hashable, Sendable {
    enum State: Hashable, Sendable { case running, fit, refused }

    let blob: BlobReference
    /// Of the member that publishes it.
    let share: TrainingShare
    let tiles: [TileIndex]
    let resultLevel: Int
}

extension NodeCore {
    /// Encodes the contribution once, then signs a result that names it: what an owner's mean is in a scatter.
    mutating func contributeToAll(
        _ fragment: FragmentIndex, _ round: Round, _ roster: Signed<Roster>, _ exchange: Exchange, _ mine: Int
    ) {
        let id = roster.content.id
        if let slot = slots[SlotBook.Key(kind: .result, id: id)] {
            // Signed before a restart: that is the result.
            if slot.isDurable { handle(slot.message, from: me) }
            return
        }
        let target = Contributor.Target(owner: me, tiles: exchange.tiles(of: mine))
        if round.owner?.id != id {
            var owner = Owner(id: id, tiles: target.tiles, expected: [mine], at: now)
            owner.phase = .aggregating  // it takes no offers
            fragments[fragment.value].round?.owner = owner
        }
        guard case .taken = round.snapshot else {
            // The copy that the join promised died with the process: nobody needs to wait for it.
            return signResult(id, blob: nil, contributors: [])
        }
        if let blob = round.contributor.blob(for: target) {
            shelf.hold(blob, for: .payload(fragment, round.index))
            return signResult(id, blob: blob, contributors: [mine])
        }
        guard !round.contributor.isEncoding else { return }
        fragments[fragment.value].round?.contributor.isEncoding = true
        var assignment = [[TileIndex]](repeating: [], count: round.members.count)
        var targets = [Contributor.Target?](repeating: nil, count: round.members.count)
        assignment[mine] = target.tiles
        targets[mine] = target
        compute(
            // Everybody must expect the same codecs, so links choose none here.
            .encodeContribution(
                fragment: fragment, round: round.index, assignment: assignment,
                room: ContributionRoom(owners: [ContributionRoom.Owner?](repeating: nil, count: round.members.count)),
                measuredFrom: measuredFrom(round.index, fragment)), fragment,
            .contribution(round.index, targets))
    }

    private func check(_ blob: BlobReference, of position: Int, _ round: Round) -> PayloadCheck {
        PayloadCheck(
            blob: blob, share: round.members[position].share, tiles: round.exchange?.tiles(of: position) ?? [],
            resultLevel: round.resultLevel)
    }

    /// Whether a published payload may be proposed: it is held, and can be what it claims.
    func isUsable(_ blob: BlobReference, of position: Int, _ round: Round) -> Bool {
        shelf.isHeld(blob) && round.checks[check(blob, of: position, round)] == .fit
    }

    /// Whether a payload has been found unfit; then everybody finds so.
    func isRefused(_ blob: BlobReference, of position: Int, _ round: Round) -> Bool {
        round.checks[check(blob, of: position, round)] == .refused
    }

    /// Looks at the payloads that have come and have not been looked at: one that is no payload would make every commit that
    /// names it fail.
    mutating func checkPayloads(_ fragment: FragmentIndex) {
        guard let round = fragments[fragment.value].round, let exchange = round.exchange, round.quorum.contains(me)
        else { return }
        for position in round.results.keys.sorted() {
            guard let blob = round.results[position]?.content.blob, shelf.isHeld(blob) else { continue }
            let check = check(blob, of: position, round)
            guard round.checks[check] == nil else { continue }
            fragments[fragment.value].round?.checks[check] = .running
            let base = measuredFrom(round.index, fragment) ?? round.tip.head
            let job: Job =
                exchange.isGather
                ? .checkContribution(
                    fragment: fragment, base: base,
                    contribution: ContributionReference(member: position, share: check.share, blob: blob))
                : .checkResult(
                    fragment: fragment, base: base, tiles: check.tiles, resultLevel: check.resultLevel, blob: blob)
            compute(job, fragment, .check(round.index, round.members[position].peer, check))
        }
    }

    mutating func payloadChecked(
        _ fragment: FragmentIndex, _ index: RoundIndex, _ peer: PeerID, _ check: PayloadCheck, refusal: String?
    ) {
        guard fragments[fragment.value].round?.index == index else { return }
        fragments[fragment.value].round?.checks[check] = refusal == nil ? .fit : .refused
        if let refusal { event(.contributionRefused(fragment, index, from: peer, reason: refusal)) }
        tellHeld(fragment)
        trySelection(fragment)
    }
}
