/// A libp2p multiaddr, validated, in its binary form.
package struct Multiaddr: Hashable, Sendable {
    /// The binary form.
    package let bytes: [UInt8]

    /// Wraps bytes that the caller has validated.
    init(validated bytes: [UInt8]) { self.bytes = bytes }
}
