/// What a peer says about itself by `/ipfs/id/1.0.0`.
package struct IdentifyRecord: Hashable, Sendable {
    /// Addresses the peer listens on, without `/p2p`; addresses that do not decode are left out.
    package var listenAddresses: [Multiaddr] = []
    /// Protocols the peer serves on inbound streams.
    package var protocols: [String] = []
    /// The address from which the peer sees this node.
    package var observedAddress: Multiaddr?
    /// The peer's addresses, signed by itself (`SignedPeerRecord`); not verified yet.
    package var signedRecord: [UInt8]?
    /// Informative.
    package var protocolVersion: String = ""
    /// Informative, such as `go-libp2p/0.48`.
    package var agentVersion: String = ""

    /// An empty record.
    package init() {}
}
