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
}
