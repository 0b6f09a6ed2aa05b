/// Where peers can be reached, and what came of each address when it was dialed. Bounded: peers that this node has
/// reached stay longer than peers that only claim to exist.
package struct AddressBook: Hashable, Sendable {
    /// Peers that are remembered.
    package static let peersMax = 1024
    /// Addresses of one peer.
    package static let addressesPerPeerMax = 16
    /// Back-off after the first failure; doubled by each further one, and multiplied by a random half to one and a half.
    private static let backoffMin: Duration = .seconds(1)
    private static let backoffMax: Duration = .seconds(60)
    /// More doublings reach the greatest back-off anyway.
    private static let doublingsMax = 6

    /// One address of a peer.
    struct Entry: Hashable, Sendable {
        /// Without `/p2p`.
        let address: Multiaddr
        /// Unix time of the last dial that ended with the peer authenticated; 0: none.
        var lastSuccess: UInt64 = 0
        /// Dials that failed since.
        var failures = 0
        /// From the first packet to the authenticated peer, at the last success.
        var latency: Duration?
        /// Not dialed before; not kept on disk.
        var notBefore = Moment.zero
    }

    /// One peer.
    struct Peer: Hashable, Sendable {
        /// Unix time when a connection to it, of either direction, was last authenticated; 0: never.
        var lastSeen: UInt64 = 0
        var entries: [Entry] = []

        /// Whether a dial ever reached it: nobody gets that by claiming something.
        var wasReached: Bool { entries.contains { $0.lastSuccess > 0 } }
    }

    var peers: [PeerID: Peer] = [:]

    /// Knows nobody.
    package init() {}

    /// Peers that are remembered.
    package var peerCount: Int { peers.count }

    // MARK: Learning

    /// Adds addresses that somebody told. Those that cannot be dialed are ignored, as are those that name another peer.
    package mutating func learn(_ addresses: [Multiaddr], of peer: PeerID) {
        var record = peers[peer] ?? Peer()
        for address in addresses.prefix(2 * Self.addressesPerPeerMax) {
            guard address.isDialable, !address.endsInPeerID || address.peerID == peer else { continue }
            let plain = address.withoutPeerID
            guard !record.entries.contains(where: { $0.address == plain }) else { continue }
            if record.entries.count >= Self.addressesPerPeerMax {
                // One that failed and never worked gives way; what works does not.
                guard
                    let worst = record.entries.indices.filter({ record.entries[$0].failures > 0 }).max(by: {
                        let (left, right) = (record.entries[$0], record.entries[$1])
                        return (right.lastSuccess, left.failures) < (left.lastSuccess, right.failures)
                    }), record.entries[worst].lastSuccess == 0
                else { break }
                record.entries.remove(at: worst)
            }
            record.entries.append(Entry(address: plain))
        }
        if !record.entries.isEmpty { store(record, of: peer) }
    }

    /// A connection of either direction to the peer is authenticated.
    package mutating func seen(_ peer: PeerID, unixTime: UInt64) {
        var record = peers[peer] ?? Peer()
        record.lastSeen = max(record.lastSeen, unixTime)
        store(record, of: peer)
    }

    /// A dial of this address reached the peer after `latency`.
    package mutating func succeeded(_ address: Multiaddr, of peer: PeerID, latency: Duration, unixTime: UInt64) {
        learn([address], of: peer)
        change(address, of: peer) { entry in
            entry.lastSuccess = max(unixTime, 1)
            entry.failures = 0
            entry.latency = latency
            entry.notBefore = .zero
        }
        seen(peer, unixTime: unixTime)
    }

    /// A dial of this address failed. `jitter` is a random number in [0, 1).
    package mutating func failed(_ address: Multiaddr, of peer: PeerID, at now: Moment, jitter: Double) {
        change(address, of: peer) { entry in
            let doubled = Self.backoffMin * (1 << min(entry.failures, Self.doublingsMax))
            entry.failures += 1
            entry.notBefore = now + min(doubled, Self.backoffMax) * (0.5 + jitter)
        }
    }

    /// Somebody else answered at this address.
    package mutating func wrong(_ address: Multiaddr, of peer: PeerID, at now: Moment, jitter: Double) {
        failed(address, of: peer, at: now, jitter: jitter)
        // Another peer took the place: what was is no reason to go on asking there first.
        change(address, of: peer) { entry in
            entry.lastSuccess = 0
            entry.latency = nil
        }
    }

    private mutating func change(_ address: Multiaddr, of peer: PeerID, _ body: (inout Entry) -> Void) {
        let plain = address.withoutPeerID
        guard var record = peers[peer], let index = record.entries.firstIndex(where: { $0.address == plain })
        else { return }
        body(&record.entries[index])
        peers[peer] = record
    }

    private mutating func store(_ record: Peer, of peer: PeerID) {
        if peers[peer] == nil, peers.count >= Self.peersMax {
            guard let victim = peers.keys.min(by: { isBetter($1, than: $0) }) else { return }
            peers[victim] = nil
        }
        peers[peer] = record
    }

    /// Those that were reached go before those that were only seen, and newer ones before older ones.
    private func isBetter(_ left: PeerID, than right: PeerID) -> Bool {
        func key(_ peer: PeerID) -> (Int, UInt64) {
            guard let record = peers[peer] else { return (0, 0) }
            return (record.wasReached ? 1 : 0, record.lastSeen)
        }
        let (one, other) = (key(left), key(right))
        return one == other ? left < right : one > other
    }

    // MARK: Asking

    /// The addresses of a peer that may be dialed now, the most promising first: what worked goes before what is new,
    /// and that before what failed; among equals the nearest goes first.
    ///
    /// - Parameter near: the groups of this machine's own interfaces, so that a neighbour is not sought through a router.
    package func ranked(_ peer: PeerID, at now: Moment, near: Set<IPGroup>) -> [Multiaddr] {
        guard let record = peers[peer] else { return [] }
        let ready = record.entries.filter { $0.notBefore <= now }
        let keys = ready.map { (Rank($0, near: near), $0) }
        return keys.sorted { $0.0 < $1.0 }.map(\.1.address)
    }

    /// When the first address of a peer may be dialed; nil if there is none.
    package func nextDial(of peer: PeerID) -> Moment? { peers[peer]?.entries.map(\.notBefore).min() }

    /// Where addresses of a peer lead.
    package func hosts(of peer: PeerID) -> [Multiaddr.Host] {
        peers[peer]?.entries.compactMap { $0.address.tcpEndpoint?.host } ?? []
    }

    /// Peers to begin with, the most promising first, with their addresses as `ranked` orders them.
    package func contacts(countMax: Int, near: Set<IPGroup>) -> [PeerContact] {
        let known = peers.filter { $0.value.lastSeen > 0 && !$0.value.entries.isEmpty }.keys
        return known.sorted { isBetter($0, than: $1) }.prefix(countMax).map { peer in
            PeerContact(peer: peer, addresses: ranked(peer, at: Moment(nanoseconds: .max), near: near))
        }
    }

    /// How promising an address is; less is better.
    private struct Rank: Comparable {
        let experience: Int
        let distance: Int
        let failures: Int
        let latency: Int64
        let age: UInt64
        let address: [UInt8]

        init(_ entry: Entry, near: Set<IPGroup>) {
            experience = entry.failures > 0 ? 2 : entry.lastSuccess > 0 ? 0 : 1
            distance = entry.address.distance(near: near)
            failures = entry.failures
            latency = entry.latency?.nanosecondsClamped ?? .max
            age = .max - entry.lastSuccess
            address = entry.address.bytes
        }

        static func < (left: Rank, right: Rank) -> Bool {
            if left.experience != right.experience { return left.experience < right.experience }
            if left.distance != right.distance { return left.distance < right.distance }
            if left.failures != right.failures { return left.failures < right.failures }
            if left.latency != right.latency { return left.latency < right.latency }
            if left.age != right.age { return left.age < right.age }
            return left.address.lexicographicallyPrecedes(right.address)
        }
    }
}

extension Multiaddr {
    /// How far away an address seems: 0 for a neighbour of an own interface, then the open internet, names, networks of
    /// others that only seem private, and the loopback of whoever told it.
    fileprivate func distance(near: Set<IPGroup>) -> Int {
        if let ipGroup, near.contains(ipGroup) { return 0 }
        if isLoopback { return 4 }
        if isLocal { return 3 }
        if case .dns? = tcpEndpoint?.host { return 2 }
        return 1
    }
}
