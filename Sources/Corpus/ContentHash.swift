import CSodium

/// BLAKE2b-256 of some bytes.
struct ContentHash: Hashable, Comparable, Sendable {
    let bytes: [UInt8]

    init(of content: [UInt8]) {
        var hasher = ContentHasher()
        content.withUnsafeBytes { hasher.update($0) }
        self = hasher.finalize()
    }

    fileprivate init(digest: [UInt8]) { bytes = digest }

    /// The first eight bytes as an integer, uniformly distributed.
    var uniform: UInt64 { bytes.prefix(8).reduce(0) { $0 << 8 | UInt64($1) } }

    /// Whether text with this hash is held out: the lowest twentieth of all hashes is, plenty for a loss and dear to
    /// nobody.
    var isHeldOut: Bool { uniform < UInt64.max / 20 }

    static func < (left: ContentHash, right: ContentHash) -> Bool { left.bytes.lexicographicallyPrecedes(right.bytes) }
}

/// A content hash of bytes that come in parts.
struct ContentHasher: ~Copyable {
    /// libsodium's state is an opaque, 64-byte aligned block; owned here alone and freed in `deinit`.
    private let state: OpaquePointer

    private static let byteCount = 32

    init() {
        state = OpaquePointer(
            UnsafeMutableRawPointer.allocate(byteCount: crypto_generichash_blake2b_statebytes(), alignment: 64))
        crypto_generichash_blake2b_init(state, nil, 0, Self.byteCount)
    }

    deinit { UnsafeMutableRawPointer(state).deallocate() }

    mutating func update(_ bytes: UnsafeRawBufferPointer) {
        crypto_generichash_blake2b_update(state, bytes.bindMemory(to: UInt8.self).baseAddress, UInt64(bytes.count))
    }

    consuming func finalize() -> ContentHash {
        var digest = [UInt8](repeating: 0, count: Self.byteCount)
        crypto_generichash_blake2b_final(state, &digest, digest.count)
        return ContentHash(digest: digest)
    }
}
