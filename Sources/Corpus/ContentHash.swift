import CSodium

/// BLAKE2b-256 of a file's bytes.
struct ContentHash: Hashable, Comparable, Sendable {
    let bytes: [UInt8]

    init(of content: [UInt8]) {
        var digest = [UInt8](repeating: 0, count: 32)
        crypto_generichash_blake2b(&digest, digest.count, content, UInt64(content.count), nil, 0)
        bytes = digest
    }

    /// The first eight bytes as an integer, uniformly distributed.
    var uniform: UInt64 { bytes.prefix(8).reduce(0) { $0 << 8 | UInt64($1) } }

    static func < (left: ContentHash, right: ContentHash) -> Bool { left.bytes.lexicographicallyPrecedes(right.bytes) }
}
