package import PeerNet

/// Finds out how the address of one local port looks to several peers.
package actor MappingProbe {
    package nonisolated let loop = Loop.shared
    package nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }

    private let agentVersion: String

    /// `agentVersion` is what identify tells the peers.
    package init(agentVersion: String) { self.agentVersion = agentVersion }

    /// Connects from one free IPv4 port to each of the peers, with a key of its own, and collects what their identify
    /// answers say; ends after `duration` with what it has. Peers without an IPv4 address are left out.
    package func observe(_ peers: [PeerContact], within duration: Duration) async -> [MappingObservation] {
        guard let identity = Identity(seed: Entropy.bytes(32)), let local = freeAddress() else { return [] }
        var configuration = PeerHostConfiguration(listenAddresses: [], agentVersion: agentVersion)
        configuration.dialAddress = local
        configuration.limits.connectTimeout = duration
        let host = PeerHost(identity: identity, configuration: configuration)
        guard (try? await host.start()) != nil else { return [] }
        let deadline = StopTimer(host, after: duration)
        defer { deadline.cancel() }
        let dialed = peers.compactMap { peer -> (PeerID, [Multiaddr])? in
            let usable = peer.addresses.filter { if case .ip4? = $0.tcpEndpoint?.host { true } else { false } }
            return usable.isEmpty ? nil : (peer.peer, usable)
        }
        for (peer, addresses) in dialed { await host.dial(peer, at: addresses) }
        var waiting = Set(dialed.map(\.0))
        var found: [MappingObservation] = []
        while !waiting.isEmpty, let event = await host.next() {
            switch event {
            case .identified(let peer, let record):
                guard waiting.remove(peer) != nil else { continue }
                if let local = await host.localAddress(of: peer), let observed = record.observedAddress {
                    found.append(MappingObservation(peer: peer, local: local, observed: observed))
                }
            case .dialFailed(let peer, _), .disconnected(let peer, _): waiting.remove(peer)
            case .connected, .message, .gossip, .discovered: break
            }
        }
        await host.stop()
        return found
    }

    /// An address with a port that was free a moment ago.
    private func freeAddress() -> Multiaddr? {
        guard let any = SocketAddress(ipBytes: [0, 0, 0, 0], port: 0), let handle = StreamHandle(.tcp, on: loop)
        else { return nil }
        defer { handle.close() }
        guard any.withSockaddr({ handle.bind(to: $0) }) == 0 else { return nil }
        return SocketAddress(of: handle, remote: false)?.multiaddr
    }
}
