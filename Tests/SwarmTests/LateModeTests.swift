import Compression
import OuterSync
import PeerNet
import Testing

@testable import Swarm

@Suite("Means that come a whole round late")
struct LateModeTests {
    private static let late = [SyncMode.fullOverlap, .eager]

    @Test(arguments: late, 1...2) func fourNodesMakeTheSameHeadsAndAllContribute(mode: SyncMode, seed: UInt64) {
        let swarm = TestSwarm(nodes: 4, budget: 120_000, seed: seed, mode: mode)
        for number in 0..<4 { swarm.start(number) }
        #expect(swarm.run(until: 300) { $0.nodes.allSatisfy(\.finished) })
        #expect(swarm.headsAreEqual)
        #expect(swarm.violations.isEmpty)
        for node in swarm.nodes {
            #expect(!node.events.contains { if case .jobFailed = $0 { true } else { false } })
            #expect(node.blends == 0)
            for fragment in 0..<2 {
                let summaries = node.summaries(fragment)
                #expect(summaries.count >= 8 && summaries.last?.closing == true)
                for summary in summaries.dropFirst(4).dropLast() {
                    #expect(summary.contributors == 4, "\(mode) \(node.number) \(fragment) \(summary)")
                }
            }
        }
    }

    @Test(arguments: late, 1...2) func killedNodesComeBackAndEndWithTheSameHeads(mode: SyncMode, seed: UInt64) {
        let swarm = TestSwarm(nodes: 4, budget: 150_000, seed: seed, gather: seed == 1 ? 18 : 0, mode: mode)
        for number in 0..<4 { swarm.start(number) }
        for kill in 0..<8 {
            swarm.at(4 + 2.37 * Double(kill) + 0.11 * Double(seed)) { $0.restart(kill % 4, after: 1.1) }
        }
        #expect(swarm.run(until: 400) { $0.nodes.allSatisfy(\.finished) })
        #expect(swarm.headsAreEqual)
        #expect(swarm.violations.isEmpty)
    }

    /// A newcomer starts from the newest head; its first contribution is to the round after the next.
    @Test(arguments: late) func aNewcomerContributesSoon(mode: SyncMode) throws {
        let swarm = TestSwarm(nodes: 4, budget: 200_000, mode: mode)
        for number in 0..<3 { swarm.start(number) }
        #expect(swarm.run(until: 200) { $0.nodes[0].heads.allSatisfy { $0.round >= 12 } })
        let began = swarm.nodes[0].heads[0].round
        swarm.start(3)
        #expect(
            swarm.run(until: 300) { swarm in
                swarm.nodes[3].events.contains { if case .firstContribution = $0 { true } else { false } }
            })
        let first = try #require(
            swarm.nodes[3].events.compactMap { event -> UInt64? in
                if case .firstContribution(_, let round) = event { round.value } else { nil }
            }.first)
        #expect(first >= began + 2 && first <= began + 5)
        #expect(swarm.run(until: 500) { $0.nodes.allSatisfy(\.finished) })
        #expect(swarm.headsAreEqual)
        #expect(swarm.violations.isEmpty)
    }

    @Test func aSnapshotCarriesTheDriftAndNoFalseNorms() throws {
        let context = BranchContext(swarmID: Digest(hashing: [1]), branch: NodeCore.branch)
        var offer = SnapshotOffer(
            fragment: FragmentIndex(0), round: RoundIndex(4),
            tiles: [BlobReference(digest: Digest(hashing: [2]), byteCount: 9)])
        offer.drift = OuterDrift(lastStep: 0.25, largestGradient: 3)
        let message = try Message(bytes: Message.snapshot(offer).bytes(in: context), in: context)
        guard case .snapshot(let decoded) = message else {
            Issue.record("another message")
            return
        }
        #expect(decoded == offer)
        for norm in [Double.nan, .infinity, -1, -0.0] {
            offer.drift = OuterDrift(lastStep: 0.25, largestGradient: norm)
            let bytes = Message.snapshot(offer).bytes(in: context)
            #expect(throws: (any Error).self, "\(norm)") { try Message(bytes: bytes, in: context) }
        }
    }

    @Test func aCharterKeepsItsModeAndRefusesWhatDoesNotGoTogether() throws {
        let founder = testIdentity(1)
        var charter = testCharter(founder: founder.peerID, overlap: 0)
        charter.blendAlpha = 0
        charter.syncMode = .fullOverlap
        charter.outer.penalty = .gap
        charter.outer.momentumClip = 2
        charter.gatherMembersMax = 18
        #expect(try Charter.opened(charter.sealed(by: founder)) == charter)
        #expect(charter.outerRule.method == .staleHeavyBall(.gap, clip: .rootMeanSquares(2)))

        func refuses(_ change: (inout Charter) -> Void) -> Bool {
            var changed = charter
            change(&changed)
            do { _ = try changed.sealed(by: founder) } catch { return true }
            return false
        }
        #expect(refuses { $0.overlapSteps = 2 })
        #expect(refuses { $0.blendAlpha = 0.5 })
        #expect(refuses { $0.syncMode = .eager })
        #expect(refuses { $0.syncMode = .windowed })
        #expect(refuses { $0.outer.momentumClip = -1 })
        #expect(refuses { $0.outer.momentumClip = .nan })
        #expect(refuses { $0.gatherMembersMax = 129 })
        charter.outer.penalty = .none
        charter.outer.momentumClip = 0
        for mode in SyncMode.allCases {
            charter.syncMode = mode
            #expect(try Charter.opened(charter.sealed(by: founder)) == charter)
        }
        #expect(charter.outerRule.method == .nesterov)
    }
}
