import Compression
import OuterSync
import PeerNet
import Testing

@testable import Swarm

@Suite("Some nodes together")
struct SwarmRunTests {
    @Test func aFounderAloneMakesRounds() {
        let swarm = TestSwarm(nodes: 1)
        swarm.start(0)
        #expect(swarm.run(until: 60) { $0.nodes[0].heads.allSatisfy { $0.round >= 4 } })
    }

    @Test(arguments: 1...3) func fourNodesMakeTheSameHeads(seed: UInt64) {
        let swarm = TestSwarm(nodes: 4, seed: seed)
        for number in 0..<4 { swarm.start(number) }
        #expect(swarm.run(until: 120) { $0.nodes.allSatisfy { $0.heads.allSatisfy { $0.round >= 8 } } })
        for node in swarm.nodes {
            for fragment in 0..<2 {
                for summary in node.summaries(fragment).dropFirst(2) {
                    #expect(summary.contributors == 4, "\(node.number) \(fragment) \(summary)")
                    #expect(summary.attempt == 0)
                }
            }
        }
        #expect(swarm.violations.isEmpty)
    }

    @Test(arguments: 1...3) func theLastRoundsEndWithEqualHeads(seed: UInt64) {
        let swarm = TestSwarm(nodes: 3, budget: 40_000, seed: seed)
        for number in 0..<3 { swarm.start(number) }
        #expect(swarm.run(until: 120) { $0.nodes.allSatisfy(\.finished) })
        #expect(swarm.headsAreEqual)
        for node in swarm.nodes {
            #expect(node.core?.status.phase == .finished)
            for fragment in 0..<2 {
                let summaries = node.summaries(fragment)
                #expect(summaries.filter(\.closing).count == 1)
                #expect(summaries.last?.closing == true)
            }
        }
        #expect(swarm.violations.isEmpty)
    }

    @Test(arguments: 1...4) func aKilledNodeComesBackAndEndsWithTheSameHeads(seed: UInt64) {
        let swarm = TestSwarm(nodes: 4, budget: 60_000, seed: seed)
        for number in 0..<4 { swarm.start(number) }
        swarm.at(7 + 0.3 * Double(seed)) { $0.restart(Int(seed) % 4, after: 3) }
        #expect(swarm.run(until: 200) { $0.nodes.allSatisfy(\.finished) })
        #expect(swarm.headsAreEqual)
        #expect(swarm.violations.isEmpty)
    }

    @Test(arguments: 1...2) func everyNodeMayBeKilledInTurn(seed: UInt64) {
        let swarm = TestSwarm(nodes: 4, budget: 150_000, seed: seed)
        for number in 0..<4 { swarm.start(number) }
        for kill in 0..<8 {
            swarm.at(4 + 2.37 * Double(kill) + 0.11 * Double(seed)) { $0.restart(kill % 4, after: 1.1) }
        }
        #expect(swarm.run(until: 400) { $0.nodes.allSatisfy(\.finished) })
        #expect(swarm.headsAreEqual)
        #expect(swarm.violations.isEmpty)
    }

    @Test(arguments: 1...2) func aNewcomerTakesSnapshotAndTail(seed: UInt64) {
        let swarm = TestSwarm(nodes: 4, budget: 150_000, seed: seed)
        for number in 0..<3 { swarm.start(number) }
        #expect(swarm.run(until: 200) { $0.nodes[0].heads.allSatisfy { $0.round >= 14 } })
        swarm.start(3)
        #expect(
            swarm.run(until: 200) { swarm in
                swarm.nodes[3].events.contains { if case .firstContribution = $0 { true } else { false } }
            })
        #expect(swarm.nodes[3].events.contains { if case .fetchingSnapshot = $0 { true } else { false } })
        #expect(swarm.run(until: 400) { $0.nodes.allSatisfy(\.finished) })
        #expect(swarm.headsAreEqual)
        #expect(swarm.violations.isEmpty)
    }

    @Test(arguments: 1...4) func lostMessagesCostTimeOnly(seed: UInt64) {
        let swarm = TestSwarm(nodes: 4, budget: 60_000, seed: seed)
        swarm.loses = 0.1
        for number in 0..<4 { swarm.start(number) }
        #expect(swarm.run(until: 400) { $0.nodes.allSatisfy(\.finished) })
        #expect(swarm.headsAreEqual)
        #expect(swarm.violations.isEmpty)
    }

    @Test(arguments: 1...3) func whoeverTellsFalseSizesOfBlobsIsChargedAndNobodyElse(seed: UInt64) {
        let swarm = TestSwarm(nodes: 4, seed: seed)
        swarm.nodes[3].tellsFalseSizes = true
        for number in 0..<4 { swarm.start(number) }
        let honest = swarm.nodes.prefix(3)
        #expect(swarm.run(until: 200) { _ in honest.allSatisfy { $0.heads.allSatisfy { $0.round >= 6 } } })
        let charged = honest.flatMap(\.events).compactMap { event -> PeerID? in
            guard case .violation(let peer, let reason) = event else { return nil }
            #expect(reason.contains("it has 100"), "\(reason)")
            return peer
        }
        #expect(!charged.isEmpty && charged.allSatisfy { $0 == swarm.nodes[3].peerID })
        #expect(!swarm.nodes[3].events.contains { if case .violation = $0 { true } else { false } })
    }

    @Test func aNodeThatCannotWriteTrainsOnAndSignsNothing() {
        let swarm = TestSwarm(nodes: 3, seed: 3)
        for number in 0..<3 { swarm.start(number) }
        #expect(swarm.run(until: 60) { $0.nodes.allSatisfy { $0.heads.allSatisfy { $0.round >= 3 } } })
        let node = swarm.nodes[2]
        node.diskWorks = false
        let round = node.heads[0].round
        let steps = node.progress.steps
        // Fewer than the rounds after which it would ask for a snapshot.
        swarm.run(until: (swarm.now - .zero).inSeconds + 16)
        #expect(node.progress.steps > steps + 150)
        #expect(node.heads[0].round <= round + 1)
        #expect(swarm.nodes[0].heads[0].round > round + 4)
        #expect(node.core?.status.canPersist == false)
        node.diskWorks = true
        #expect(swarm.run(until: 200) { $0.headsAreEqual && $0.nodes[2].heads[0].round > round + 8 })
        #expect(node.core?.status.canPersist == true)
        #expect(swarm.violations.isEmpty)
    }
}
