/// Why some bytes or text are not a peer id that this node can use.
package enum PeerIDError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Not the bytes or text of any peer id.
    case malformed
    /// The id of a key of another kind; this network uses Ed25519 alone.
    case unsupportedKey(KeyKind)

    /// Key kinds of libp2p that this network does not use.
    package enum KeyKind: String, Hashable, Sendable {
        case rsa = "RSA"
        case secp256k1 = "secp256k1"
        case ecdsa = "ECDSA"
        /// The id holds only a hash of the key, as for RSA and ECDSA keys.
        case hashed = "hashed (RSA or ECDSA)"
        case unknown = "unknown"
    }

    /// One line for people.
    package var description: String {
        switch self {
        case .malformed: "not a peer id"
        case .unsupportedKey(let kind):
            "peer id with a key of kind \(kind.rawValue); only Ed25519 ids (12D3KooW…) are supported"
        }
    }
}

/// The libp2p `PublicKey` protobuf, whose canonical form is fixed byte for byte.
enum PublicKeyProtobuf {
    /// `Type = Ed25519`, then `Data` of 32 bytes.
    static let ed25519Prefix: [UInt8] = [0x08, 0x01, 0x12, 0x20]
    /// Longest encoding that is looked at; a longer one cannot be Ed25519 and is refused unread.
    static let byteCountMax = 36

    /// The raw key of a canonical Ed25519 encoding.
    static func decode(_ bytes: some Collection<UInt8>) throws(PeerIDError) -> PeerID {
        if bytes.starts(with: ed25519Prefix), bytes.count == byteCountMax,
            let peer = PeerID(publicKey: bytes.dropFirst(ed25519Prefix.count))
        {
            return peer
        }
        let head = Array(bytes.prefix(2))
        guard head.count == 2, head[0] == 0x08 else { throw .malformed }
        switch head[1] {
        case 0: throw .unsupportedKey(.rsa)
        case 1: throw .malformed
        case 2: throw .unsupportedKey(.secp256k1)
        case 3: throw .unsupportedKey(.ecdsa)
        default: throw .unsupportedKey(.unknown)
        }
    }
}

extension PeerID {
    /// Bytes of an Ed25519 id: identity multihash code, length, encoded public key.
    package static let byteCount = 38

    /// The multihash, as sent on the wire: `00 24 08 01 12 20 | key`.
    package var bytes: [UInt8] { [0x00, 0x24] + publicKeyProtobuf }

    /// The key as libp2p's `PublicKey` protobuf: `08 01 12 20 | key`.
    package var publicKeyProtobuf: [UInt8] { PublicKeyProtobuf.ed25519Prefix + publicKey }

    /// Decodes a multihash; anything but an Ed25519 id is refused with the reason.
    package init(bytes: some Collection<UInt8>) throws(PeerIDError) {
        let head = Array(bytes.prefix(2))
        guard head.count == 2 else { throw .malformed }
        switch (head[0], Int(head[1])) {
        case (0x00, let length):
            guard length <= 42, bytes.count == 2 + length else { throw .malformed }
            self = try PublicKeyProtobuf.decode(bytes.dropFirst(2))
        case (0x12, 0x20):
            guard bytes.count == 34 else { throw .malformed }
            throw .unsupportedKey(.hashed)
        default:
            throw .malformed
        }
    }

    /// Parses base58btc (`12D3KooW…`) or CIDv1 in base32 (`bafz…`).
    package init(_ text: some StringProtocol) throws(PeerIDError) {
        let characters = text.utf8
        guard characters.count <= Base58.countMax else { throw .malformed }
        if text.hasPrefix("1") || text.hasPrefix("Qm") {
            guard let bytes = Base58.decode(Array(characters)) else { throw .malformed }
            self = try PeerID(bytes: bytes)
        } else {
            // Multibase `b` (base32), CID version 1, codec libp2p-key.
            guard text.hasPrefix("b"), let bytes = BaseBits.base32.decode(Array(characters.dropFirst())),
                bytes.starts(with: [0x01, 0x72])
            else { throw .malformed }
            self = try PeerID(bytes: bytes.dropFirst(2))
        }
    }

    /// The CIDv1 text form.
    package var cid: String { "b" + BaseBits.base32.encode([0x01, 0x72] + bytes) }
}

extension PeerID: CustomStringConvertible {
    /// The base58btc text form, `12D3KooW…`.
    package var description: String { Base58.encode(bytes) }

    /// The last six characters of the text form, for log lines.
    package var short: String { String(description.suffix(6)) }
}
