import Compression
import OuterSync
import PeerNet
import Testing

@testable import Swarm

@Suite("The history of owners' feedback") struct OwnerHistoryTests {
    let fixture = RoundFixture()

    private var shape: FragmentShape {
        var shape = fixture.shape
        shape.keepsFeedback = true
        return shape
    }

    private func ledger() -> Ledger {
        Ledger(
            fragment: fixture.fragment, shape: shape, context: fixture.context, genesisHead: Digest(hashing: [42]),
            founder: fixture.founder.peerID)
    }

    private func state(_ round: UInt64, _ owner: Int) -> Digest { Digest(hashing: [7, UInt8(round), UInt8(owner)]) }

    /// A commit whose owners say of their feedback what `feedback` says, by position; absent without a word.
    private func commit(
        _ tip: LedgerTip, absent: Set<Int> = [], _ feedback: (Int) -> FeedbackDigests?
    ) -> Commit {
        let roster = fixture.roster(tip)
        var commit = fixture.commit(roster, tip: tip) { value in
            value.payloads = value.payloads.filter { !absent.contains($0.owner) }.map { payload in
                CommitPayload(
                    owner: payload.owner, contributors: payload.contributors, blob: payload.blob,
                    feedback: feedback(payload.owner))
            }
        }
        commit.results = zip(commit.value.payloads, commit.results).map { payload, result in
            var content = result.content
            content.feedback = feedback(payload.owner)
            return Signed(
                content, by: fixture.identities.first { $0.peerID == result.signer }!, in: fixture.context)
        }
        return commit
    }

    private func begin(_ round: UInt64) -> (Int) -> FeedbackDigests? {
        { FeedbackDigests(before: nil, after: self.state(round, $0)) }
    }

    private func review(_ commit: Commit, _ tip: LedgerTip) throws(Refusal) {
        try CommitReview.check(
            commit, signer: fixture.founder.peerID, roster: fixture.roster(tip), tip: tip, shape: shape,
            resultLevel: 0)
    }

    private func append(_ commit: Commit, to ledger: inout Ledger) throws {
        let voters = ledger.tip.voters
        try ledger.append(fixture.final(commit, voters: voters, ackedBy: fixture.identities))
    }

    @Test func aResultBeginsOrGoesOnFromTheStateBefore() throws {
        var ledger = ledger()
        let first = commit(ledger.tip, begin(1))
        #expect(try Commit(body: first.body, in: fixture.context) == first)
        try review(first, ledger.tip)
        try append(first, to: &ledger)
        let tip = ledger.tip
        let owners = first.value.payloads.map(\.owner)
        #expect(owners.count > 1)
        #expect(Set(tip.feedback.keys) == Set(owners.map { first.value.members[$0].peer }))
        let second = commit(tip) { FeedbackDigests(before: self.state(1, $0), after: self.state(2, $0)) }
        try review(second, tip)
        try review(commit(tip, begin(2)), tip)
        // Another history than its own: that of nobody, of another owner, and its own after this round.
        for wrong in [Digest(hashing: [1]), state(1, owners[0]), state(2, owners[1])] {
            let lie = commit(tip) { owner in
                FeedbackDigests(before: owner == owners[1] ? wrong : nil, after: self.state(2, owner))
            }
            #expect(throws: Refusal.self) { try review(lie, tip) }
        }
        try append(second, to: &ledger)
        #expect(ledger.tip.feedback[second.value.members[owners[0]].peer]?.state == state(2, owners[0]))
    }

    @Test func aValueSaysWhatItsResultsSay() throws {
        let tip = ledger().tip
        var commit = commit(tip, begin(1))
        commit.value.payloads[0].feedback?.after = Digest(hashing: [1])
        commit.valueBytes = commit.value.bytes(in: fixture.context)
        #expect(throws: Refusal.self) { try Commit(body: commit.body, in: fixture.context) }
        commit.value.payloads[0].feedback = .init(continues: true, after: state(1, commit.value.payloads[0].owner))
        commit.valueBytes = commit.value.bytes(in: fixture.context)
        #expect(throws: Refusal.self) { try Commit(body: commit.body, in: fixture.context) }
    }

    @Test func nobodyGoesOnWithWhatEndedAndNobodyIsSilent() throws {
        var ledger = ledger()
        let silent = commit(ledger.tip) { _ in nil }
        #expect(throws: Refusal.self) { try review(silent, ledger.tip) }
        #expect(throws: Refusal.self) { try append(silent, to: &ledger) }
        let early = commit(ledger.tip) { FeedbackDigests(before: self.state(0, $0), after: self.state(1, $0)) }
        #expect(throws: Refusal.self) { try review(early, ledger.tip) }
        #expect(throws: Refusal.self) { try append(early, to: &ledger) }
        // Where the charter has none, none is said.
        var plain = fixture.ledger()
        let told = commit(plain.tip, begin(1))
        #expect(throws: Refusal.self) {
            try CommitReview.check(
                told, signer: fixture.founder.peerID, roster: fixture.roster(plain.tip), tip: plain.tip,
                shape: fixture.shape, resultLevel: 0)
        }
        #expect(throws: Refusal.self) { try append(told, to: &plain) }
    }

    @Test func anAbsentResultKeepsTheStateFromBeforeAndATileThatMovesEndsIt() throws {
        var ledger = ledger()
        let first = commit(ledger.tip, begin(1))
        try append(first, to: &ledger)
        let owner = first.value.payloads[0].owner
        let peer = first.value.members[owner].peer
        let before = try #require(ledger.tip.feedback[peer])
        try append(commit(ledger.tip, absent: [owner], begin(2)), to: &ledger)
        #expect(ledger.tip.feedback[peer] == before)
        try review(
            commit(ledger.tip) {
                FeedbackDigests(before: $0 == owner ? before.state : nil, after: self.state(3, $0))
            }, ledger.tip)
        // A round without that owner gives its tiles to others.
        var value = commit(ledger.tip, begin(3)).value
        value.members.remove(at: owner)
        value.payloads = []
        #expect(OwnerHistory.following(ledger.tip.feedback, value, shape: shape)[peer] == nil)
        var gathers = shape
        gathers.gatherMembersMax = 3
        #expect(OwnerHistory.following(ledger.tip.feedback, value, shape: gathers).isEmpty)
    }

    @Test func theLargestCommitFitsIntoAMessage() throws {
        let identities = (0..<Limits.roundMembersMax).map { number in
            Identity(seed: (0..<32).map { UInt8(truncatingIfNeeded: number &+ 7 * $0) })!
        }.sorted { $0.peerID < $1.peerID }
        let context = BranchContext(swarmID: Digest(hashing: [3]), branch: NodeCore.branch)
        let id = AttemptID(FragmentIndex(255), RoundIndex(1 << 40), Limits.attemptsMax)
        let everybody = MemberSet(0..<Limits.roundMembersMax)
        let feedback = FeedbackDigests(before: Digest(hashing: [4]), after: Digest(hashing: [5]))
        let value = CommitValue(
            fragment: id.fragment, round: id.round, base: Digest(hashing: [6]), previousCommit: Digest(hashing: [7]),
            closing: true,
            members: identities.map {
                CommitMember(
                    peer: $0.peerID, share: TrainingShare(tokens: Limits.shareMax, steps: Limits.shareMax),
                    millistepsPerSecond: .max, rateClass: Limits.rateClassMax, join: Digest(hashing: [8]))
            },
            payloads: identities.indices.map {
                CommitPayload(
                    owner: $0, contributors: everybody,
                    blob: BlobReference(digest: Digest(hashing: [9]), byteCount: Int(UInt32.max)), feedback: feedback)
            }, head: Digest(hashing: [10]), resultLevel: 8)
        let results = identities.map {
            Signed(
                OwnerResult(
                    id: id, roster: Digest(hashing: [11]), contributors: everybody,
                    blob: BlobReference(digest: Digest(hashing: [9]), byteCount: Int(UInt32.max)), feedback: feedback),
                by: $0, in: context)
        }
        let commit = Signed(Commit(id: id, value: value, results: results, in: context), by: identities[0], in: context)
        let join = Join(
            id: id, base: Digest(hashing: [6]), share: TrainingShare(tokens: Limits.shareMax, steps: Limits.shareMax),
            millistepsPerSecond: .max, rateClass: Limits.rateClassMax,
            rates: LinkRates(up: Limits.kilobitsMax, down: Limits.kilobitsMax),
            accepted: AcceptedValue(attempt: Limits.attemptsMax - 1, value: commit.content.valueDigest))
        let message = Message.join(Signed(join, by: identities[1], in: context), accepted: commit)
        #expect(message.bytes(in: context).count <= Limits.messageBytesMax)
    }
}

@Suite("Owners with feedback in a swarm") struct OwnerFeedbackRunTests {
    private static func told(_ node: TestNode, _ fragment: Int) -> [FeedbackDigests] {
        node.feedbackTold.filter { $0.fragment.value == fragment }.map(\.1)
    }

    @Test(arguments: 1...3) func resultsGoOnFromRoundToRound(seed: UInt64) {
        let swarm = TestSwarm(nodes: 3, tiles: 12, seed: seed, ownerFeedback: 1)
        for number in 0..<3 { swarm.start(number) }
        #expect(swarm.run(until: 120) { $0.nodes.allSatisfy { $0.heads.allSatisfy { $0.round >= 8 } } })
        #expect(swarm.headsAreEqual && swarm.violations.isEmpty)
        for node in swarm.nodes {
            for fragment in 0..<2 {
                let told = Self.told(node, fragment)
                for (last, next) in zip(told.dropFirst(3), told.dropFirst(4)) { #expect(next.before == last.after) }
            }
        }
    }

    @Test func aRestartGoesOnAndAnEmptyDiskSaysThatItBegins() {
        let swarm = TestSwarm(nodes: 4, tiles: 12, ownerFeedback: 1)
        for number in 0..<4 { swarm.start(number) }
        swarm.run(until: 20)
        swarm.restart(1, after: 0.2)
        swarm.run(until: 40)
        let node = swarm.nodes[1]
        #expect(swarm.run(until: 80) { _ in node.feedbackTold.last?.1.before != nil })
        node.feedback = []
        let count = node.feedbackTold.count
        #expect(swarm.run(until: 120) { _ in node.feedbackTold.count >= count + 6 })
        #expect(node.events.contains { if case .feedbackLost = $0 { true } else { false } })
        #expect(node.feedbackTold.dropFirst(count).first?.1.before == nil)
        #expect(node.feedbackTold.last?.1.before != nil)
        #expect(swarm.run(until: 160) { $0.headsAreEqual })
        #expect(swarm.violations.isEmpty)
    }

    @Test func whoeverRewritesItsHistoryIsLeftOut() {
        let swarm = TestSwarm(nodes: 4, tiles: 12, ownerFeedback: 1)
        for number in 0..<4 { swarm.start(number) }
        swarm.run(until: 15)
        swarm.nodes[3].rewritesFeedback = true
        let round = swarm.nodes[0].heads[0].round
        #expect(swarm.run(until: 200) { $0.nodes[0].heads[0].round >= round + 4 })
        let liar = swarm.nodes[3].peerID
        for node in swarm.nodes[..<3] {
            let reasons = node.events.compactMap { event -> String? in
                if case .violation(liar, let reason) = event { reason } else { nil }
            }
            #expect(reasons.contains("an owner has changed the history of its feedback"))
            for final in node.finals[0].dropFirst(Int(round) + 1) {
                let context = BranchContext(swarmID: swarm.swarmID, branch: NodeCore.branch)
                let value = try? Final(bytes: final, in: context).value
                #expect(value?.payloads.allSatisfy { value?.members[$0.owner].peer != liar } == true)
            }
        }
    }

    /// Members that come and go move tiles: their feedback begins anew, and no honest node is found to break a rule.
    @Test(arguments: 1...3) func ownershipMovesWithoutOffence(seed: UInt64) {
        let swarm = TestSwarm(nodes: 5, tiles: 12, seed: seed, ownerFeedback: 1)
        for number in 0..<4 { swarm.start(number) }
        swarm.at(15) { $0.crash(2) }
        swarm.at(30) { $0.start(4) }
        swarm.at(45) { $0.start(2) }
        swarm.run(until: 44)
        let before = Self.told(swarm.nodes[2], 0).count
        #expect(
            swarm.run(until: 200) { swarm in
                swarm.nodes[4].heads.allSatisfy { $0.round >= 20 } && Self.told(swarm.nodes[2], 0).count >= before + 4
            })
        #expect(swarm.run(until: 260) { $0.headsAreEqual })
        #expect(swarm.violations.isEmpty)
        // Whoever was away begins anew, though its disk has the old state; whoever stayed goes on with what it kept.
        let back = Self.told(swarm.nodes[2], 0).dropFirst(before)
        #expect(back.first?.before == nil && back.last?.before != nil)
        for node in [0, 1, 3] {
            for fragment in 0..<2 {
                let told = Self.told(swarm.nodes[node], fragment)
                #expect(told.filter { $0.before != nil }.count > told.count / 2)
            }
        }
    }
}
