import Checkpoint
import Compression
import Glibc
import OuterSync

extension BlobFolder {
    /// Stores a copy of a file, a chunk at a time: first it is named by its digest, then copied and named again, so that a
    /// file that changes meanwhile is refused.
    func store(fileAt path: String) throws -> BlobReference {
        let named = try Self.leaves(of: path) { _ in }
        let blob = BlobReference(
            digest: BlobTree.root(of: named.leaves, byteCount: named.byteCount), byteCount: named.byteCount)
        if holds(blob.digest, byteCount: blob.byteCount) { return blob }
        var writer = try DurableWriter(path: "\(self.path)/\(blob.digest)")
        let copied = try Self.leaves(of: path) { bytes in try writer.append(bytes) }
        guard copied.leaves == named.leaves, copied.byteCount == named.byteCount else {
            throw CheckpointError.damaged(path: path, reason: "it changes while it is read")
        }
        if named.leaves.count > 1 { try writer.append(named.leaves.flatMap(\.bytes)) }
        try writer.commit()
        return blob
    }

    private static func leaves(
        of path: String, _ body: ([UInt8]) throws -> Void
    ) throws -> (leaves: [Digest], byteCount: Int) {
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError(.open, path, errno: errno) }
        defer { close(descriptor) }
        var leaves: [Digest] = []
        var byteCount = 0
        while true {
            let bytes = try chunk(descriptor, path)
            if bytes.isEmpty, byteCount > 0 { break }
            guard !bytes.isEmpty, byteCount + bytes.count <= BlobTree.byteCountMax else {
                throw CheckpointError.unsupported(
                    path: path, reason: "it has \(bytes.isEmpty ? "no bytes" : "more than 2 GiB")")
            }
            leaves.append(Digest(hashing: bytes))
            byteCount += bytes.count
            try body(bytes)
            if bytes.count < BlobTree.chunkByteCount { break }
        }
        return (leaves, byteCount)
    }

    /// The next bytes of a file, a whole chunk unless it ends.
    private static func chunk(_ descriptor: Int32, _ path: String) throws -> [UInt8] {
        var failure: Int32?
        let bytes = [UInt8](unsafeUninitializedCapacity: BlobTree.chunkByteCount) { buffer, filled in
            while filled < buffer.count {
                let step = read(descriptor, buffer.baseAddress.map { $0 + filled }, buffer.count - filled)
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
