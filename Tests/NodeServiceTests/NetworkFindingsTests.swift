import JSONText
import PeerNet
import Testing

@testable import NodeService

@Suite struct NetworkFindingsTests {
    private func peer(
        _ id: String, offset: Double? = nil, agent: String = "atoll/0.1.0", version: String = "atoll/1.0.0"
    ) -> NetworkFacts.Peer {
        NetworkFacts.Peer(
            peerID: id, addresses: ["/ip4/127.0.0.1/tcp/1"], agent: agent, protocolVersion: version,
            protocols: ["/atoll/swarm/1.0.0"], clockOffset: offset, clockUncertainty: offset.map { _ in 0.1 })
    }

    private func check(
        _ address: String, _ peer: String, _ result: NetworkFacts.Check.Result
    ) -> NetworkFacts.Check { .init(address: address, peerID: peer, result: result, reason: "why") }

    @Test func `facts survive their JSON`() throws {
        let facts = NetworkFacts(
            addresses: ["/ip4/8.8.8.8/tcp/1"], peers: [peer("a", offset: 1.5), peer("b")],
            checks: [check("/ip4/8.8.8.8/tcp/1", "a", .undecided)], diskProblem: "full")
        #expect(NetworkFacts(json: try JSONValue(parsing: facts.json.line)) == facts)
        #expect(NetworkFacts(json: ["error": "the node does not know this command"]) == nil)
    }

    @Test func `one open address is enough, and no closed one is hidden`() {
        let (open, closed) = ("/ip4/8.8.8.8/tcp/1", "/ip4/8.8.4.4/tcp/1")
        func levels(_ checks: NetworkFacts.Check...) -> [Finding.Level] {
            NetworkFindings.reachability(NetworkFacts(addresses: [open], checks: checks)).map(\.level)
        }
        #expect(levels(check(open, "a", .reachable)) == [.ok])
        #expect(levels(check(open, "a", .reachable), check(open, "b", .unreachable)) == [.ok])
        #expect(levels(check(closed, "a", .unreachable)) == [.fault])
        #expect(levels(check(closed, "a", .unreachable), check(open, "a", .reachable)) == [.warning, .ok])
        #expect(levels(check(open, "a", .undecided)) == [.warning])
        #expect(levels() == [.warning])
        #expect(NetworkFindings.reachability(NetworkFacts()) == [])
    }

    @Test func `clocks are judged by what most peers say`() {
        func levels(_ offsets: Double...) -> [Finding.Level] {
            NetworkFindings.clock(offsets.enumerated().map { peer("\($0)", offset: $1) }).map(\.level)
        }
        #expect(levels(0.05) == [.ok])
        #expect(levels(1.5) == [.warning])
        #expect(levels(-60) == [.fault])
        #expect(levels(0, 0.1, 60) == [.ok, .warning])
        #expect(levels(59, 60, 0) == [.fault])
        #expect(NetworkFindings.clock([peer("a")]).map(\.level) == [.warning])
    }

    @Test func `versions that do not understand each other are faults, others are said`() {
        func levels(_ peers: NetworkFacts.Peer...) -> [Finding.Level] {
            NetworkFindings.versions(NetworkFacts(peers: peers)).map(\.level)
        }
        #expect(levels(peer("a"), peer("b", agent: "go-libp2p/0.48", version: "ipfs/0.1.0")) == [.ok])
        #expect(levels(peer("a", agent: "atoll/0.1.9")) == [.ok])
        #expect(levels(peer("a", agent: "atoll/0.2.0")) == [.warning])
        #expect(levels(peer("a", version: "atoll/2.0.0"), peer("b")) == [.fault])
        #expect(NetworkFindings.versions(NetworkFacts(version: "0.0.9")).map(\.level) == [.fault])
    }

    @Test func `candidates are what the peer can be asked to dial`() throws {
        let (home, public4) = (try Multiaddr("/ip4/192.168.1.2/tcp/4650"), try Multiaddr("/ip4/8.8.8.8/tcp/4650"))
        // Whence a peer sees us; the port is that of one connection and says nothing.
        let router = try Multiaddr("/ip4/8.8.4.4/tcp/9")
        let forwarded = try Multiaddr("/ip4/8.8.4.4/tcp/4650")
        let (direct, near) = (try Multiaddr("/ip4/8.8.8.8/tcp/9"), try Multiaddr("/ip4/192.168.1.2/tcp/9"))
        let other = try Multiaddr("/ip4/10.0.0.1/tcp/9")
        #expect(NetworkProbe.candidates([home], observed: router) == [forwarded])
        #expect(NetworkProbe.candidates([home, public4], observed: direct) == [public4])
        #expect(NetworkProbe.candidates([home, public4], observed: near) == [home])
        #expect(NetworkProbe.candidates([home], observed: other) == [])
        #expect(NetworkProbe.candidates([home], observed: nil) == [])
        #expect(NetworkProbe.candidates([], observed: direct) == [])
    }
}
