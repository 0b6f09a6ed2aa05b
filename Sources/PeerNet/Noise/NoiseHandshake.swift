import CSodium

/// Noise XX over 25519, ChaChaPoly and SHA256 (The Noise Protocol Framework, revision 34, sections 5 and 7.5).
struct NoiseHandshake: Sendable {
    /// Who sends the first message.
    enum Role: Sendable { case initiator, responder }

    /// The two keys a side brings: both fresh X25519 secrets of 32 bytes, neither of them the identity key.
    struct Secrets: Sendable {
        var staticKey: [UInt8]
        var ephemeralKey: [UInt8]
    }

    /// Bytes of a public key.
    static let keyBytes = 32

    private let role: Role
    private var secrets: Secrets
    private let staticPublic: [UInt8]
    private let ephemeralPublic: [UInt8]
    private var remoteEphemeral: [UInt8] = []
    /// The peer's static public key, once its message was read.
    private(set) var remoteStatic: [UInt8] = []
    private var hash: [UInt8]
    private var chainingKey: [UInt8]
    private var cipher: NoiseCipher?
    private var messagesDone = 0

    /// Starts a handshake; libp2p's prologue over TCP is empty.
    init(role: Role, secrets: Secrets, prologue: [UInt8] = []) {
        self.role = role
        self.secrets = secrets
        staticPublic = Self.publicKey(of: secrets.staticKey)
        ephemeralPublic = Self.publicKey(of: secrets.ephemeralKey)
        // The name has exactly 32 bytes, so it is its own hash.
        hash = Array("Noise_XX_25519_ChaChaPoly_SHA256".utf8)
        chainingKey = hash
        mixHash(prologue)
    }

    /// This side's static public key, which the identity key signs.
    var localStatic: [UInt8] { staticPublic }

    /// Whether the next message is this side's to write.
    var isMyTurn: Bool { !isComplete && (messagesDone % 2 == 0) == (role == .initiator) }

    /// Whether all three messages are done.
    var isComplete: Bool { messagesDone == 3 }

    /// Writes the next message with its payload.
    mutating func write(payload: [UInt8]) throws(Violation) -> [UInt8] {
        precondition(isMyTurn, "the next message is the peer's")
        var message: [UInt8] = []
        switch messagesDone {
        case 0:
            message = ephemeralPublic
            mixHash(ephemeralPublic)
        case 1:
            message = ephemeralPublic
            mixHash(ephemeralPublic)
            try mixKey(secrets.ephemeralKey, remoteEphemeral)
            try encryptAndHash(staticPublic, into: &message)
            try mixKey(secrets.staticKey, remoteEphemeral)
        default:
            try encryptAndHash(staticPublic, into: &message)
            try mixKey(secrets.staticKey, remoteEphemeral)
        }
        try encryptAndHash(payload, into: &message)
        messagesDone += 1
        return message
    }

    /// Reads the peer's next message and gives its payload.
    mutating func read(_ message: [UInt8]) throws(Violation) -> [UInt8] {
        precondition(!isMyTurn && !isComplete, "the next message is ours")
        var rest = message[...]
        let sealedKeyBytes = Self.keyBytes + NoiseCipher.tagBytes
        let bytesMin = [Self.keyBytes, Self.keyBytes + sealedKeyBytes, sealedKeyBytes][messagesDone]
        guard message.count >= bytesMin else {
            throw .noiseMessageTooShort(bytes: message.count, bytesMin: bytesMin)
        }
        if messagesDone < 2 {
            remoteEphemeral = Array(rest.prefix(Self.keyBytes))
            rest = rest.dropFirst(Self.keyBytes)
            mixHash(remoteEphemeral)
        }
        if messagesDone == 1 { try mixKey(secrets.ephemeralKey, remoteEphemeral) }
        if messagesDone > 0 {
            remoteStatic = try decryptAndHash(Array(rest.prefix(sealedKeyBytes)))
            rest = rest.dropFirst(sealedKeyBytes)
            try mixKey(secrets.ephemeralKey, remoteStatic)
        }
        let payload = try decryptAndHash(Array(rest))
        messagesDone += 1
        return payload
    }

    /// Ends the handshake: the ciphers of both directions and the handshake hash. Wipes every secret.
    mutating func split() -> (send: NoiseCipher, receive: NoiseCipher, handshakeHash: [UInt8]) {
        precondition(isComplete, "keys exist after three messages")
        var (first, second) = Self.derive(chainingKey, [])
        let ciphers = (NoiseCipher(key: first), NoiseCipher(key: second))
        first = []
        second = []
        wipe()
        return role == .initiator ? (ciphers.0, ciphers.1, hash) : (ciphers.1, ciphers.0, hash)
    }

    /// Overwrites every secret of an abandoned handshake.
    mutating func wipe() {
        wipeSecret(&secrets.staticKey)
        wipeSecret(&secrets.ephemeralKey)
        wipeSecret(&chainingKey)
        cipher?.wipe()
        cipher = nil
    }

    // MARK: Symmetric state

    private mutating func mixHash(_ data: [UInt8]) {
        let input = hash + data
        crypto_hash_sha256(&hash, input, UInt64(input.count))
    }

    private mutating func mixKey(_ secret: [UInt8], _ publicKey: [UInt8]) throws(Violation) {
        var shared = [UInt8](repeating: 0, count: 32)
        guard crypto_scalarmult_curve25519(&shared, secret, publicKey) == 0 else { throw .noiseSharedSecretZero }
        let (next, key) = Self.derive(chainingKey, shared)
        wipeSecret(&shared)
        chainingKey = next
        cipher = NoiseCipher(key: key)
    }

    private mutating func encryptAndHash(_ plaintext: [UInt8], into message: inout [UInt8]) throws(Violation) {
        var sealed: [UInt8] = []
        if cipher != nil {
            let hash = hash
            try plaintext.withUnsafeBufferPointer { (bytes) throws(Violation) in
                try cipher?.encrypt(UnsafeRawBufferPointer(bytes), authenticating: hash, into: &sealed)
            }
        } else {
            sealed = plaintext
        }
        message += sealed
        mixHash(sealed)
    }

    private mutating func decryptAndHash(_ sealed: [UInt8]) throws(Violation) -> [UInt8] {
        var plaintext: [UInt8] = []
        if cipher != nil {
            let hash = hash
            try sealed.withUnsafeBufferPointer { (bytes) throws(Violation) in
                try cipher?.decrypt(UnsafeRawBufferPointer(bytes), authenticating: hash, into: &plaintext)
            }
        } else {
            plaintext = sealed
        }
        mixHash(sealed)
        return plaintext
    }

    /// Noise's HKDF with two outputs.
    private static func derive(_ chainingKey: [UInt8], _ input: [UInt8]) -> ([UInt8], [UInt8]) {
        let key = authenticate(input, key: chainingKey)
        let first = authenticate([1], key: key)
        return (first, authenticate(first + [2], key: key))
    }

    private static func authenticate(_ input: [UInt8], key: [UInt8]) -> [UInt8] {
        var output = [UInt8](repeating: 0, count: 32)
        crypto_auth_hmacsha256(&output, input, UInt64(input.count), key)
        return output
    }

    private static func publicKey(of secret: [UInt8]) -> [UInt8] {
        precondition(secret.count == keyBytes, "X25519 secrets have 32 bytes")
        var output = [UInt8](repeating: 0, count: keyBytes)
        crypto_scalarmult_curve25519_base(&output, secret)
        return output
    }
}
