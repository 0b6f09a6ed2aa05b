import PeerNet
import Testing

@testable import Transport

@Suite("The hash table over sockets", .timeLimit(.minutes(1)))
struct KademliaHostTests {
    private func tableHost(_ seed: UInt8, mode: Kademlia.Mode = .server) async throws -> PeerHost {
        let host = makeHost(seed)
        await host.enableKademlia(mode: mode, isLocalNetwork: true)
        _ = try await host.start()
        return host
    }

    /// How others reach a host.
    private func contact(_ host: PeerHost) async -> PeerContact {
        PeerContact(peer: host.peerID, addresses: await host.announcedAddresses())
    }

    @Test func aPeerIsFoundThroughAnother() async throws {
        let (middle, seeker, sought) = (try await tableHost(1), try await tableHost(2), try await tableHost(3))
        let bootstrap = [await contact(middle)]
        #expect(await sought.bootstrapTable(bootstrap).contains { $0.peer == middle.peerID })
        #expect(await seeker.bootstrapTable(bootstrap).contains { $0.peer == middle.peerID })
        let found = await seeker.findPeer(sought.peerID)
        #expect(found == PeerContact(peer: sought.peerID, addresses: await sought.announcedAddresses()))
        #expect(await stop(middle, seeker, sought))
    }

    @Test func nodesWithANameInCommonMeet() async throws {
        let (middle, one, other) = (try await tableHost(1), try await tableHost(2), try await tableHost(3))
        let bootstrap = [await contact(middle)]
        _ = await one.bootstrapTable(bootstrap)
        _ = await other.bootstrapTable(bootstrap)
        let key = Kademlia.rendezvousKey("a swarm")
        #expect(await one.provide(key) >= 1)
        let found = await other.findProviders(of: key, wanted: 4)
        #expect(found.map(\.peer) == [one.peerID])
        #expect(found.first?.addresses == (await one.announcedAddresses()))
        #expect(await stop(middle, one, other))
    }

    /// Holders forget a client once it is gone: what is left then is what the record says.
    @Test func aRecordTellsWhereItsProviderIs() async throws {
        let (middle, one, other) = (
            try await tableHost(1), try await tableHost(2, mode: .client), try await tableHost(3)
        )
        let bootstrap = [await contact(middle)]
        _ = await one.bootstrapTable(bootstrap)
        _ = await other.bootstrapTable(bootstrap)
        await one.advertise([try Multiaddr("/ip4/127.0.0.1/tcp/4001")])
        let provider = await contact(one)
        #expect(provider.addresses.count == 2)
        let key = Kademlia.rendezvousKey("a swarm")
        #expect(await one.provide(key) >= 1)
        #expect(await stop(one))
        while await middle.peers().contains(where: { $0.peerID == provider.peer }) { await Task.yield() }
        while await other.peers().contains(where: { $0.peerID == provider.peer }) { await Task.yield() }
        #expect(await other.findProviders(of: key, wanted: 4) == [provider])
        #expect(await stop(middle, other))
    }

    @Test func commandsEndWithTheHost() async throws {
        let host = try await tableHost(1)
        let nowhere = try PeerContact(peer: makeHost(9).peerID, addresses: [Multiaddr("/ip4/127.0.0.1/tcp/1")])
        let waiting = Task { await host.bootstrapTable([nowhere]) }
        let searching = Task { await host.findPeer(nowhere.peer) }
        await Task.yield()
        #expect(await stop(host))
        #expect(await waiting.value.isEmpty)
        #expect(await searching.value == nil)
    }

    @Test func clientsAskButDoNotServe() async throws {
        let (server, client) = (try await tableHost(1), try await tableHost(2, mode: .client))
        #expect(await client.bootstrapTable([await contact(server)]).map(\.peer) == [server.peerID])
        #expect(await server.tableContacts().isEmpty)
        #expect(await client.kademliaProtocols.isEmpty)
        // Once others can dial it, it is told to them, and no longer when they cannot.
        await client.setTableMode(.server)
        while await server.tableContacts().map(\.peer) != [client.peerID] { await Task.yield() }
        await client.setTableMode(.client)
        while await !server.tableContacts().isEmpty { await Task.yield() }
        #expect(await stop(server, client))
    }
}

extension PeerHost {
    /// Peers in the routing table.
    func tableContacts() -> [PeerContact] { kademlia?.machine.contacts ?? [] }
}
