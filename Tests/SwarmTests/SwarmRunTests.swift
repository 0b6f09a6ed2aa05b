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

    @Test(arguments: 1...6) func fourNodesMakeTheSameHeads(seed: UInt64) {
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
            #expect(!node.events.contains { if case .violation = $0 { true } else { false } })
        }
    }
}
