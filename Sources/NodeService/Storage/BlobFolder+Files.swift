import Checkpoint
import Compression
import Glibc
import OuterSync

extension BlobFolder {
    /// Stores a copy of a file, a chunk at a time: first it is named by its digest, then copied and named again, so that a
    /// file that changes meanwhile is refused.
    func store(fileAt path: String) throws -> BlobReference {
        var named = try FileChunks(path)
        while try named.next() != nil {}
        let blob = BlobReference(
            digest: BlobTree.root(of: named.leaves, byteCount: named.byteCount), byteCount: named.byteCount)
        if holds(blob.digest, byteCount: blob.byteCount) { return blob }
        var copied = try FileChunks(path)
        var writer = try DurableWriter(path: "\(self.path)/\(blob.digest)")
        while let bytes = try copied.next() { try writer.append(bytes) }
        guard copied.leaves == named.leaves, copied.byteCount == named.byteCount else {
            throw CheckpointError.damaged(path: path, reason: "it changes while it is read")
        }
        if named.leaves.count > 1 { try writer.append(named.leaves.flatMap(\.bytes)) }
        try writer.commit()
        return blob
    }
}

/// A file read as the chunks of a blob.
private struct FileChunks: ~Copyable {
    private let path: String
    private let descriptor: Int32
    private var hasEnded = false
    /// The digests of the chunks so far.
    private(set) var leaves: [Digest] = []
    /// Their bytes.
    private(set) var byteCount = 0

    init(_ path: String) throws {
        self.path = path
        descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError(.open, path, errno: errno) }
    }

    deinit { close(descriptor) }

    /// The next chunk; nil at the end. A file without bytes, or of more than a blob can hold, is refused.
    mutating func next() throws -> [UInt8]? {
        guard !hasEnded else { return nil }
        let bytes = try readChunk()
        hasEnded = bytes.count < BlobTree.chunkByteCount
        if bytes.isEmpty, byteCount > 0 { return nil }
        guard !bytes.isEmpty, byteCount + bytes.count <= BlobTree.byteCountMax else {
            throw CheckpointError.unsupported(
                path: path, reason: "it has \(bytes.isEmpty ? "no bytes" : "more than 2 GiB")")
        }
        leaves.append(Digest(hashing: bytes))
        byteCount += bytes.count
        return bytes
    }

    private func readChunk() throws -> [UInt8] {
        var failure: Int32?
        let bytes = [UInt8](unsafeUninitializedCapacity: BlobTree.chunkByteCount) { buffer, filled in
            while filled < BlobTree.chunkByteCount {
                let step = read(descriptor, buffer.baseAddress.map { $0 + filled }, BlobTree.chunkByteCount - filled)
                if step < 0 && errno == EINTR { continue }
                if step < 0 { failure = errno }
                if step <= 0 { return }
                filled += step
            }
        }
        if let failure { throw FileError(.read, path, errno: failure) }
        return bytes
    }
}
