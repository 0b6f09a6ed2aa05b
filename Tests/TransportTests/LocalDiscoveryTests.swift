import Testing

@testable import PeerNet
@testable import Transport

/// The driver of multicast DNS, without the network: what it lets in, and what it tells the state machine.
@Suite(.timeLimit(.minutes(1))) struct LocalDiscoveryTests {
    private static let neighbour = try! Multiaddr("/ip4/192.168.1.2/tcp/4001")

    @Test(arguments: [
        ("/ip4/192.168.1.77/tcp/1", true), ("/ip4/192.168.2.77/tcp/1", false), ("/ip4/8.8.8.8/tcp/1", false),
        ("/ip4/127.0.0.1/tcp/1", false), ("/ip4/169.254.3.4/tcp/1", true), ("/ip6/fe80::1/tcp/1", true),
        ("/ip6/2001:db8::1/tcp/1", false), ("/ip6/fd00::9/tcp/1", true), ("/ip6/fd00:0:0:1::9/tcp/1", false),
    ])
    func onlyTheLinkIsHeard(source: String, isHeard: Bool) throws {
        let machine = MDNSDiscovery(peer: makeHost(1).peerID, addresses: [], seed: 1, at: .zero)
        let address = try Multiaddr(source)
        let ip = try #require(SocketAddress(address)?.ipBytes)
        #expect(LocalDiscovery.atHome(machine).isOnLink(ip) == isHeard)
    }

    @Test func datagramsFromElsewhereAreNotRead() async throws {
        let host = makeHost(1)
        _ = try await host.start()
        await host.discoverNowhere()
        var other = MDNSDiscovery(peer: makeHost(2).peerID, addresses: [Self.neighbour], seed: 2, at: .zero)
        other.advance(at: .zero + .seconds(1))
        guard case .multicast(let answer)? = other.takeOutputs().last else {
            Issue.record("the neighbour does not answer")
            return
        }
        // More than the allowance, from elsewhere: it costs the neighbours nothing.
        for _ in 0..<1000 { await host.hear(answer, from: [192, 168, 9, 9]) }
        #expect(await host.neighbours.isEmpty)
        await host.hear(answer, from: [192, 168, 1, 2])
        #expect(await host.neighbours == [PeerContact(peer: makeHost(2).peerID, addresses: [Self.neighbour])])
        #expect(await stop(host))
    }

    @Test func newAddressesAreTold() async throws {
        let host = makeHost(1)
        _ = try await host.start()
        await host.discoverNowhere()
        await host.advertise([Self.neighbour])
        #expect(await host.localAddresses.contains(Self.neighbour))
        #expect(await stop(host))
    }

    @Test func anInterfaceThatWentIsJoinedAgainWhenItComesBack() async throws {
        let host = makeHost(1)
        #expect(await !host.joinedAfterLooking(from: ["203.0.113.9"]).contains("203.0.113.9"))
        #expect(await stop(host))
    }
}

extension LocalDiscovery {
    /// On two links of a home.
    fileprivate static func atHome(_ machine: MDNSDiscovery) -> Self {
        var discovery = LocalDiscovery(machine: machine)
        discovery.subnets = [
            Subnet(address: [192, 168, 1, 5], mask: [255, 255, 255, 0]),
            Subnet(
                address: [0xfd] + [UInt8](repeating: 0, count: 14) + [1],
                mask: [UInt8](repeating: 255, count: 8) + [UInt8](repeating: 0, count: 8)),
        ]
        return discovery
    }
}

extension PeerHost {
    /// Speaks multicast DNS without a socket, as if at home.
    fileprivate func discoverNowhere() {
        localDiscovery = .atHome(
            MDNSDiscovery(peer: peerID, addresses: announcedAddresses(), seed: 1, at: Loop.now))
    }

    fileprivate func hear(_ bytes: [UInt8], from ip: [UInt8]) {
        guard let source = SocketAddress(ipBytes: ip, port: 5353) else { return }
        bytes.withUnsafeBytes { receivedMulticast($0, from: source) }
    }

    fileprivate var neighbours: [PeerContact] { localDiscovery?.machine.peers ?? [] }
    fileprivate var localAddresses: [Multiaddr] { localDiscovery?.machine.addresses ?? [] }

    /// What a socket has joined after it looks at the interfaces, having joined `former` before.
    fileprivate func joinedAfterLooking(from former: Set<String>) -> Set<String> {
        guard let handle = DatagramHandle(on: loop), let group = SocketAddress(ipBytes: [224, 0, 0, 251], port: 5353)
        else { return former }
        openHandles += 1
        handle.onClosed = { self.handleClosed() }
        var socket = LocalDiscovery.Socket(
            handle: handle, group: group, groupText: "224.0.0.251", isIPv6: false, joined: former)
        joinInterfaces(&socket)
        handle.close()
        return socket.joined
    }
}
