import Compression
import OuterSync
import PeerNet

// Ledger pages close the gap in the ledger; payloads or a snapshot close the head's.

extension NodeCore {
    /// Final commits behind the ledger's tip that still count as caught up: one is on its way in every round.
    static let caughtUpLagMax: UInt64 = 2

    /// A message shows that its round's predecessor is final: `peer` can tell.
    mutating func learn(of id: AttemptID, from peer: PeerID) {
        note(peer, id.fragment, ledger: RoundIndex(id.round.value - 1))
        fragments[id.fragment.value].deferredPlan = nil
        follow(id.fragment)
    }

    /// Raises what is known of where a peer stands.
    mutating func note(_ peer: PeerID, _ fragment: FragmentIndex, ledger round: RoundIndex, head: RoundIndex? = nil) {
        guard peers.isMember(peer) else { return }
        peers.update(peer) { entry in
            entry.reports[fragment.value].ledgerRound = max(entry.reports[fragment.value].ledgerRound, round)
            if let head { entry.reports[fragment.value].headRound = max(entry.reports[fragment.value].headRound, head) }
        }
    }

    // MARK: Ledger

    /// Asks for the next page, if somebody has more finals and nobody has been asked.
    mutating func askForLedger(_ fragment: FragmentIndex) {
        let state = fragments[fragment.value]
        guard state.pageRequest == nil, !state.ledger.tip.closed else { return }
        let next = state.ledger.tip.round.next
        guard let peer = peers.members(withLedger: next, of: fragment).first else { return }
        fragments[fragment.value].pageRequest = (peer, now)
        event(.catchingUp(fragment, head: state.head, known: peers.newestRound(of: fragment) ?? next))
        send(.ledgerRequest(fragment, from: next), to: peer)
        set(.catchUp(fragment), after: limits.retry)
    }

    /// Answers a request, or a message of a round that is over, with the finals from that round on.
    mutating func sendFinals(_ fragment: FragmentIndex, from round: RoundIndex, to peer: PeerID) {
        send(.ledgerPage(fragment, fragments[fragment.value].ledger.page(from: round)), to: peer)
    }

    mutating func ledgerReceived(_ fragment: FragmentIndex, _ finals: [Final], from peer: PeerID) {
        let before = fragments[fragment.value].ledger.tip.round
        if fragments[fragment.value].pageRequest?.from == peer { fragments[fragment.value].pageRequest = nil }
        for final in finals {
            guard final.value.fragment == fragment else {
                return violation(peer, signer: peer, "a ledger page mixes fragments")
            }
            guard final.value.round == fragments[fragment.value].ledger.tip.round.next else { continue }
            finalReceived(final, from: peer)
        }
        let tip = fragments[fragment.value].ledger.tip.round
        peers.update(peer) { entry in
            entry.wasUseless = tip == before
            guard tip == before, entry.isMember else { return }
            // It has no more than this node, whatever it or a message of its seemed to say.
            entry.reports[fragment.value].ledgerRound = min(entry.reports[fragment.value].ledgerRound, tip)
        }
        follow(fragment)
    }

    // MARK: Snapshot

    mutating func seekSnapshot(_ fragment: FragmentIndex) {
        fragments[fragment.value].following = .seekingSnapshot(asked: [], current: nil)
        askForSnapshot(fragment)
    }

    private mutating func askForSnapshot(_ fragment: FragmentIndex) {
        let state = fragments[fragment.value]
        guard case .seekingSnapshot(var asked, _) = state.following else { return }
        let donors = peers.members(withHead: state.head.next, of: fragment).filter { !asked.contains($0) }
        guard let donor = donors.randomElement(using: &random) else { return followFailed(fragment) }
        asked.insert(donor)
        fragments[fragment.value].following = .seekingSnapshot(asked: asked, current: donor)
        send(.snapshotRequest(fragment), to: donor)
        set(.catchUp(fragment), after: limits.retry)
    }

    mutating func snapshotRequested(_ fragment: FragmentIndex, from peer: PeerID) {
        let newest = fragments[fragment.value].snapshots.last
        var offer = SnapshotOffer(
            fragment: fragment, round: newest?.round ?? RoundIndex(0), tiles: newest?.manifest.tiles ?? [])
        if let newest { offer.drift = newest.manifest.drift }
        send(.snapshot(offer), to: peer)
    }

    mutating func snapshotReceived(_ offer: SnapshotOffer, from peer: PeerID) {
        let fragment = offer.fragment
        let state = fragments[fragment.value]
        guard case .seekingSnapshot(_, peer) = state.following else { return }
        guard !offer.tiles.isEmpty, offer.round > state.head, let head = state.ledger.head(after: offer.round),
            let value = state.ledger.final(of: offer.round)?.value,
            let tokens = state.ledger.tokens(after: RoundIndex(offer.round.value - 1))
        else { return askForSnapshot(fragment) }
        let manifest = SnapshotManifest(
            scalars: value.scalars(tokensBefore: tokens, shape: state.shape), drift: offer.drift, tiles: offer.tiles)
        guard offer.tiles.count == state.shape.tileCount,
            offer.tiles.allSatisfy({ $0.byteCount <= state.shape.snapshotTileBytesMax }), manifest.headDigest == head
        else {
            violation(peer, signer: peer, "a snapshot is not of the head that the ledger names")
            return askForSnapshot(fragment)
        }
        event(.fetchingSnapshot(fragment, offer.round, tiles: offer.tiles.count))
        fragments[fragment.value].following = .fetchingSnapshot(offer.round, manifest)
        let donors = sources([peer] + peers.members(withHead: offer.round, of: fragment))
        for (index, tile) in offer.tiles.enumerated() {
            // Each tile begins with another donor, so that all of them send at once; this node itself stays last.
            let shift = donors.count > 1 ? index % (donors.count - 1) : 0
            let order = donors.dropLast().dropFirst(shift) + donors.prefix(shift) + [me]
            shelf.need(tile, for: .snapshot(fragment, offer.round), from: Array(order), namedBy: peer)
        }
        continueSnapshot(fragment, offer.round, manifest)
    }

    mutating func continueSnapshot(_ fragment: FragmentIndex, _ round: RoundIndex, _ manifest: SnapshotManifest) {
        if manifest.tiles.allSatisfy({ shelf.isHeld($0) }) {
            // The finals behind a head are on disk before it; each one that comes there asks again.
            guard round <= fragments[fragment.value].durableRound else { return }
            fragments[fragment.value].following = .installing(round, manifest)
            discardCandidates(fragment, except: nil)
            return compute(
                .installSnapshot(fragment: fragment, manifest: manifest), fragment, .install(round, manifest))
        }
        guard manifest.tiles.contains(where: { shelf.hasFailed($0, sweeps: 2) }) else { return }
        // The donors have newer snapshots by now.
        release(.snapshot(fragment, round))
        followFailed(fragment)
    }

    mutating func installed(
        _ fragment: FragmentIndex, _ round: RoundIndex, _ manifest: SnapshotManifest, _ head: Digest
    ) {
        guard fragments[fragment.value].following == .installing(round, manifest) else { return }
        guard head == fragments[fragment.value].ledger.head(after: round) else {
            release(.snapshot(fragment, round))
            event(.jobFailed(fragment, reason: "an installed snapshot has head \(head.short), not the ledger's"))
            return followFailed(fragment)
        }
        moveHead(fragment, to: round, head)
        fragments[fragment.value].outcomes = fragments[fragment.value].outcomes.filter { $0.key > round }
        store(fragment, .init(round: round, manifest: manifest))
        mustOverwrite(fragment, "a snapshot replaced the head")
        follow(fragment)
        checkFinished()
    }

    mutating func captureSnapshot(_ fragment: FragmentIndex) {
        compute(.captureSnapshot(fragment: fragment), fragment, .capture(fragments[fragment.value].head))
    }

    mutating func captured(_ fragment: FragmentIndex, _ round: RoundIndex, _ manifest: SnapshotManifest) {
        for tile in manifest.tiles { shelf.hold(tile, for: .snapshot(fragment, round)) }
        guard manifest.headDigest == fragments[fragment.value].ledger.head(after: round) else {
            event(.jobFailed(fragment, reason: "a captured snapshot is not the head of round \(round.value)"))
            return release(.snapshot(fragment, round))
        }
        store(fragment, .init(round: round, manifest: manifest))
    }

    /// Keeps a snapshot for joiners, and drops what two newer ones cover.
    private mutating func store(_ fragment: FragmentIndex, _ snapshot: FragmentState.StoredSnapshot) {
        guard !fragments[fragment.value].snapshots.contains(where: { $0.round == snapshot.round }) else { return }
        fragments[fragment.value].snapshots.append(snapshot)
        fragments[fragment.value].snapshots.sort { $0.round < $1.round }
        while fragments[fragment.value].snapshots.count > Limits.snapshotsKept {
            release(.snapshot(fragment, fragments[fragment.value].snapshots.removeFirst().round))
        }
        dropOldPayloads(fragment)
    }

    /// Payloads are kept until two snapshots cover them, and those before the head only.
    mutating func dropOldPayloads(_ fragment: FragmentIndex) {
        let state = fragments[fragment.value]
        guard state.snapshots.count >= Limits.snapshotsKept, let floor = state.snapshots.first?.round else { return }
        let covered = shelf.holders { holder in
            if case .payload(fragment, let round) = holder { round <= min(floor, state.head) } else { false }
        }
        for holder in covered.sorted(by: { $0.round < $1.round }) { release(holder) }
    }

    // MARK: Timer and state

    /// Nobody answered in time, or a failed try has rested: ask somebody else.
    mutating func catchUpAgain(_ fragment: FragmentIndex) {
        guard has(fragment) else { return }
        let state = fragments[fragment.value]
        if let request = state.pageRequest, now - request.at >= limits.retry {
            peers.update(request.from) { $0.wasUseless = true }
            fragments[fragment.value].pageRequest = nil
        }
        switch state.following {
        case .seekingSnapshot: askForSnapshot(fragment)
        case .resting: fragments[fragment.value].following = .idle
        case .idle, .fetching, .stepping, .adopting, .fetchingSnapshot, .installing: break
        }
        follow(fragment)
    }

    /// Notices that every fragment holds the newest head known.
    mutating func checkCaughtUp() {
        guard isStarted, !isCaughtUp, isAlone || !peers.members.isEmpty else { return }
        for state in fragments {
            guard state.isAtTip, state.pageRequest == nil,
                peers.newestRound(of: state.index).map({ $0 <= state.ledger.tip.round }) ?? true
            else { return }
        }
        isCaughtUp = true
        event(.caughtUp)
        tellMembers(.status(report()))
        guard !hasSwept else { return }
        hasSwept = true
        out.append(.keepBlobs(shelf.all + recoverablePayloads()))
    }

    /// Payloads that the ledger names since the last rounds: this start has not asked for them, but peers may.
    private func recoverablePayloads() -> [Digest] {
        var digests: Set<Digest> = []
        for state in fragments {
            let tip = state.ledger.tip.round.value
            let kept = UInt64(Limits.snapshotsKept) * Limits.snapshotIntervalRounds
            guard tip >= 1 else { continue }
            for round in (tip > kept ? tip - kept : 1)...tip {
                let payloads = state.ledger.final(of: RoundIndex(round))?.value.payloads ?? []
                digests.formUnion(payloads.map(\.blob.digest))
            }
        }
        return digests.subtracting(shelf.all).sorted()
    }
}

extension BlobShelf.Holder {
    var round: RoundIndex {
        switch self {
        case .contribution(_, let round), .payload(_, let round), .snapshot(_, let round): round
        }
    }
}
