import Compression
import OuterSync
import PeerNet
import Simulation
import Swarm
import Testing

/// A swarm by invite in virtual time, with strangers at the door and a member that is revoked.
@Suite struct InviteTests {
    @Test(arguments: 1...4) func `A swarm by invite trains, and who is not let in gets nothing`(seed: UInt64) throws {
        print("seed \(seed), by invite")
        let simulator = try Simulator(.byInvite(seed: seed))
        let report = try simulator.run()
        print("\(report)")
        #expect(report.rounds.allSatisfy { $0 > 3 })
        let cores = simulator.nodes.map { $0.running?.core }
        func admits(_ judge: Int, _ peer: Int) -> Bool? {
            cores[judge]?.mayServe(simulator.nodes[peer].identity.peerID)
        }
        for judge in 0..<3 {
            for peer in 0..<3 { #expect(admits(judge, peer) == true) }
            for peer in 3..<8 { #expect(admits(judge, peer) == false) }
        }
        let reasons: [Int: AdmissionRefusal] = [3: .revoked, 4: .expired, 5: .overused, 6: .revoked, 7: .noInvite]
        for (number, reason) in reasons {
            #expect(cores[number]?.status.refusal == reason, "node \(number)")
        }
        for number in 4..<8 {
            let disk = simulator.nodes[number].disk
            #expect(disk.blobs.isEmpty)
            #expect(disk.journal.allSatisfy { if case .final = $0 { false } else { true } })
        }
    }
}
