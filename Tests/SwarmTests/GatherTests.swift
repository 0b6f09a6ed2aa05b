import Compression
import OuterSync
import PeerNet
import Testing

@testable import Swarm

@Suite("Gather: everybody averages all contributions")
struct GatherTests {
    @Test(arguments: 1...3) func allMembersMakeTheSameHeadsFromEachOthersContributions(seed: UInt64) {
        let swarm = TestSwarm(nodes: 4, budget: 60_000, seed: seed, gather: 18)
        for number in 0..<4 { swarm.start(number) }
        #expect(swarm.run(until: 200) { $0.nodes.allSatisfy(\.finished) })
        #expect(swarm.headsAreEqual)
        #expect(swarm.violations.isEmpty)
        for summary in swarm.nodes[0].summaries(0).dropFirst(2).dropLast() {
            #expect(summary.contributors == 4 && summary.payloadBytes == 400, "one payload each: \(summary)")
        }
        let sentOffers = swarm.nodes.flatMap(\.sent).filter {
            if case .offer? = try? Message(bytes: $0, in: swarm.context) { true } else { false }
        }
        #expect(sentOffers.isEmpty)
    }

    @Test func manyMembersStillHaveOwners() {
        let swarm = TestSwarm(nodes: 4, budget: 60_000, gather: 3)
        for number in 0..<4 { swarm.start(number) }
        #expect(swarm.run(until: 200) { $0.nodes.allSatisfy(\.finished) })
        #expect(swarm.headsAreEqual)
        #expect(swarm.violations.isEmpty)
        let offers = swarm.nodes.flatMap(\.sent).filter {
            if case .offer? = try? Message(bytes: $0, in: swarm.context) { true } else { false }
        }
        #expect(!offers.isEmpty)
    }

    @Test(arguments: 1...3) func whatNobodyCanDecodeIsLeftOutByEverybody(seed: UInt64) {
        let swarm = TestSwarm(nodes: 4, seed: seed, gather: 18)
        swarm.nodes[3].sendsUnfit = true
        for number in 0..<4 { swarm.start(number) }
        #expect(swarm.run(until: 200) { $0.nodes.allSatisfy { $0.heads.allSatisfy { $0.round >= 6 } } })
        for node in swarm.nodes {
            for summary in node.summaries(0).dropFirst(2) {
                #expect(summary.members == 4 && summary.contributors == 3, "\(summary)")
                #expect(summary.attempt == 0, "nobody waits for it")
            }
            #expect(
                node.events.contains { event in
                    if case .contributionRefused(_, _, swarm.nodes[3].peerID, _) = event { true } else { false }
                })
        }
    }

    /// A member that publishes another's contribution as its own is left out; nobody's round fails for it.
    @Test(arguments: 1...3) func aCopiedContributionCountsOnce(seed: UInt64) {
        let swarm = TestSwarm(nodes: 4, seed: seed, gather: 18)
        for number in 2...3 { swarm.nodes[number].copiesContributions = true }
        for number in 0..<4 { swarm.start(number) }
        #expect(swarm.run(until: 200) { $0.nodes.allSatisfy { $0.heads.allSatisfy { $0.round >= 6 } } })
        #expect(swarm.headsAreEqual)
        for summary in swarm.nodes[0].summaries(0).dropFirst(2) {
            #expect(summary.members == 4 && summary.contributors == 3 && summary.attempt == 0, "\(summary)")
        }
    }

    /// An owner whose result is no payload stops nobody: its tiles stay as they are, and no further attempt is needed.
    @Test(arguments: 1...3) func anOwnersResultThatDoesNotDecodeIsLeftOut(seed: UInt64) {
        let swarm = TestSwarm(nodes: 4, seed: seed)
        swarm.nodes[3].sendsUnfit = true
        for number in 0..<4 { swarm.start(number) }
        #expect(swarm.run(until: 200) { $0.nodes.allSatisfy { $0.heads.allSatisfy { $0.round >= 6 } } })
        #expect(swarm.headsAreEqual)
        #expect(
            swarm.nodes[0].events.contains { event in
                if case .contributionRefused(_, _, swarm.nodes[3].peerID, _) = event { true } else { false }
            })
    }

    @Test(arguments: 1...3) func killedNodesComeBackAndEndWithTheSameHeads(seed: UInt64) {
        let swarm = TestSwarm(nodes: 4, budget: 100_000, seed: seed, gather: 18)
        for number in 0..<4 { swarm.start(number) }
        for kill in 0..<6 {
            swarm.at(4 + 2.37 * Double(kill) + 0.17 * Double(seed)) { $0.restart((kill + 1) % 4, after: 1.1) }
        }
        #expect(swarm.run(until: 400) { $0.nodes.allSatisfy(\.finished) })
        #expect(swarm.headsAreEqual)
        #expect(swarm.violations.isEmpty)
    }

    @Test func aCommitOfAnotherShapeIsRefused() throws {
        let fixture = RoundFixture()
        var shape = fixture.shape
        shape.gatherMembersMax = 3
        let tip = fixture.ledger().tip
        let roster = fixture.roster(tip)
        func check(_ change: (inout CommitValue) -> Void) throws(Refusal) {
            let commit = fixture.commit(roster, tip: tip, change)
            try CommitReview.check(
                commit, signer: fixture.founder.peerID, roster: roster, tip: tip, shape: shape, resultLevel: 0)
        }
        func payload(_ owner: Int, _ contributors: [Int]) -> CommitPayload {
            CommitPayload(
                owner: owner, contributors: MemberSet(contributors),
                blob: BlobReference(digest: Digest(hashing: [UInt8(owner)]), byteCount: 100))
        }
        try check { $0.payloads = [payload(0, [0]), payload(2, [2])] }
        try check { $0.payloads = [] }
        #expect(throws: Refusal("a gathered payload is not its maker's own contribution")) {
            try check { $0.payloads = [payload(0, [0, 1])] }
        }
        #expect(throws: Refusal("a gathered payload is not its maker's own contribution")) {
            try check { $0.payloads = [payload(0, [1])] }
        }
        shape.gatherMembersMax = 2
        try check { value in
            let owners = Ownership(value.members, fragment: value.fragment, tileCount: shape.tileCount).positions
            value.payloads = owners.map { payload($0, [0, 1, 2]) }
        }
    }
}

extension TestSwarm {
    var context: BranchContext { BranchContext(swarmID: swarmID, branch: NodeCore.branch) }
}
