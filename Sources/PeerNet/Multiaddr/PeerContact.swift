/// A peer and where it is said to listen.
package struct PeerContact: Hashable, Sendable {
    /// Who.
    package var peer: PeerID
    /// Where, without `/p2p`, the most promising first; may be empty if the peer is connected.
    package var addresses: [Multiaddr]

    /// Wraps the fields.
    package init(peer: PeerID, addresses: [Multiaddr]) {
        self.peer = peer
        self.addresses = addresses
    }

    /// Adds addresses that another source told. Either source keeps half of the room if it needs it, so that neither
    /// can crowd the other one's out.
    mutating func addAddresses(_ told: [Multiaddr]) {
        let fresh = told.filter { !addresses.contains($0) }
        let half = KademliaLimits.addressesPerPeerMax / 2
        let kept = addresses.prefix(KademliaLimits.addressesPerPeerMax - min(half, fresh.count))
        addresses = Array((kept + fresh).prefix(KademliaLimits.addressesPerPeerMax))
    }
}
