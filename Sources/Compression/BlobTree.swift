/// How a blob is cut, and what its digest is: the root of a tree of two levels, whose leaves are the digests of chunks.
///
/// A blob of one chunk is named by the BLAKE2b-256 of its bytes. A larger one is named by a BLAKE2b-256 over its size
/// and the digests of its chunks, personalised, so that no bytes of a small blob give the name of a large one. Whoever
/// knows name and size can check the list of digests, and with that every chunk by itself, from whomever it comes.
package enum BlobTree {
    /// Bytes of every chunk but the last. The snapshot of a tile of 64 Ki parameters fits into one.
    package static let chunkByteCount = 1 << 20
    /// No blob is larger: 2 GiB, whose list of digests is 64 KiB.
    package static let byteCountMax = 1 << 31

    /// The number of chunks; an empty blob has one, of no bytes.
    package static func chunkCount(of byteCount: Int) -> Int {
        max(1, (byteCount + chunkByteCount - 1) / chunkByteCount)
    }

    /// The bytes of one chunk.
    package static func range(ofChunk index: Int, byteCount: Int) -> Range<Int> {
        let start = index * chunkByteCount
        return start..<min(start + chunkByteCount, byteCount)
    }

    /// Bytes of the list of chunk digests; 0 for a blob of one chunk, which needs none.
    package static func listByteCount(of byteCount: Int) -> Int {
        byteCount > chunkByteCount ? chunkCount(of: byteCount) * Digest.byteCount : 0
    }

    /// The digest that names a blob, from its size and the digests of its chunks in order.
    package static func root(of leaves: [Digest], byteCount: Int) -> Digest {
        precondition(leaves.count == chunkCount(of: byteCount), "a blob has one leaf per chunk")
        if leaves.count == 1 { return leaves[0] }
        var hasher = DigestHasher(personalization: personalization)
        withUnsafeBytes(of: UInt64(byteCount).littleEndian) { hasher.update($0) }
        for leaf in leaves { hasher.update(leaf.bytes) }
        return hasher.finalize()
    }

    /// The digests of a blob's chunks, in order.
    package static func leaves(of bytes: [UInt8]) -> [Digest] {
        var hasher = BlobHasher(byteCount: bytes.count)
        bytes.withUnsafeBytes { hasher.update($0) }
        return hasher.finalizeLeaves()
    }

    /// Tells the root from a plain BLAKE2b-256 of the same bytes.
    private static let personalization = Array("atoll/blob/1.0.0".utf8)
}

extension Digest {
    /// The digest that names a blob of these bytes.
    package init(ofBlob bytes: [UInt8]) {
        self = BlobTree.root(of: BlobTree.leaves(of: bytes), byteCount: bytes.count)
    }
}

/// An incremental hash of a blob whose size is known.
package struct BlobHasher: ~Copyable {
    private let byteCount: Int
    private var leaves: [Digest] = []
    private var hasher = DigestHasher()
    /// Bytes that the current chunk still lacks.
    private var missing: Int

    /// Starts a hash of exactly `byteCount` bytes.
    package init(byteCount: Int) {
        self.byteCount = byteCount
        missing = min(byteCount, BlobTree.chunkByteCount)
    }

    /// Appends `bytes` to the input.
    package mutating func update(_ bytes: UnsafeRawBufferPointer) {
        var rest = bytes
        while !rest.isEmpty {
            precondition(missing > 0, "more bytes than the blob has")
            let part = UnsafeRawBufferPointer(rebasing: rest.prefix(missing))
            hasher.update(part)
            missing -= part.count
            rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(part.count))
            if missing == 0, leaves.count + 1 < BlobTree.chunkCount(of: byteCount) { endChunk() }
        }
    }

    /// Appends `bytes` to the input.
    package mutating func update(_ bytes: [UInt8]) { bytes.withUnsafeBytes { update($0) } }

    private mutating func endChunk() {
        leaves.append(hasher.finalizeAndRestart())
        missing = BlobTree.range(ofChunk: leaves.count, byteCount: byteCount).count
    }

    /// Ends the hash: the digests of the chunks, in order.
    package consuming func finalizeLeaves() -> [Digest] {
        precondition(missing == 0, "fewer bytes than the blob has")
        return leaves + [hasher.finalize()]
    }

    /// Ends the hash: the digest that names the blob.
    package consuming func finalize() -> Digest {
        let byteCount = byteCount
        return BlobTree.root(of: finalizeLeaves(), byteCount: byteCount)
    }
}
