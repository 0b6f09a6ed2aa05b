import CUV
import Glibc
package import PeerNet

/// What a host remembers about a peer it dials.
struct DialState {
    /// Tells a dial from a later one of the same peer.
    let number: UInt64
    var addresses: [Multiaddr]
    /// Failed rounds in a row.
    var failures = 0
    /// No attempt before this moment.
    var notBefore: Moment
    /// Whether a dial is wanted, and whether one runs.
    var isWanted = true
    var isRunning = false
}

/// Outbound connections: resolving, connecting, back-off.
extension PeerHost {
    /// Addresses that one dial tries.
    private static let dialAddressesMax = 16
    /// Peers whose back-off is remembered.
    private static let dialsMax = 1024
    /// Back-off after the first failure; doubled by each further one.
    private static let backoffMin: Duration = .seconds(1)
    private static let backoffMax: Duration = .seconds(60)

    /// Connects to whoever answers at one of `addresses` (tried in order) and returns its id; an address that ends
    /// in `/p2p/ID` accepts only that peer. No back-off: for addresses that a user gave.
    package func connect(to addresses: [Multiaddr]) async throws(TransportError) -> PeerID {
        try await tryAll(addresses).get()
    }

    private func tryAll(_ addresses: [Multiaddr]) async -> Result<PeerID, TransportError> {
        var reasons: [String] = []
        for address in addresses.prefix(Self.dialAddressesMax) {
            guard state == .running else { return .failure(.stopped) }
            if let peer = address.peerID, entries[peer] != nil { return .success(peer) }
            switch await connect(to: address) {
            case .success(let peer): return .success(peer)
            case .failure(.wrongPeer(let expected, let found)) where addresses.count == 1:
                return .failure(.wrongPeer(expected: expected, found: found))
            case .failure(let reason): reasons.append("\(address): \(reason)")
            }
        }
        return .failure(.unreachable(reasons))
    }

    /// Connects to a peer in the background unless connected or being dialed, after the back-off that earlier
    /// failures left. The result is `.connected` or `.dialFailed`.
    package func dial(_ peer: PeerID, at addresses: [Multiaddr]) {
        guard state == .running, entries[peer] == nil, peer != peerID else { return }
        let usable = addresses.filter { $0.tcpEndpoint != nil && ($0.peerID ?? peer) == peer }
        let named = Array(usable.prefix(Self.dialAddressesMax).map { $0.encapsulating(p2p: peer) })
        if dials[peer] == nil, dials.count >= Self.dialsMax,
            let victim = dials.filter({ !$0.value.isRunning }).min(by: { $0.value.notBefore < $1.value.notBefore })?.key
        {
            dials[victim] = nil
        }
        dials[peer, default: DialState(number: newID(), addresses: [], notBefore: .zero)].addresses = named
        dials[peer]?.isWanted = true
        retryDials(at: Loop.now)
    }

    /// Starts every wanted dial whose time has come.
    func retryDials(at now: Moment) {
        for (peer, dial) in dials where dial.isWanted && !dial.isRunning && dial.notBefore <= now {
            dials[peer]?.isRunning = true
            startTask { host in await host.runDial(dial.number, of: peer, dial.addresses) }
        }
    }

    private func runDial(_ number: UInt64, of peer: PeerID, _ addresses: [Multiaddr]) async {
        let result = await tryAll(addresses)
        // A connection that came and went meanwhile has ended this dial, and a new one may run.
        guard dials[peer]?.number == number else { return }
        switch result {
        case .success: dials[peer] = nil
        case .failure(let error):
            dials[peer]?.isRunning = false
            dials[peer]?.isWanted = false
            guard entries[peer] == nil, let failures = dials[peer]?.failures else { return }
            let doubled = Self.backoffMin * (1 << min(failures, 6))
            let wait = min(doubled, Self.backoffMax) * (0.5 + Entropy.fraction())
            dials[peer]?.failures = failures + 1
            dials[peer]?.notBefore = Loop.now + wait
            emit(.dialFailed(peer, reason: error.description))
        }
    }

    /// Resolves one address and tries what it leads to.
    private func connect(to address: Multiaddr) async -> Result<PeerID, CloseReason> {
        guard let (host, port) = address.tcpEndpoint, !address.isUnspecifiedOrMulticast else {
            return .failure(.local("not an address that this node can dial"))
        }
        if address.endsInPeerID, address.peerID == nil {
            return .failure(.local("only peers with Ed25519 keys can be dialed"))
        }
        var targets: [SocketAddress] = []
        switch host {
        case .ip4(let bytes), .ip6(let bytes): targets = [SocketAddress(ipBytes: bytes, port: port)].compactMap { $0 }
        case .dns(let name, let family):
            let (found, reason) = await withCheckedContinuation { continuation in
                Resolver.resolve(name, family: family, port: port, on: loop) { found, reason in
                    continuation.resume(returning: (found.compactMap(\.multiaddr), reason))
                }
            }
            if let reason { return .failure(.local(reason)) }
            targets = found.compactMap { found in
                switch found.tcpEndpoint?.host {
                case .ip4(let bytes)?, .ip6(let bytes)?: SocketAddress(ipBytes: bytes, port: port)
                default: nil
                }
            }
        }
        var result: Result<PeerID, CloseReason> = .failure(.local("the name has no address"))
        for target in targets {
            guard state == .running else { return .failure(Self.stopping) }
            result = await connect(to: target, expectedPeer: address.peerID)
            if case .success = result { return result }
        }
        return result
    }

    /// Connects one socket and waits until the peer is authenticated. From the first check to the link there is no
    /// suspension, so a stop at any moment finds every handle in `connecting` or in `links`.
    private func connect(to target: SocketAddress, expectedPeer: PeerID?) async -> Result<PeerID, CloseReason> {
        await withCheckedContinuation { continuation in
            guard state == .running else { return continuation.resume(returning: .failure(Self.stopping)) }
            guard links.count + connecting.count < limits.connectionsMax, let address = target.multiaddr,
                let handle = makeHandle()
            else { return continuation.resume(returning: .failure(.local("too many connections"))) }
            bindDialAddress(of: handle)
            connecting[ObjectIdentifier(handle)] = handle
            openHandles += 1
            let timer = TimerHandle(on: loop) { [weak handle] in handle?.close() }
            timer.set(Loop.now + limits.connectTimeout)
            handle.connect(to: target) { status in
                timer.close { self.handleClosed() }
                self.connecting[ObjectIdentifier(handle)] = nil
                guard status == 0, self.state == .running, !handle.isClosing else {
                    handle.close()
                    let reason = status == UV_ECANCELED.rawValue ? "no answer in time" : StreamHandle.reason(status)
                    return continuation.resume(
                        returning: .failure(self.state == .running ? .transportEnded(reason) : Self.stopping))
                }
                let link = self.startLink(handle, address: address, expectedPeer: expectedPeer, isOutbound: true)
                if let reason = link.closeReason {
                    continuation.resume(returning: .failure(reason))
                } else {
                    link.securedWaiter = continuation
                }
            }
        }
    }

    private static let stopping = CloseReason.local("this node is stopping")

    /// What identify tells: the bound addresses, with those of the interfaces in place of "any".
    package func announcedAddresses() -> [Multiaddr] {
        boundAddresses.flatMap { address -> [Multiaddr] in
            guard address.isUnspecifiedOrMulticast, let (host, port) = address.tcpEndpoint else { return [address] }
            let isIP4 = if case .ip4 = host { true } else { false }
            return Self.interfaceAddresses(ip4: isIP4, port: port)
        }
    }

    /// The announced addresses as this node signs them; the sequence number is new only when they are.
    func signedRecord(of addresses: [Multiaddr]) -> [UInt8]? {
        guard !addresses.isEmpty else { return nil }
        let addresses = Array(addresses.prefix(SignedPeerRecord.addressesMax))
        if let record = ownRecord, record.addresses == addresses { return record.envelope }
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        let sequence = UInt64(max(0, time.tv_sec)) &* 1_000_000_000 &+ UInt64(max(0, time.tv_nsec))
        let record = SignedPeerRecord(signedBy: identity, sequence: sequence, addresses: addresses)
        ownRecord = record
        return record.envelope
    }

    /// Addresses of this machine's interfaces; loopback only if there is no other.
    private static func interfaceAddresses(ip4: Bool, port: UInt16) -> [Multiaddr] {
        var list: UnsafeMutablePointer<uv_interface_address_t>?
        var count: CInt = 0
        guard uv_interface_addresses(&list, &count) == 0, let list else { return [] }
        defer { uv_free_interface_addresses(list, count) }
        let all = (0..<Int(count)).compactMap { index -> Multiaddr? in
            withUnsafePointer(to: list[index].address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { SocketAddress($0, port: port)?.multiaddr }
            }
        }
        let usable = all.filter { address in
            switch address.tcpEndpoint?.host {
            case .ip4?: ip4
            // Link-local addresses mean nothing without their interface.
            case .ip6(let bytes)?: !ip4 && !(bytes[0] == 0xfe && bytes[1] & 0xc0 == 0x80)
            default: false
            }
        }
        let routable = usable.filter { !$0.isLoopback }
        return routable.isEmpty ? usable : routable
    }
}
