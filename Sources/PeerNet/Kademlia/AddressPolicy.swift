/// Which addresses told by others are kept, and how peers are grouped by them.
struct AddressPolicy: Sendable {
    /// Whether addresses of this machine and its network count. Then they belong to no group: on one network, or in a
    /// test, all peers share one. On the public network a claim of such an address is a lure, and is dropped.
    let isLocalNetwork: Bool

    /// Whether an address that a peer told may be kept and dialed. What a name resolves to is for the dialer to judge.
    func accepts(_ address: Multiaddr) -> Bool {
        guard address.bytes.count <= KademliaLimits.addressBytesMax, let (host, port) = address.tcpEndpoint
        else { return false }
        return port > 0 && host.isSingle && (isLocalNetwork || !host.isLocal)
    }

    /// The accepted ones of some addresses, each once and without `/p2p`, at most the limit.
    func kept(_ addresses: [Multiaddr]) -> [Multiaddr] {
        var kept: [Multiaddr] = []
        for address in addresses {
            let plain = address.withoutPeerID
            guard accepts(plain), !kept.contains(plain) else { continue }
            kept.append(plain)
            if kept.count == KademliaLimits.addressesPerPeerMax { break }
        }
        return kept
    }

    /// The groups of a peer: those of its end of the connection, which it cannot choose freely, or else of what it
    /// says.
    func groups(remoteAddress: Multiaddr?, addresses: [Multiaddr]) -> [IPGroup] {
        guard let remoteAddress, remoteAddress.tcpEndpoint != nil else { return groups(of: addresses) }
        return groups(of: [remoteAddress])
    }

    /// The groups of some addresses, each once.
    func groups(of addresses: [Multiaddr]) -> [IPGroup] {
        var groups: [IPGroup] = []
        for address in addresses {
            guard let host = address.tcpEndpoint?.host, !(isLocalNetwork && host.isLocal) else { continue }
            let group = host.ipGroup
            if !groups.contains(group) { groups.append(group) }
        }
        return groups
    }

    /// The peers of one answer that are worth a try: each once, not `own` and not the teller, at most k, and few of one
    /// IP group. `known` gives addresses that this node has itself, which outweigh what it is told.
    func admissible(
        _ peers: [KademliaMessage.Peer], excluding excluded: [PeerID], known: (PeerID) -> [Multiaddr]?
    ) -> [PeerContact] {
        var admitted: [PeerContact] = []
        var seen = Set(excluded)
        var counts: [IPGroup: Int] = [:]
        for told in peers.prefix(KademliaLimits.bucketSize) where seen.insert(told.contact.peer).inserted {
            let peer = told.contact.peer
            let addresses = known(peer) ?? kept(told.contact.addresses)
            guard !addresses.isEmpty else { continue }
            let groups = groups(of: addresses)
            guard groups.allSatisfy({ counts[$0, default: 0] < KademliaLimits.groupInAnswerMax }) else { continue }
            for group in groups { counts[group, default: 0] += 1 }
            admitted.append(PeerContact(peer: peer, addresses: addresses))
        }
        return admitted
    }
}
