/// What makes a value of the table valid. Values are stored and believed only by it.
package protocol RecordValidator: Sendable {
    /// Whether `key` is of a namespace that is served here and `value` is a valid value under it.
    func accepts(_ value: [UInt8], for key: [UInt8]) -> Bool

    /// Whether `value` is to be preferred to `other`; both were accepted for `key`.
    func prefers(_ value: [UInt8], to other: [UInt8], for key: [UInt8]) -> Bool
}

/// The namespace `/pk/`, which every implementation serves: under `/pk/` and a peer's id lies its public key.
package struct PublicKeyValidator: RecordValidator {
    /// The namespace's prefix.
    static let prefix = Array("/pk/".utf8)

    /// A validator without state.
    package init() {}

    /// The key that `peer`'s public key lies under.
    package static func key(of peer: PeerID) -> [UInt8] { prefix + peer.bytes }

    /// Whether `value` is the public key that the peer's id stands for.
    package func accepts(_ value: [UInt8], for key: [UInt8]) -> Bool {
        guard key.starts(with: Self.prefix), let peer = try? PeerID(bytes: key.dropFirst(Self.prefix.count))
        else { return false }
        return value == peer.publicKeyProtobuf
    }

    /// Never: there is one valid value.
    package func prefers(_ value: [UInt8], to other: [UInt8], for key: [UInt8]) -> Bool { false }
}
