import Compression
import OuterSync
import PeerNet

@testable import Swarm

/// One honest round by three nodes after a genesis whose only voter is the founder, as signed messages.
struct RoundFixture {
    let identities = (1...3).map { testIdentity(UInt8($0)) }.sorted { $0.peerID < $1.peerID }
    let context = BranchContext(swarmID: Digest(hashing: [9, 9]), branch: NodeCore.branch)
    let shape = FragmentShape(tileCount: 6, payloadBytesMax: 10_000, snapshotTileBytesMax: 1_000)
    let fragment = FragmentIndex(0)
    var founder: Identity { identities[0] }

    func ledger() -> Ledger {
        Ledger(
            fragment: fragment, shape: shape, context: context, genesisHead: Digest(hashing: [42]),
            founder: founder.peerID)
    }

    func joins(_ id: AttemptID, tip: LedgerTip, accepted: AcceptedValue? = nil) -> [Signed<Join>] {
        identities.enumerated().map { index, identity in
            Signed(
                Join(
                    id: id, base: tip.head, share: TrainingShare(tokens: 1_000, steps: 10), millistepsPerSecond: 5_000,
                    rateClass: 4, accepted: index == 0 ? accepted : nil), by: identity, in: context)
        }
    }

    func roster(
        _ tip: LedgerTip, attempt: UInt32 = 0, accepted: AcceptedValue? = nil, by identity: Identity? = nil
    ) -> Signed<Roster> {
        let id = AttemptID(fragment, tip.round.next, attempt)
        let roster = Roster(
            id: id, base: tip.head, previousCommit: tip.commit, closing: false,
            joins: joins(id, tip: tip, accepted: accepted))
        return Signed(roster, by: identity ?? founder, in: context)
    }

    func commit(_ roster: Signed<Roster>, tip: LedgerTip, _ change: (inout CommitValue) -> Void = { _ in }) -> Commit {
        let members = roster.content.joins.map(CommitMember.init)
        let ownership = Ownership(members, fragment: fragment, tileCount: shape.tileCount)
        let everybody = MemberSet(0..<3)
        var value = CommitValue(
            fragment: fragment, round: tip.round.next, base: tip.head, previousCommit: tip.commit, closing: false,
            members: members,
            payloads: ownership.positions.map { owner in
                CommitPayload(
                    owner: owner, contributors: everybody,
                    blob: BlobReference(digest: Digest(hashing: [UInt8(owner)]), byteCount: 100))
            }, head: Digest(hashing: [43]))
        change(&value)
        let results = value.payloads.map { payload in
            Signed(
                OwnerResult(
                    id: roster.content.id, roster: roster.digest, contributors: payload.contributors, blob: payload.blob
                ),
                by: identities.first { $0.peerID == value.members[payload.owner].peer }!, in: context)
        }
        return Commit(id: roster.content.id, value: value, results: results, in: context)
    }

    func final(_ commit: Commit, voters: [PeerID], ackedBy signers: [Identity]) -> Final {
        let ack = Ack(id: commit.id, value: commit.valueDigest)
        let acks = voters.enumerated().compactMap { index, voter in
            signers.first { $0.peerID == voter }.map {
                Final.Acknowledgement(voter: index, signature: Signed(ack, by: $0, in: context).signature)
            }
        }
        return Final(commit, acks: acks)
    }

    /// The final commit of an honest round.
    func nextFinal(_ tip: LedgerTip, ackedBy signers: [Identity]? = nil) -> Final {
        final(commit(roster(tip), tip: tip), voters: tip.voters, ackedBy: signers ?? identities)
    }
}
