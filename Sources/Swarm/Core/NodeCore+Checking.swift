import Compression
import OuterSync
import PeerNet

// Voters look at every published payload before they claim to hold it.

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
