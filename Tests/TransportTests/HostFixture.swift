import PeerNet
import Transport

/// A host on loopback with an identity made from one byte.
func makeHost(
    _ seed: UInt8, limits: HostLimits = HostLimits(), _ adjust: (inout PeerHostConfiguration) -> Void = { _ in }
) -> PeerHost {
    let identity = Identity(seed: [UInt8](repeating: seed, count: 32))!
    var configuration = PeerHostConfiguration(
        listenAddresses: [try! Multiaddr("/ip4/127.0.0.1/tcp/0")], agentVersion: "atoll/test", limits: limits)
    adjust(&configuration)
    return PeerHost(identity: identity, configuration: configuration)
}

extension PeerHost {
    /// Events until one of them gives a value.
    func first<Value: Sendable>(_ pick: @Sendable (HostEvent) -> Value?) async -> Value? {
        while let event = await next() {
            if let value = pick(event) { return value }
        }
        return nil
    }

    /// The peer of the next `.connected`.
    func connected() async -> PeerID? {
        await first { if case .connected(let peer, _) = $0 { peer } else { nil } }
    }

    /// The next message.
    func message() async -> [UInt8]? {
        await first { if case .message(_, _, let bytes) = $0 { bytes } else { nil } }
    }
}

/// Starts both hosts and connects the first to the second.
func join(_ left: PeerHost, _ right: PeerHost) async throws {
    _ = try await left.start()
    let addresses = try await right.start()
    let peer = try await left.connect(to: addresses.map { $0.encapsulating(p2p: right.peerID) })
    precondition(peer == right.peerID)
    while await right.connected() != left.peerID {}
}

/// Stops hosts and proves that nothing is left.
func stop(_ hosts: PeerHost...) async -> Bool {
    for host in hosts { await host.stop() }
    for host in hosts {
        guard await host.openHandleCount == 0, await host.connectionCount == 0, await host.next() == nil else {
            return false
        }
    }
    return true
}
