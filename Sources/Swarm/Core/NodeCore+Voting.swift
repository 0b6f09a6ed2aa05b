import Compression
import OuterSync
import PeerNet

// A voter's part: check a commit, hold what it names, ack it; everybody's part: learn what is final.

extension NodeCore {
    mutating func commitReceived(_ commit: Signed<Commit>, from peer: PeerID) {
        let id = commit.content.id
        switch relation(id) {
        case .past: return sendFinals(id.fragment, from: id.round, to: peer)
        case .future: return learn(of: id, from: peer)
        case .notYet: return
        case .open: break
        }
        let state = fragments[id.fragment.value]
        guard let round = state.round, round.quorum.contains(me), round.voter.mayAck(commit.content) else { return }
        if round.voter.accepted?.content.id != id {
            guard let roster = round.roster, roster.content.id == id else {
                fragments[id.fragment.value].round?.stash(.commit(commit), attempt: id.attempt, from: peer)
                return
            }
            do {
                try CommitReview.check(
                    commit.content, signer: commit.signer, roster: roster, tip: round.tip, shape: state.shape,
                    resultLevel: round.resultLevel)
            } catch {
                return event(.commitRefused(id.fragment, id.round, attempt: id.attempt, reason: error.reason))
            }
        }
        progressed(id)
        needPayloads(of: commit)
        if commit.content.value.payloads.allSatisfy({ shelf.isHeld($0.blob) }),
            resend(.ack, id, .send(commit.signer))
        {
            return
        }
        guard round.review?.content.id != id else { return }
        // An ack on disk is sent again only when everything that it vouches for is held again.
        fragments[id.fragment.value].round?.review = commit
        continueReview(id.fragment)
    }

    /// Fetches what a commit names, and keeps it. It bears the owners' signatures under digests and sizes.
    mutating func needPayloads(of commit: Signed<Commit>) {
        let id = commit.content.id
        for payload in commit.content.value.payloads {
            let owner = commit.content.value.members[payload.owner].peer
            shelf.need(
                payload.blob, for: .payload(id.fragment, id.round), from: sources([owner, commit.signer]),
                namedBy: owner)
        }
    }

    /// Goes on once every payload is held: the head must be what the payloads make.
    mutating func continueReview(_ fragment: FragmentIndex) {
        let state = fragments[fragment.value]
        guard let round = state.round, let commit = round.review?.content, round.voter.mayAck(commit),
            commit.value.payloads.allSatisfy({ shelf.isHeld($0.blob) })
        else { return }
        let step = step(of: commit.value, tokensBefore: round.tip.tokens)
        if let head = state.candidate(for: step) { return finishReview(commit.id, head: head) }
        guard !requests.isReviewing(commit.id) else { return }
        compute(
            .outerStep(fragment: fragment, base: round.tip.head, step: step), fragment, .review(commit.id, step))
    }

    mutating func finishReview(_ id: AttemptID, head: Digest) {
        guard relation(id) == .open, let round = fragments[id.fragment.value].round, let commit = round.review,
            commit.content.id == id
        else { return }
        fragments[id.fragment.value].round?.review = nil
        guard round.voter.mayAck(commit.content) else { return }
        guard head == commit.content.value.head else {
            return event(
                .commitRefused(
                    id.fragment, id.round, attempt: id.attempt,
                    reason: "its head is \(commit.content.value.head.short), the payloads make \(head.short)"))
        }
        fragments[id.fragment.value].round?.voter.accept(commit)
        // The commit goes to disk before the ack: after a restart the next join must show it. This node's own commit is
        // there already.
        if commit.signer == me || slots[SlotBook.Key(kind: .accepted, id: id)]?.isDurable == true {
            ack(commit)
        } else {
            issue(.commit(commit), .keep)
        }
    }

    /// Acks a commit that is on disk.
    mutating func ack(_ commit: Signed<Commit>) {
        let id = commit.content.id
        guard relation(id) == .open, fragments[id.fragment.value].round?.voter.mayAck(commit.content) == true else {
            return
        }
        let ack = Ack(id: id, value: commit.content.valueDigest)
        issue(.ack(Signed(ack, by: configuration.identity, in: context)), .send(commit.signer))
    }

    mutating func finalReceived(_ final: Final, from peer: PeerID) {
        let id = AttemptID(final.value.fragment, final.value.round, final.attempt)
        guard id.round > fragments[id.fragment.value].ledger.tip.round else { return }
        guard id.round == fragments[id.fragment.value].ledger.tip.round.next else { return learn(of: id, from: peer) }
        do { try fragments[id.fragment.value].ledger.append(final) } catch {
            return violation(peer, signer: peer, error.reason)
        }
        appended(final)
    }

    /// A final commit has become part of the ledger.
    private mutating func appended(_ final: Final) {
        let fragment = final.value.fragment
        let began = fragments[fragment.value].round?.dueSince
        closeRound(final)
        let value = final.value
        event(
            .roundFinal(
                RoundSummary(
                    fragment: fragment, round: value.round, attempt: final.attempt, members: value.members.count,
                    contributors: value.contributors.count,
                    payloadBytes: value.payloads.reduce(0) { $0 + $1.blob.byteCount },
                    tokens: value.tokens(most: fragments[fragment.value].shape.countedTokensMax),
                    duration: began.map { now - $0 }, head: value.head, closing: value.closing)))
        persistNextFinal(fragment)
        updateCommittedTokens()
        follow(fragment)
    }

    /// Writes the finals of a fragment one after the other, so that a failed write cannot leave a gap in the ledger.
    mutating func persistNextFinal(_ fragment: FragmentIndex) {
        let state = fragments[fragment.value]
        let next = state.durableRound.next
        guard state.finalOnItsWay == nil, let bytes = state.ledger.bytes(of: next) else { return }
        fragments[fragment.value].finalOnItsWay = next
        persist(.final(fragment, next, bytes), .final(fragment, next))
    }

    /// Ends the open round of a fragment and notes what its outcome means for this node's live value.
    private mutating func closeRound(_ final: Final) {
        let fragment = final.value.fragment
        let round = fragments[fragment.value].round
        fragments[fragment.value].round = nil
        let mine = final.value.position(of: me)
        let blended =
            mine.map { final.value.blendedTiles(of: $0, shape: fragments[fragment.value].shape) } ?? []
        if let round {
            out.append(.cancelTimer(.aggregate(fragment)))
            if let began = round.dueSince { fragments[fragment.value].delays.round.learn(now - began) }
            var outcome = FragmentState.Outcome(blended: blended)
            switch round.snapshot {
            case .taken(_, let at):
                outcome.snapshot = at
                out.append(
                    .releaseSnapshot(
                        fragment, round.index,
                        committed: mine.map { committed(round.contributor, final.value, $0) } ?? []))
            case .requested: break  // released when it comes
            case .none, .waiting, .unavailable: break
            }
            fragments[fragment.value].outcomes[round.index] = outcome
            fragments[fragment.value].cycleStart = (
                outcome.snapshot?.steps ?? progress.steps, outcome.snapshot.flatMap { _ in round.snapshotAt } ?? now
            )
            release(.contribution(fragment, round.index))
        } else {
            fragments[fragment.value].cycleStart = (progress.steps, now)
            if !blended.isEmpty {
                fragments[fragment.value].outcomes[final.value.round] = FragmentState.Outcome(blended: blended)
            }
        }
        trimPayloads(fragment, final.value.round)
    }

    /// The contributions of the member at `position` that a final commit counts.
    private func committed(_ contributor: Contributor, _ value: CommitValue, _ position: Int) -> [Digest] {
        let exchange = Exchange(
            value.members, fragment: value.fragment, shape: fragments[value.fragment.value].shape)
        return value.payloads.filter { $0.contributors.contains(position) }.compactMap { payload in
            contributor.blob(
                for: Contributor.Target(
                    owner: value.members[payload.owner].peer, tiles: exchange.tiles(of: payload.owner)))?.digest
        }
    }

    /// Drops the payloads of a round that its final commit does not name.
    mutating func trimPayloads(_ fragment: FragmentIndex, _ round: RoundIndex) {
        guard let final = fragments[fragment.value].ledger.final(of: round) else { return }
        let named = Set(final.value.payloads.map(\.blob))
        for digest in shelf.release(.payload(fragment, round), except: named) { out.append(.dropBlob(digest)) }
    }
}
