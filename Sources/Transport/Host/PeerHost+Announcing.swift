import CUV
import Glibc
package import PeerNet

/// What this host tells of itself: its addresses and protocols, and identify push when they change.
extension PeerHost {
    /// How often the machine's interfaces are looked at.
    private static let interfacesInterval: Duration = .seconds(5)
    /// Addresses that an owner may add.
    private static let advertisedMax = 16

    /// What identify tells: the bound addresses, with those of the interfaces in place of "any", and what the owner added.
    package func announcedAddresses() -> [Multiaddr] {
        announced + advertised.filter { !announced.contains($0) }
    }

    /// Adds addresses at which others can reach this node (behind a router that forwards a port, say), in place of those
    /// given before. Peers that are connected are told.
    package func advertise(_ addresses: [Multiaddr]) {
        let usable = Array(addresses.filter(\.isDialable).map(\.withoutPeerID).prefix(Self.advertisedMax))
        guard usable != advertised else { return }
        advertised = usable
        isAnnouncementDue = true
        addressesChanged(at: Loop.now)
    }

    /// Hands the addresses to those protocols that tell them apart from identify.
    private func addressesChanged(at now: Moment) {
        kademlia?.machine.setAddresses(announcedAddresses(), at: now)
        driveKademlia()
        addressesChangedLocally(at: now)
    }

    /// What identify tells, apart from the protocols.
    func identifyRecord() -> IdentifyRecord {
        var record = IdentifyRecord()
        record.agentVersion = configuration.agentVersion
        record.protocolVersion = configuration.protocolVersion
        record.listenAddresses = announcedAddresses()
        record.signedRecord = signedRecord(of: record.listenAddresses)
        return record
    }

    /// The announced addresses as this node signs them; the sequence number is new only when they are.
    func signedRecord(of addresses: [Multiaddr]) -> [UInt8]? {
        guard !addresses.isEmpty else { return nil }
        let addresses = Array(addresses.prefix(SignedPeerRecord.addressesMax))
        if let record = ownRecord, record.addresses == addresses { return record.envelope }
        let sequence = UInt64(WallClock.nanoseconds)
        let record = SignedPeerRecord(signedBy: identity, sequence: sequence, addresses: addresses)
        ownRecord = record
        return record.envelope
    }

    /// What streams peers may open, and the class they send in.
    func servedProtocols() -> [String: StreamPriority] {
        var protocols: [String: StreamPriority] = [:]
        for name in messageProtocols.keys { protocols[name] = .control }
        for name in requestProtocols.keys { protocols[name] = .bulk }
        for name in gossipProtocols + kademliaProtocols { protocols[name] = .control }
        for name in sessionProtocols.keys { protocols[name] = .control }
        return protocols
    }

    /// Tells every peer what has changed since it was told; called with every housekeeping, so that changes that come
    /// together are told once.
    func announceIfDue(at now: Moment) {
        guard isAnnouncementDue else { return }
        isAnnouncementDue = false
        let (record, protocols) = (identifyRecord(), servedProtocols())
        for link in links.values where link.closeReason == nil {
            link.connection.announce(record, protocols: protocols, at: now)
            scheduleFlush(link)
        }
    }

    /// A peer said who it is, or said it anew. The owner is told of news alone, and of the newest once, however often a
    /// peer pushes.
    func identified(_ peer: PeerID, _ record: IdentifyRecord, on link: Link) {
        guard let entry = entries[peer], entry.identify != record else { return }
        entry.identify = record
        // Loopback means the peer's own machine, which is this one only if it came that way; a private address means its own
        // network likewise.
        let isNear = link.remoteAddress.isLoopback
        let isOnNetwork = isNetworkLocal || link.remoteAddress.isLocal
        book.learn(
            record.listenAddresses.filter { (isNear || !$0.isLoopback) && (isOnNetwork || !$0.isLocal) }, of: peer)
        vouchedHosts = nil
        guard !entry.identifyEventWaits else {
            gossipObserves(.identified(peer, record))
            return kademliaObserves(.identified(peer, record))
        }
        entry.identifyEventWaits = eventWaiter == nil
        emit(.identified(peer, record))
    }

    // MARK: Interfaces

    /// Sees whether the machine's addresses have changed.
    func lookAtInterfaces(at now: Moment) {
        guard announced.isEmpty || now - interfacesSeenAt >= Self.interfacesInterval else { return }
        interfacesSeenAt = now
        let found = boundAddresses.flatMap { address -> [Multiaddr] in
            guard address.isUnspecifiedOrMulticast, let (host, port) = address.tcpEndpoint else { return [address] }
            let isIP4 = if case .ip4 = host { true } else { false }
            return Self.interfaceAddresses(port: port).filter {
                if case .ip4? = $0.tcpEndpoint?.host { isIP4 } else { !isIP4 }
            }
        }
        nearGroups = Set((found.isEmpty ? Self.interfaceAddresses(port: 1) : found).compactMap(\.ipGroup))
        lookAtLinks()
        guard found != announced else { return }
        isAnnouncementDue = !announced.isEmpty
        announced = found
        addressesChanged(at: now)
    }

    /// Addresses of this machine's interfaces; of each family, loopback only if there is no other.
    private static func interfaceAddresses(port: UInt16) -> [Multiaddr] {
        var list: UnsafeMutablePointer<uv_interface_address_t>?
        var count: CInt = 0
        guard uv_interface_addresses(&list, &count) == 0, let list else { return [] }
        defer { uv_free_interface_addresses(list, count) }
        let all = (0..<Int(count)).compactMap { index -> Multiaddr? in
            withUnsafePointer(to: list[index].address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { SocketAddress($0, port: port)?.multiaddr }
            }
        }
        let ip4 = all.filter { if case .ip4? = $0.tcpEndpoint?.host { true } else { false } }
        let ip6 = all.filter { address in
            // Link-local addresses mean nothing without their interface.
            if case .ip6(let bytes)? = address.tcpEndpoint?.host {
                !(bytes[0] == 0xfe && bytes[1] & 0xc0 == 0x80)
            } else {
                false
            }
        }
        return [ip4, ip6].flatMap { family in
            let routable = family.filter { !$0.isLoopback }
            return routable.isEmpty ? family : routable
        }
    }
}
