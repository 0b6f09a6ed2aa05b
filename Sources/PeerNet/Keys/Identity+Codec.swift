/// Why some bytes are not a private key that this node can use.
package enum IdentityError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Not a libp2p private key.
    case malformed
    /// A key of another kind; this network uses Ed25519 alone.
    case unsupportedKey(PeerIDError.KeyKind)
    /// The public half stored with the seed does not belong to it.
    case publicKeyDiffers

    /// One line for people.
    package var description: String {
        switch self {
        case .malformed: "not a libp2p private key"
        case .unsupportedKey(let kind): "private key of kind \(kind.rawValue); only Ed25519 keys are supported"
        case .publicKeyDiffers: "damaged private key: its public half does not belong to it"
        }
    }
}

extension Identity {
    /// The key as libp2p's `PrivateKey` protobuf, for a key file: `08 01 12 40 | seed | public key`, 68 bytes.
    package var privateKeyProtobuf: [UInt8] { [0x08, 0x01, 0x12, 0x40] + seed + peerID.publicKey }

    /// Decodes a `PrivateKey` protobuf; the old form that repeats the public key is accepted if both copies agree.
    package init(privateKeyProtobuf bytes: some Collection<UInt8>) throws(IdentityError) {
        let bytes = Array(bytes.prefix(101))
        guard bytes.count >= 4, bytes[0] == 0x08, bytes[2] == 0x12 else { throw .malformed }
        switch bytes[1] {
        case 0: throw .unsupportedKey(.rsa)
        case 1: break
        case 2: throw .unsupportedKey(.secp256k1)
        case 3: throw .unsupportedKey(.ecdsa)
        default: throw .unsupportedKey(.unknown)
        }
        let content = Array(bytes.dropFirst(4))
        guard content.count == Int(bytes[3]), content.count == 64 || content.count == 96,
            let identity = Identity(seed: Array(content[..<32]))
        else { throw .malformed }
        guard
            stride(from: 32, to: content.count, by: 32).allSatisfy({
                Array(content[$0..<$0 + 32]) == identity.peerID.publicKey
            })
        else { throw .publicKeyDiffers }
        self = identity
    }
}
