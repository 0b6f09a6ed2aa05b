import Testing
import PeerNet
import OuterSync
@testable import Swarm

@Test func debugDump() {
    let swarm = TestSwarm(nodes: 4, seed: 5)
    swarm.trace = true
    for number in 0..<4 { swarm.start(number) }
    swarm.run(until: 12)
}
