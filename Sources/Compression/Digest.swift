import CSodium

/// A BLAKE2b-256 digest: the address of a payload, a head, a commit or a charter.
package struct Digest: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The 32 bytes, as four words loaded in memory order.
    private let words: Words

    /// Words, not a vector: a vector of 32 bytes that lives across an `await` overruns the function's async context on
    /// Swift 6.3, whose size counts for 16-byte alignment only.
    private struct Words: Hashable {
        var first: UInt64 = 0
        var second: UInt64 = 0
        var third: UInt64 = 0
        var fourth: UInt64 = 0
    }

    /// The number of bytes in a digest.
    package static let byteCount = 32

    /// Takes 32 raw digest bytes; nil for any other count.
    package init?(bytes: some Collection<UInt8>) {
        guard bytes.count == Self.byteCount else { return nil }
        var words = Words()
        withUnsafeMutableBytes(of: &words) { $0.copyBytes(from: bytes) }
        self.words = words
    }

    /// Hashes `bytes` with BLAKE2b-256, unkeyed.
    package init(hashing bytes: some Sequence<UInt8>) {
        var hasher = DigestHasher()
        if bytes.withContiguousStorageIfAvailable({ hasher.update(UnsafeRawBufferPointer($0)) }) == nil {
            Array(bytes).withUnsafeBytes { hasher.update($0) }
        }
        self = hasher.finalize()
    }

    /// The 32 raw bytes.
    package var bytes: [UInt8] { withUnsafeBytes(of: words) { Array($0) } }

    /// Lower-case hexadecimal, 64 characters.
    package var description: String { hexadecimal(bytes) }

    /// The first eight hexadecimal characters, for log lines.
    package var short: String { hexadecimal(bytes.prefix(4)) }

    /// Parses 64 hexadecimal characters.
    package init?(hexadecimal text: String) {
        let digits = Array(text.utf8)
        guard digits.count == 2 * Self.byteCount else { return nil }
        var bytes: [UInt8] = []
        for index in stride(from: 0, to: digits.count, by: 2) {
            guard let high = Self.nibble(digits[index]), let low = Self.nibble(digits[index + 1]) else { return nil }
            bytes.append(high << 4 | low)
        }
        self.init(bytes: bytes)
    }

    /// Orders by the raw bytes.
    package static func < (left: Digest, right: Digest) -> Bool {
        left.bytes.lexicographicallyPrecedes(right.bytes)
    }

    private static func nibble(_ character: UInt8) -> UInt8? {
        switch character {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): character - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): character - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): character - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}

/// Lower-case hexadecimal text of some bytes.
package func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    let digits = Array("0123456789abcdef".utf8)
    var text: [UInt8] = []
    for byte in bytes {
        text.append(digits[Int(byte >> 4)])
        text.append(digits[Int(byte & 15)])
    }
    return String(decoding: text, as: UTF8.self)
}

/// An incremental BLAKE2b-256.
package struct DigestHasher: ~Copyable {
    /// libsodium's state is an opaque, 64-byte aligned block; owned here alone and freed in `deinit`.
    private let state: OpaquePointer

    /// Starts an empty, unkeyed hash.
    package init() {
        state = Self.allocateState()
        crypto_generichash_blake2b_init(state, nil, 0, Digest.byteCount)
    }

    /// Starts an empty, unkeyed hash that BLAKE2b's 16 personalization bytes set apart from all others.
    init(personalization: [UInt8]) {
        precondition(personalization.count == 16, "BLAKE2b takes 16 bytes of personalization")
        state = Self.allocateState()
        crypto_generichash_blake2b_init_salt_personal(state, nil, 0, Digest.byteCount, nil, personalization)
    }

    private static func allocateState() -> OpaquePointer {
        OpaquePointer(
            UnsafeMutableRawPointer.allocate(byteCount: crypto_generichash_blake2b_statebytes(), alignment: 64))
    }

    deinit { UnsafeMutableRawPointer(state).deallocate() }

    /// Appends `bytes` to the input.
    package mutating func update(_ bytes: UnsafeRawBufferPointer) {
        crypto_generichash_blake2b_update(state, bytes.bindMemory(to: UInt8.self).baseAddress, UInt64(bytes.count))
    }

    /// Appends `bytes` to the input.
    package mutating func update(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { update($0) }
    }

    /// Ends the hash.
    package consuming func finalize() -> Digest { result() }

    /// Ends the hash and starts an empty, unkeyed one.
    mutating func finalizeAndRestart() -> Digest {
        let digest = result()
        crypto_generichash_blake2b_init(state, nil, 0, Digest.byteCount)
        return digest
    }

    private borrowing func result() -> Digest {
        var bytes = [UInt8](repeating: 0, count: Digest.byteCount)
        crypto_generichash_blake2b_final(state, &bytes, bytes.count)
        guard let digest = Digest(bytes: bytes) else { preconditionFailure("BLAKE2b-256 must give 32 bytes") }
        return digest
    }
}
