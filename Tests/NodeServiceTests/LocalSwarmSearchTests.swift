import Compression
import PeerNet
import Swarm
import Testing
import Transport

@testable import NodeService

@Suite(.timeLimit(.minutes(1))) struct LocalSwarmSearchTests {
    let wanted = Digest(hashing: [1])

    private func startHost(_ seed: UInt8, answer: AdmissionRequest.Answer? = nil) async throws -> (
        PeerHost, [Multiaddr]
    ) {
        let host = PeerHost(
            identity: try #require(Identity(seed: [UInt8](repeating: seed, count: 32))),
            configuration: PeerHostConfiguration(
                listenAddresses: [try Multiaddr("/ip4/127.0.0.1/tcp/0")], agentVersion: "atoll/test"))
        if let answer {
            await host.serve(AdmissionRequest.protocolName, requestBytesMax: AdmissionRequest.byteCountMax) {
                _, bytes in
                AdmissionRequest(bytes)?.presentation == [] ? .bytes(answer.encoded) : nil
            }
        }
        return (host, try await host.start())
    }

    /// What a search learns of a peer that answers so.
    private func learn(_ answer: AdmissionRequest.Answer?) async throws -> LocalSwarmSearch.Found? {
        let (member, addresses) = try await startHost(1, answer: answer)
        let (asker, _) = try await startHost(2)
        _ = try await asker.connect(to: addresses)
        let found = await LocalSwarmSearch.swarm(of: member.peerID, wanted: wanted, through: asker)
        await asker.stop()
        await member.stop()
        return found
    }

    @Test func `a member that lets nobody in without an invite is found, with the reason`() async throws {
        #expect(
            try await learn(.refused(.noInvite))
                == LocalSwarmSearch.Found(swarmID: wanted, ways: [], refusal: .noInvite))
        #expect(try await learn(.otherSwarm) == nil)
        #expect(try await learn(.charter([1, 2, 3])) == nil, "a charter of another swarm proves nothing")
        #expect(try await learn(nil) == nil)
    }

    @Test func `the cause of a refusal is told, and a member that lets the node in is preferred`() throws {
        let way = try Multiaddr("/ip4/192.0.2.1/tcp/1")
        let refused = [AdmissionRefusal.notYet, .noInvite].map {
            LocalSwarmSearch.Found(swarmID: wanted, ways: [], refusal: $0)
        }
        let error = #expect(throws: UserError.self) { try LocalSwarmSearch.choice(of: refused, wanted: wanted) }
        #expect(error?.message.contains("is on this network, but the swarm admits only who has an invite") == true)
        #expect(error?.cure == AdmissionRefusal.noInvite.cure)
        let open = LocalSwarmSearch.Found(swarmID: wanted, ways: [way])
        #expect(try LocalSwarmSearch.choice(of: refused + [open], wanted: wanted) == open)
        let nobody = #expect(throws: UserError.self) { try LocalSwarmSearch.choice(of: [], wanted: wanted) }
        #expect(nobody?.message.contains("nobody on this network") == true)
    }
}
