import FuzzSupport
import PeerNet
import Testing

@testable import Swarm

/// Every decoder of Swarm that a peer, a file or a flag can reach, on changed good inputs: none traps.
@Suite struct DecoderFuzzTests {
    @Test func messagesAndTheCoreBehindThem() {
        var fuzzer = Fuzzer(seed: 11)
        let swarm = TestSwarm(nodes: 3)
        let context = BranchContext(swarmID: swarm.swarmID, branch: NodeCore.branch)
        let accepted = fuzzer.run("swarm message", MessageTests.samples) {
            (try? Message(bytes: $0, in: context)) != nil
        }
        #expect(accepted > 0)
        for number in 0..<3 { swarm.start(number) }
        swarm.run(until: 5)
        let author = swarm.nodes[1].peerID
        _ = fuzzer.run("swarm core", MessageTests.samples) { bytes in
            swarm.perform(.received(from: author, message: bytes), on: swarm.nodes[0])
            return true
        }
    }

    @Test func recordsOfBranchesAndExperts() throws {
        var fuzzer = Fuzzer(seed: 13)
        let branch = try BranchSamples.branch()
        let expert = BranchSamples.expert(BranchSamples.record(of: branch.id), by: 3)
        let accepted = fuzzer.run("branch", [branch.bytes]) {
            (try? Branch(bytes: $0, swarmID: BranchSamples.swarmID)) != nil
        }
        #expect(accepted < Fuzzer.inputsPerDecoder)
        _ = fuzzer.run("branch body", [branch.record.body]) {
            (try? BranchRecord(body: $0, in: BranchSamples.context)) != nil
        }
        _ = fuzzer.run("expert body", [expert.record.body]) {
            (try? ExpertRecord(body: $0, in: BranchSamples.context)) != nil
        }
        _ = fuzzer.run("record on disk", [RecordNotice(branch).bytes, RecordNotice(expert).bytes]) {
            (try? RecordNotice(bytes: $0)) != nil
        }
    }

    @Test func chartersAndInvites() throws {
        var fuzzer = Fuzzer(seed: 12)
        let swarm = TestSwarm(nodes: 1)
        let sealed = try swarm.charter.sealed(by: swarm.nodes[0].identity)
        let accepted = fuzzer.run("charter", [sealed]) { (try? Charter.opened($0)) != nil }
        #expect(accepted < Fuzzer.inputsPerDecoder)
        let invite = Invite(
            swarmID: swarm.swarmID,
            bootstrap: [try Multiaddr("/ip4/192.0.2.1/tcp/1/p2p/\(swarm.nodes[0].peerID)")])
        _ = fuzzer.run("invite", [Array(invite.text.utf8)]) { bytes in
            (try? Invite.parse(String(decoding: bytes, as: UTF8.self))) != nil
        }
    }
}
