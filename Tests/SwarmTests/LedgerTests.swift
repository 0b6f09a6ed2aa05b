import Compression
import OuterSync
import PeerNet
import Testing

@testable import Swarm

@Suite("A ledger and what it refuses")
struct LedgerTests {
    let fixture = RoundFixture()

    @Test func honestFinalsChainAndCountTokens() throws {
        var ledger = fixture.ledger()
        for round in 1...40 {
            try ledger.append(fixture.nextFinal(ledger.tip))
            #expect(ledger.tip.round == RoundIndex(UInt64(round)))
            #expect(ledger.tip.tokens == UInt64(3_000 * round))
        }
        #expect(ledger.tip.voters == fixture.identities.map(\.peerID))
        #expect(ledger.head(after: RoundIndex(0)) == Digest(hashing: [42]))
        #expect(ledger.final(of: RoundIndex(3))?.value.round == RoundIndex(3))
        #expect(ledger.final(of: RoundIndex(41)) == nil)
        var copy = fixture.ledger()
        var next = RoundIndex(1)
        while case let page = ledger.page(from: next), !page.isEmpty {
            for final in page {
                try copy.append(try Final(bytes: final.bytes, in: fixture.context))
                next = next.next
            }
        }
        #expect(copy.tip == ledger.tip)
    }

    @Test func aGapAWrongLinkAndAShortQuorumAreRefused() throws {
        var ledger = fixture.ledger()
        let first = fixture.nextFinal(ledger.tip)
        try ledger.append(first)
        let tip = ledger.tip
        let second = fixture.nextFinal(tip)
        #expect(throws: Refusal.self) { try ledger.append(first) }
        var skipped = tip
        skipped.round = skipped.round.next
        #expect(throws: Refusal.self) { try ledger.append(fixture.nextFinal(skipped)) }
        for change in changes {
            let commit = fixture.commit(fixture.roster(tip), tip: tip, change)
            let final = fixture.final(commit, voters: tip.voters, ackedBy: fixture.identities)
            #expect(throws: Refusal.self) { try ledger.append(final) }
        }
        #expect(throws: Refusal.self) {
            try ledger.append(fixture.nextFinal(tip, ackedBy: [fixture.identities[2]]))
        }
        var forged = second
        forged.acks[1].signature[5] ^= 1
        #expect(throws: Refusal.self) { try ledger.append(forged) }
        var outside = second
        outside.acks[2].voter = 3
        #expect(throws: Refusal.self) { try ledger.append(outside) }
        var otherAttempt = second
        otherAttempt.attempt = 1
        #expect(throws: Refusal.self) { try ledger.append(otherAttempt) }
        #expect(ledger.tip == tip)
        try ledger.append(fixture.nextFinal(tip, ackedBy: Array(fixture.identities.prefix(2))))
    }

    /// Ways to break the chain.
    private var changes: [(inout CommitValue) -> Void] {
        [
            { $0.base = Digest(hashing: [1]) },
            { $0.previousCommit = Digest(hashing: [1]) },
            { $0.round = RoundIndex(7) },
            { $0.fragment = FragmentIndex(1) },
            { $0.payloads[0].blob.byteCount = 10_001 },
        ]
    }

    @Test func nothingFollowsAClosingRound() throws {
        var ledger = fixture.ledger()
        let tip = ledger.tip
        let commit = fixture.commit(fixture.roster(tip), tip: tip) { $0.closing = true }
        try ledger.append(fixture.final(commit, voters: tip.voters, ackedBy: fixture.identities))
        #expect(ledger.tip.closed)
        #expect(throws: Refusal.self) { try ledger.append(fixture.nextFinal(ledger.tip)) }
    }
}

@Suite("What a voter refuses to ack")
struct CommitReviewTests {
    let fixture = RoundFixture()

    private func check(_ commit: Commit, _ roster: Signed<Roster>, signer: PeerID? = nil) throws(Refusal) {
        try CommitReview.check(
            commit, signer: signer ?? fixture.founder.peerID, roster: roster, tip: fixture.ledger().tip,
            shape: fixture.shape, resultLevel: 0)
    }

    @Test func anHonestCommitPasses() throws {
        let tip = fixture.ledger().tip
        let roster = fixture.roster(tip)
        try check(fixture.commit(roster, tip: tip), roster)
        try check(fixture.commit(roster, tip: tip) { $0.payloads.removeFirst() }, roster)
        try check(fixture.commit(roster, tip: tip) { $0.payloads = [] }, roster)
    }

    @Test func everyChangedFieldIsRefused() {
        let tip = fixture.ledger().tip
        let roster = fixture.roster(tip)
        let changes: [(inout CommitValue) -> Void] = [
            { $0.base = Digest(hashing: [1]) },
            { $0.previousCommit = Digest(hashing: [1]) },
            { $0.closing = true },
            { $0.members[1].share.tokens += 1 },
            { $0.members[1].share.steps -= 1 },
            { $0.members[1].millistepsPerSecond += 1 },
            { $0.members[1].rateClass += 1 },
            { $0.members[1].join = Digest(hashing: [1]) },
            { $0.payloads[0].blob.byteCount = 10_001 },
        ]
        for (number, change) in changes.enumerated() {
            let commit = fixture.commit(roster, tip: tip, change)
            #expect(throws: Refusal.self, "change \(number)") { try check(commit, roster) }
        }
        #expect(throws: Refusal.self) {
            try check(fixture.commit(roster, tip: tip), roster, signer: fixture.identities[1].peerID)
        }
        let other = fixture.roster(tip, attempt: 3)
        #expect(throws: Refusal.self) { try check(fixture.commit(roster, tip: tip), other) }
        var made = fixture.commit(roster, tip: tip)
        made.results[0] = Signed(
            OwnerResult(
                id: roster.content.id, roster: Digest(hashing: [1]), contributors: made.value.payloads[0].contributors,
                blob: made.value.payloads[0].blob), by: fixture.identities[0], in: fixture.context)
        #expect(throws: Refusal.self) { try check(made, roster) }
    }

    @Test func onlyTheAcceptedValueMayFollowAnAck() throws {
        let tip = fixture.ledger().tip
        let first = fixture.commit(fixture.roster(tip), tip: tip)
        let accepted = AcceptedValue(attempt: 0, value: first.valueDigest)
        let roster = fixture.roster(tip, attempt: 1, accepted: accepted)
        let again = Commit(id: roster.content.id, value: first.value, results: first.results, in: fixture.context)
        try check(again, roster)
        #expect(throws: Refusal.self) { try check(fixture.commit(roster, tip: tip), roster) }
    }

    @Test func aCommitProvesEveryPayloadByItsOwnersSignature() throws {
        let tip = fixture.ledger().tip
        let commit = fixture.commit(fixture.roster(tip), tip: tip)
        #expect(try Commit(body: commit.body, in: fixture.context) == commit)
        var fewer = commit
        fewer.results.removeFirst()
        #expect(throws: Refusal.self) { try Commit(body: fewer.body, in: fixture.context) }
        var stolen = commit
        let owner = commit.value.payloads[0]
        stolen.results[0] = Signed(
            commit.results[0].content,
            by: fixture.identities.first { $0.peerID != commit.value.members[owner.owner].peer }!, in: fixture.context)
        #expect(throws: Refusal.self) { try Commit(body: stolen.body, in: fixture.context) }
    }

    @Test func aValueWithUnorderedOrUnlistedMembersDoesNotDecode() {
        let tip = fixture.ledger().tip
        let roster = fixture.roster(tip)
        let changes: [(inout CommitValue) -> Void] = [
            { $0.members.swapAt(0, 1) },
            { $0.members[1] = $0.members[0] },
            { $0.payloads.append($0.payloads[0]) },
            { $0.payloads[0].contributors = MemberSet([]) },
            { $0.payloads[0].contributors = MemberSet([0, 3]) },
            { $0.members[0].share = TrainingShare(tokens: 0, steps: 0) },
            { $0.members[0].share = TrainingShare(tokens: 5, steps: 0) },
            { $0.members[0].share.tokens = Limits.shareMax + 1 },
            { $0.members[0].rateClass = 0 },
            { $0.payloads[0].blob.byteCount = 0 },
        ]
        for (number, change) in changes.enumerated() {
            var value = fixture.commit(roster, tip: tip).value
            change(&value)
            #expect(throws: Refusal.self, "change \(number)") {
                try CommitValue(bytes: value.bytes(in: fixture.context), in: fixture.context)
            }
        }
    }
}

@Suite("A voter")
struct VoterTests {
    let fixture = RoundFixture()

    private func commit(_ attempt: UInt32, head: UInt8 = 43) -> Signed<Commit> {
        let tip = fixture.ledger().tip
        let roster = fixture.roster(tip, attempt: attempt)
        return Signed(
            fixture.commit(roster, tip: tip) { $0.head = Digest(hashing: [head]) }, by: fixture.founder,
            in: fixture.context)
    }

    @Test func neverAcksBelowItsPromise() {
        var voter = Voter()
        #expect(voter.mayAck(commit(0).content))
        voter.promise(2)
        #expect(!voter.mayAck(commit(1).content))
        #expect(voter.mayAck(commit(2).content))
        #expect(voter.mayAck(commit(5).content))
        #expect(!voter.mayJoin(2))
        #expect(voter.mayJoin(3))
        voter.promise(1)
        #expect(voter.promised == 2)
    }

    @Test func acksOneCommitPerAttempt() {
        var voter = Voter()
        voter.accept(commit(4))
        #expect(voter.mayAck(commit(4).content))
        #expect(!voter.mayAck(commit(4, head: 44).content))
        #expect(!voter.mayJoin(4))
    }

    @Test func showsTheHighestCommitThatItAcked() {
        var voter = Voter()
        voter.accept(commit(1))
        voter.promise(3)
        #expect(voter.accepted?.content.id.attempt == 1)
        voter.accept(commit(3))
        voter.accept(commit(2))
        #expect(voter.accepted?.content.id.attempt == 3)
        #expect(voter.promised == 3)
    }
}

@Suite("A proposer")
struct ProposerTests {
    let fixture = RoundFixture()

    @Test func waitsForAQuorumThenForEverybodyExpectedOrTheDeadline() {
        let tip = fixture.ledger().tip
        let id = AttemptID(fixture.fragment, RoundIndex(1), 0)
        let joins = fixture.joins(id, tip: tip)
        let peers = fixture.identities.map(\.peerID)
        var proposer = Proposer(id: id, quorum: Quorum(peers), at: .zero)
        proposer.add(joins[2], accepted: nil)
        proposer.isOverdue = true
        #expect(proposer.roster(expected: []) == nil)
        proposer.isOverdue = false
        proposer.add(joins[1], accepted: nil)
        #expect(proposer.roster(expected: Set(peers)) == nil)
        #expect(proposer.roster(expected: Set(peers.dropFirst())) == [joins[1], joins[2]])
        proposer.isOverdue = true
        #expect(proposer.roster(expected: Set(peers)) == [joins[1], joins[2]])
    }

    @Test func countsAcksOfVotersForItsOwnCommitOnly() {
        let tip = fixture.ledger().tip
        let roster = fixture.roster(tip)
        let commit = Signed(fixture.commit(roster, tip: tip), by: fixture.founder, in: fixture.context)
        let peers = fixture.identities.map(\.peerID)
        var proposer = Proposer(id: roster.content.id, quorum: Quorum(peers), at: .zero)
        proposer.enter(.proposing(commit), at: .zero)
        let good = Ack(id: roster.content.id, value: commit.content.valueDigest)
        let other = Ack(id: roster.content.id, value: Digest(hashing: [1]))
        let late = Ack(id: AttemptID(fixture.fragment, RoundIndex(1), 1), value: commit.content.valueDigest)
        #expect(proposer.add(Signed(good, by: fixture.identities[0], in: fixture.context)) == nil)
        #expect(proposer.add(Signed(other, by: fixture.identities[1], in: fixture.context)) == nil)
        #expect(proposer.add(Signed(late, by: fixture.identities[1], in: fixture.context)) == nil)
        #expect(proposer.add(Signed(good, by: testIdentity(77), in: fixture.context)) == nil)
        let final = proposer.add(Signed(good, by: fixture.identities[2], in: fixture.context))
        #expect(final?.acks.map(\.voter) == [0, 2])
    }
}
