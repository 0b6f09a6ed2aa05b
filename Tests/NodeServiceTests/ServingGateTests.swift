import Compression
import PeerNet
import Swarm
import Testing

@testable import NodeService

@Suite struct ServingGateTests {
    @Test func `a peer that asks too often to be let in is told to ask again`() async throws {
        let gate = ServingGate()
        let peer = try #require(PeerID(publicKey: [UInt8](repeating: 3, count: 32)))
        let request = AdmissionRequest(swarmID: Digest(hashing: [1]), presentation: [1])
        var answers: [[UInt8]?] = []
        for _ in 0..<6 { answers.append(await gate.answer(request, from: peer)?.encoded) }
        // Without a node there is no answer; beyond the rate no node is asked.
        let again = AdmissionRequest.Answer.refused(.notYet).encoded
        #expect(answers == [nil, nil, nil, nil, again, again])
    }
}
