import PeerNet
import Testing

@testable import Transport

/// Dialing, trimming, the gate and identify push between real hosts on loopback.
@Suite(.timeLimit(.minutes(1))) struct DialingTests {
    /// A port of this machine where connections are completed by the system and nobody ever speaks.
    private func silentAddress() throws -> (RawListener, Multiaddr) {
        let listener = try RawListener()
        return (listener, try Multiaddr("/ip4/127.0.0.1/tcp/\(listener.port)"))
    }

    @Test func aDeadFirstAddressCostsAQuarterSecond() async throws {
        let (left, right) = (makeHost(1), makeHost(2))
        _ = try await left.start()
        let good = try await right.start()[0]
        let (listener, dead) = try silentAddress()
        defer { listener.close() }
        let clock = ContinuousClock()
        let began = clock.now
        #expect(try await left.connect(to: [dead, good]) == right.peerID)
        let took = clock.now - began
        #expect(took >= .milliseconds(240) && took < .seconds(5))
        // The next dial in the background begins with what worked.
        let book = await left.addressBook()
        #expect(book.contacts(countMax: 9, near: []) == [PeerContact(peer: right.peerID, addresses: [good])])
        await left.disconnect(right.peerID, reason: "again")
        _ = await left.first { event -> Bool? in if case .disconnected = event { true } else { nil } }
        await left.dial(right.peerID, at: [dead])
        #expect(await left.connected() == right.peerID)
        #expect(await stop(left, right))
    }

    @Test func aNameLeadsToThisMachineOnlyIfSomebodyTrustedGaveIt() async throws {
        let right = makeHost(2)
        let port = try #require(try await right.start()[0].tcpEndpoint?.port)
        let name = try Multiaddr("/dns4/localhost/tcp/\(port)")
        let (suspicious, trusting, local) = (makeHost(3), makeHost(4), makeHost(5))
        await local.enableKademlia(mode: .client, isLocalNetwork: true)
        for host in [suspicious, trusting, local] { _ = try await host.start() }
        await suspicious.dial(right.peerID, at: [name])
        await trusting.dial(right.peerID, at: [name], mayBeLocal: true)
        await local.dial(right.peerID, at: [name])
        let reason = await suspicious.first { event -> String? in
            if case .dialFailed(_, let reason) = event { reason } else { nil }
        }
        #expect(reason?.contains("own network") == true)
        #expect(await trusting.connected() == right.peerID)
        #expect(await local.connected() == right.peerID)
        #expect(await stop(suspicious, trusting, local, right))
    }

    @Test func anAddressBookOfAnEarlierRunIsEnough() async throws {
        let (left, right) = (makeHost(1), makeHost(2))
        try await join(left, right)
        let stored = await left.addressBook().encoded
        await left.stop()
        let again = makeHost(1)
        await again.adopt(try AddressBook(bytes: stored))
        _ = try await again.start()
        await again.dial(right.peerID, at: [])
        #expect(await again.connected() == right.peerID)
        #expect(await stop(again, right))
    }

    @Test func crossingBackgroundDialsEndWithOneConnection() async throws {
        for round in UInt8(0)..<10 {
            let (left, right) = (makeHost(10 + round), makeHost(60 + round))
            let (atLeft, atRight) = (try await left.start(), try await right.start())
            let (listener, dead) = try silentAddress()
            defer { listener.close() }
            // Both race two addresses, the dead one first.
            await left.dial(right.peerID, at: [dead] + atRight)
            await right.dial(left.peerID, at: [dead] + atLeft)
            #expect(await left.connected() == right.peerID)
            #expect(await right.connected() == left.peerID)
            while await left.connectionCount != 1 { await Task.yield() }
            while await right.connectionCount != 1 { await Task.yield() }
            #expect(try await left.ping(right.peerID) > .zero)
            #expect(try await right.ping(left.peerID) > .zero)
            #expect(await stop(left, right))
        }
    }

    @Test func aRefusedGroupIsClosedAtOnceAndOthersAreServed() async throws {
        var limits = HostLimits()
        limits.inbound.countsLoopback = true
        limits.inbound.localGroupConnectionsMax = 3
        let (left, right) = (makeHost(1), makeHost(2, limits: limits))
        let address = try await right.start()[0]
        _ = try await left.start()
        var sockets: [RawSocket] = []
        for _ in 0..<3 { sockets.append(try RawSocket(to: address, from: "127.0.7.7")) }
        while await right.connectionCount < 3 { await Task.yield() }
        let refused = try RawSocket(to: address, from: "127.0.7.8")
        #expect(await refused.isClosedByPeer(within: .seconds(5)))
        #expect(await right.connectionCount == 3)
        #expect(try await left.connect(to: [address]) == right.peerID)
        // Where a protected peer lives the group's limit does not count.
        await right.protect(left.peerID)
        while await right.peers().first?.identify == nil { await Task.yield() }
        for socket in sockets + [refused] { socket.close() }
        #expect(await stop(left, right))
    }

    @Test func theLeastUsefulConnectionsAreClosedWhenThereAreTooMany() async throws {
        var limits = HostLimits()
        limits.connectionsBeforeTrimming = 4
        limits.trimmedConnections = 2
        let host = makeHost(1, limits: limits)
        let address = try await host.start()[0]
        let peers = (UInt8(2)...6).map { makeHost($0) }
        await host.protect(peers[0].peerID)
        for peer in peers {
            _ = try await peer.start()
            _ = try await peer.connect(to: [address])
        }
        while await host.peers().count < 5 { await Task.yield() }
        // All are new: none goes. Later two remain, the protected one among them.
        await host.trimConnections(at: Loop.now)
        #expect(await host.peers().count == 5)
        await host.trimConnections(at: Loop.now + ConnectionTrimming.gracePeriod + .seconds(1))
        let left = await host.peers().map(\.peerID)
        #expect(left.count == 2 && left.contains(peers[0].peerID))
        for peer in peers { #expect(await stop(peer)) }
        #expect(await stop(host))
    }

    @Test func peersAreToldOfNewAddressesAndProtocols() async throws {
        let (left, right) = (makeHost(1), makeHost(2))
        try await join(left, right)
        let first = await left.first { event -> IdentifyRecord? in
            if case .identified(_, let record) = event { record } else { nil }
        }
        let added = try Multiaddr("/ip4/198.51.100.7/tcp/4001")
        #expect(first?.listenAddresses.contains(added) == false)
        await right.advertise([added])
        await right.acceptMessages(on: "/test/later/1.0.0", messageBytesMax: 10)
        let second = await left.first { event -> IdentifyRecord? in
            if case .identified(_, let record) = event { record } else { nil }
        }
        #expect(second?.listenAddresses.contains(added) == true)
        #expect(second?.protocols.contains("/test/later/1.0.0") == true)
        await left.send([7], to: right.peerID, on: "/test/later/1.0.0")
        #expect(await right.message() == [7])
        #expect(await stop(left, right))
    }

    @Test func onePeerHasFewConnections() async throws {
        let host = makeHost(1)
        let address = try await host.start()[0]
        var peers: [RawPeer] = []
        for _ in 0..<12 {
            let peer = try RawPeer(to: address, seed: 9)
            #expect(await peer.run { $0.contains { if case .secured = $0 { true } else { false } } })
            peers.append(peer)
        }
        while await host.peers().isEmpty { await Task.yield() }
        while await host.connectionCount > HostLimits().connectionsPerPeerMax { await Task.yield() }
        #expect(await host.peers().count == 1)
        for peer in peers { peer.close() }
        #expect(await stop(host))
    }
}
