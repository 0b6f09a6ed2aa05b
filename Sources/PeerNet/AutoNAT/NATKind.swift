/// How one peer saw a connection that came from a local address.
package struct MappingObservation: Hashable, Sendable {
    /// The peer.
    package var peer: PeerID
    /// The socket's own address.
    package var local: Multiaddr
    /// The socket's address as the peer's identify answer gave it.
    package var observed: Multiaddr

    /// Wraps the fields.
    package init(peer: PeerID, local: Multiaddr, observed: Multiaddr) {
        self.peer = peer
        self.local = local
        self.observed = observed
    }
}

/// What lies between this node and its peers, as far as connections from one local port to several of them show
/// (RFC 4787, 4.1, for TCP: RFC 5382).
package enum NATKind: String, Hashable, Sendable {
    /// Every peer sees the local address.
    case none
    /// All peers see the same other address: one that a peer has seen leads others here too, once opened.
    case endpointIndependent = "endpoint-independent"
    /// Each peer sees a port of its own: what one has seen is of no use to another.
    case symmetric
    /// Addresses are translated, but only one peer told how.
    case translated
    /// No peer told.
    case unknown

    /// Judges observations that were all made from one local port; of one peer the first counts.
    package init(_ observations: [MappingObservation]) {
        var seen: [PeerID: MappingObservation] = [:]
        for observation in observations where seen[observation.peer] == nil { seen[observation.peer] = observation }
        let translated = seen.values.filter { !Self.isSameEndpoint($0.observed, $0.local) }
        if seen.isEmpty {
            self = .unknown
        } else if translated.isEmpty {
            self = .none
        } else if translated.count == 1 {
            self = .translated
        } else {
            let first = translated[0].observed
            self = translated.allSatisfy { Self.isSameEndpoint($0.observed, first) } ? .endpointIndependent : .symmetric
        }
    }

    private static func isSameEndpoint(_ one: Multiaddr, _ other: Multiaddr) -> Bool {
        guard let one = one.tcpEndpoint, let other = other.tcpEndpoint else { return false }
        return one == other
    }
}
