import CSodium

/// A node's libp2p peer id: an Ed25519 public key (other key kinds are refused with a clear error).
package struct PeerID: Hashable, Comparable, Sendable {
    private let words: Words

    /// Words, not a vector: a vector of 32 bytes that lives across an `await` overruns the function's async context on
    /// Swift 6.3, whose size counts for 16-byte alignment only.
    private struct Words: Hashable {
        var first: UInt64 = 0
        var second: UInt64 = 0
        var third: UInt64 = 0
        var fourth: UInt64 = 0

        /// Numbers that compare as the bytes do: sorted lists of peers are searched on hot paths.
        var inOrder: (UInt64, UInt64, UInt64, UInt64) {
            (first.bigEndian, second.bigEndian, third.bigEndian, fourth.bigEndian)
        }
    }

    /// Takes a raw 32-byte Ed25519 public key; nil for any other count.
    package init?(publicKey: some Collection<UInt8>) {
        guard publicKey.count == 32 else { return nil }
        var words = Words()
        withUnsafeMutableBytes(of: &words) { $0.copyBytes(from: publicKey) }
        self.words = words
    }

    /// The raw 32-byte Ed25519 public key.
    package var publicKey: [UInt8] { withUnsafeBytes(of: words) { Array($0) } }

    /// Orders by the raw public key, byte by byte.
    package static func < (left: PeerID, right: PeerID) -> Bool { left.words.inOrder < right.words.inOrder }

    /// Whether `signature` (64 bytes) is this peer's Ed25519 signature of `message`.
    package func verifies(signature: [UInt8], of message: [UInt8]) -> Bool {
        guard signature.count == 64 else { return false }
        return crypto_sign_ed25519_verify_detached(signature, message, UInt64(message.count), publicKey) == 0
    }
}

/// A node's Ed25519 signing identity.
package struct Identity: Sendable {
    /// The 32-byte seed (RFC 8032 private key).
    package let seed: [UInt8]
    /// The public half.
    package let peerID: PeerID
    private let secretKey: [UInt8]

    /// Derives the key pair of a 32-byte seed; nil for any other count.
    package init?(seed: [UInt8]) {
        guard seed.count == 32 else { return nil }
        var publicKey = [UInt8](repeating: 0, count: 32)
        var secretKey = [UInt8](repeating: 0, count: 64)
        guard crypto_sign_ed25519_seed_keypair(&publicKey, &secretKey, seed) == 0,
            let peerID = PeerID(publicKey: publicKey)
        else { return nil }
        self.seed = seed
        self.peerID = peerID
        self.secretKey = secretKey
    }

    /// The 64-byte Ed25519 signature of `message`; deterministic.
    package func sign(_ message: [UInt8]) -> [UInt8] {
        var signature = [UInt8](repeating: 0, count: 64)
        crypto_sign_ed25519_detached(&signature, nil, message, UInt64(message.count), secretKey)
        return signature
    }
}
