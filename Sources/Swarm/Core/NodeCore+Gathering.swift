import Compression
import OuterSync
import PeerNet

// Gather: every member's contribution is a payload of its own, which everybody fetches and averages.

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
}
