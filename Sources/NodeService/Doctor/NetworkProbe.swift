import PeerNet
import Transport

/// Asks the peers of a host what they see of it.
struct NetworkProbe: Sendable {
    private let host: PeerHost
    private let autonat: AutoNATService
    private let clock: @Sendable () -> Int64

    /// Peers that are asked; the rest would say the same.
    private static let peersMax = 8
    /// Peers that are asked to dial, and addresses that each is asked for.
    private static let dialersMax = 4
    private static let candidatesMax = 2

    /// Works on a running host that `autonat` is attached to; `clock` is this machine's.
    init(
        host: PeerHost, autonat: AutoNATService, clock: @escaping @Sendable () -> Int64 = PeerHost.wallClock
    ) {
        self.host = host
        self.autonat = autonat
        self.clock = clock
    }

    /// Asks the connected peers; takes a few seconds, more only where peers take longer to answer than to dial.
    /// `addresses`: where this host is told to be reachable; none if it only dials.
    func facts(addresses: [Multiaddr]) async -> NetworkFacts {
        let connected = Array(await host.peers().prefix(Self.peersMax))
        // A clock's answer comes behind that of identify, which was asked for first.
        let readings = await withTaskGroup(of: (PeerID, ClockReading?).self) { group in
            for peer in connected.map(\.peerID) {
                group.addTask { (peer, try? await host.readClock(of: peer, against: clock)) }
            }
            return await group.reduce(into: [PeerID: ClockReading]()) { $0[$1.0] = $1.1 }
        }
        let peers = Array(await host.peers().prefix(Self.peersMax))
        let checks = await check(addresses, by: Array(peers.prefix(Self.dialersMax)))
        return NetworkFacts(
            addresses: addresses.map { "\($0)" },
            peers: peers.map { peer in
                let identify = peer.identify
                let told = identify?.listenAddresses ?? []
                let reading = readings[peer.peerID]
                return NetworkFacts.Peer(
                    peerID: "\(peer.peerID)",
                    addresses: ((peer.isOutbound ? [peer.remoteAddress] : []) + told).map { "\($0)" },
                    agent: identify?.agentVersion ?? "", protocolVersion: identify?.protocolVersion ?? "",
                    protocols: (identify?.protocols ?? []).filter { $0.hasPrefix("/atoll/") },
                    clockOffset: reading?.offset.inSeconds, clockUncertainty: reading?.uncertainty.inSeconds)
            },
            checks: checks)
    }

    private func check(_ addresses: [Multiaddr], by peers: [PeerStatus]) async -> [NetworkFacts.Check] {
        await withTaskGroup(of: NetworkFacts.Check.self) { group in
            for peer in peers {
                for candidate in Self.candidates(addresses, observed: peer.identify?.observedAddress) {
                    group.addTask {
                        let result = await autonat.check([candidate], by: peer.peerID, over: host)
                        return NetworkFacts.Check(candidate, by: peer.peerID, result)
                    }
                }
            }
            return await group.reduce(into: []) { $0.append($1) }.sorted {
                ($0.address, $0.peerID) < ($1.address, $1.peerID)
            }
        }
    }

    /// Which addresses a peer can be asked to dial: on one network those that it knows us by; over the internet the public
    /// ones, and the one that a router should forward.
    static func candidates(_ addresses: [Multiaddr], observed: Multiaddr?) -> [Multiaddr] {
        guard let seen = observed?.tcpEndpoint?.host, let port = addresses.first?.tcpEndpoint?.port else { return [] }
        let same = addresses.filter { $0.tcpEndpoint?.host == seen }
        if observed?.isLocal ?? true { return Array(same.prefix(candidatesMax)) }
        var forwarded: [Multiaddr] = []
        if same.isEmpty, case .ip4(let bytes) = seen {
            forwarded = [Multiaddr(ipBytes: bytes, tcpPort: port)].compactMap { $0 }
        }
        return Array((forwarded + addresses.filter { !$0.isLocal }).prefix(candidatesMax))
    }
}

extension NetworkFacts.Check {
    fileprivate init(_ candidate: Multiaddr, by peer: PeerID, _ result: Reachability) {
        peerID = "\(peer)"
        address = "\(candidate)"
        reason = ""
        switch result {
        case .reachable: self.result = .reachable
        case .unreachable: self.result = .unreachable
        case .undecided(let why):
            self.result = .undecided
            reason = why.rawValue
        }
    }
}
