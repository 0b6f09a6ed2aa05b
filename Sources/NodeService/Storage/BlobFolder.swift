import Checkpoint
import Compression
import Glibc
import Numerics
import OuterSync

/// Blobs as files named by their digest, for every thread of one process.
///
/// A file holds the blob and then, for one of several chunks, the list of their digests, which others need in order to
/// check what they get. What is being fetched has the same form under another name, with holes.
struct BlobFolder: BlobStore, Sendable {
    /// The folder's path.
    let path: String

    fileprivate struct State {
        /// Names that an earlier run left and that this one has not used: what a sweep may delete.
        var leftovers: Set<String>
        /// Blobs that a job has written and that nobody was told of yet.
        var pins: [Digest: Int] = [:]
        /// When each blob was last claimed.
        var claims: [Digest: UInt64] = [:]
        var claimCount: UInt64 = 0
    }

    private let state: Lock<State>

    /// Opens the folder and creates it if need be; nobody else may write into it meanwhile.
    init(opening path: String) throws(FileError) {
        try createFolders(path)
        self.path = path
        state = Lock(State(leftovers: Set(try SystemFiles().list(path))))
    }

    private func file(_ digest: Digest) -> String { "\(path)/\(digest)" }
    private static func partName(_ digest: Digest) -> String { "\(digest).part" }

    // MARK: Whole blobs

    func read(_ digest: Digest) -> [UInt8]? {
        // An unreadable blob is as good as none: it will be fetched again, and its digest is checked by whoever uses
        // it.
        guard let file = BlobFile(file(digest)) else { return nil }
        return file.read(from: 0, count: file.byteCount)
    }

    /// Whether something is here under this name.
    func exists(_ digest: Digest) -> Bool { access(file(digest), F_OK) == 0 }

    /// A blob's file, to read parts of it; nil if it is not here.
    func open(_ digest: Digest) -> BlobFile? { BlobFile(file(digest)) }

    /// Whether a blob of this size is here; no sweep deletes it from now on.
    func holds(_ digest: Digest, byteCount: Int) -> Bool {
        state.withLock { isHere(digest, byteCount: byteCount, &$0) }
    }

    private func isHere(_ digest: Digest, byteCount: Int, _ state: inout State) -> Bool {
        var status = stat()
        guard stat(file(digest), &status) == 0, Int(status.st_size) == BlobFile.fileByteCount(of: byteCount) else {
            return false
        }
        state.leftovers.remove(digest.description)
        return true
    }

    /// Stores a blob that a job has made. Until it is claimed, no drop deletes it.
    func write(_ bytes: [UInt8]) throws(StorageFailure) -> Digest {
        let leaves = BlobTree.leaves(of: bytes)
        let digest = BlobTree.root(of: leaves, byteCount: bytes.count)
        let isStored = state.withLock { state in
            state.pins[digest, default: 0] += 1
            return isHere(digest, byteCount: bytes.count, &state)
        }
        do throws(FileError) {
            if !isStored { try store(bytes, leaves, as: digest) }
        } catch {
            state.withLock { Self.unpin(digest, &$0) }
            throw StorageFailure(reason: error.description)
        }
        return digest
    }

    /// Stores a blob of one chunk that was fetched and checked.
    func store(_ bytes: [UInt8], as digest: Digest) throws(FileError) { try store(bytes, [digest], as: digest) }

    private func store(_ bytes: [UInt8], _ leaves: [Digest], as digest: Digest) throws(FileError) {
        state.withLock { _ = $0.leftovers.remove(digest.description) }
        var writer = try DurableWriter(path: file(digest))
        try writer.append(bytes)
        if leaves.count > 1 { try writer.append(leaves.flatMap(\.bytes)) }
        try writer.commit()
    }

    // MARK: Drops

    // A drop waits in a queue while the same blob may be needed again. So a drop bears the moment at which it was asked
    // for, and spares what was claimed later, and what a job has just written.

    /// Whether a blob of this size is here. If so, no drop that was asked for before now deletes it any more: for the
    /// moment at which the node is told that it has the blob.
    func claim(_ digest: Digest, byteCount: Int) -> Bool {
        state.withLock { state in
            Self.unpin(digest, &state)
            guard isHere(digest, byteCount: byteCount, &state) else { return false }
            state.claimCount += 1
            state.claims[digest] = state.claimCount
            return true
        }
    }

    private static func unpin(_ digest: Digest, _ state: inout State) {
        guard let pins = state.pins[digest] else { return }
        state.pins[digest] = pins > 1 ? pins - 1 : nil
    }

    /// The moment for a drop that is asked for now.
    var moment: UInt64 { state.withLock { $0.claimCount } }

    /// Deletes a blob, or what there is of it, unless it was claimed after `moment`; fine if it is not here.
    func drop(_ digest: Digest, askedAt moment: UInt64) {
        state.withLock { state in
            guard state.pins[digest] == nil, state.claims[digest] ?? 0 <= moment else { return }
            state.claims[digest] = nil
            unlink(file(digest))
            unlink("\(path)/\(Self.partName(digest))")
        }
    }

    /// Deletes what an earlier run left, but these and what this run has used.
    func sweep(keeping digests: [Digest]) {
        state.withLock { state in
            for digest in digests { state.forgetLeftover(digest) }
        }
        // One at a time, so that nobody who asks for a blob waits for all of them.
        while state.withLock({ state in state.leftovers.popFirst().map { unlink("\(path)/\($0)") } }) != nil {}
    }

    // MARK: Blobs that are being fetched

    /// Opens what there is of a blob, or starts it; no drop that was asked for before now deletes it.
    func openPartial(_ digest: Digest, byteCount: Int) throws(FileError) -> PartialBlob {
        state.withLock { state in
            state.forgetLeftover(digest)
            state.claimCount += 1
            state.claims[digest] = state.claimCount
        }
        return try PartialBlob(
            path: "\(path)/\(Self.partName(digest))", finalPath: file(digest), digest: digest, byteCount: byteCount)
    }
}

extension BlobFolder.State {
    fileprivate mutating func forgetLeftover(_ digest: Digest) {
        leftovers.remove(digest.description)
        leftovers.remove("\(digest).part")
    }
}

/// An open blob, for reading from any thread.
final class BlobFile: Sendable {
    private let descriptor: Int32
    /// The size of the blob.
    let byteCount: Int

    /// Opens a plain file of a size that a blob's file can have.
    init?(_ path: String) {
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { return nil }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG,
            let byteCount = Self.byteCount(ofFile: Int(status.st_size))
        else {
            close(descriptor)
            return nil
        }
        self.descriptor = descriptor
        self.byteCount = byteCount
    }

    deinit { close(descriptor) }

    /// The size of a blob's file: the blob, and the digests of its chunks if there are several.
    static func fileByteCount(of byteCount: Int) -> Int { byteCount + BlobTree.listByteCount(of: byteCount) }

    /// The size of the blob in a file of this size; nil if no blob makes such a file.
    static func byteCount(ofFile count: Int) -> Int? {
        guard count > BlobTree.chunkByteCount else { return count }
        let whole = BlobTree.chunkByteCount + Digest.byteCount
        let byteCount = count - (count + whole - 1) / whole * Digest.byteCount
        guard byteCount <= BlobTree.byteCountMax, fileByteCount(of: byteCount) == count else { return nil }
        return byteCount
    }

    /// Bytes of the file, the list of digests after the blob; fewer than asked for if it ends, nil if it cannot be
    /// read.
    func read(from start: Int, count: Int) -> [UInt8]? { try? readBytes(descriptor, from: start, count: count) }
}

/// A read that the system refused, with its `errno`.
private struct ReadFailure: Error { var number: Int32 }

private func readBytes(_ descriptor: Int32, from start: Int, count: Int) throws(ReadFailure) -> [UInt8] {
    var failure: ReadFailure?
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
        while filled < count {
            let step = pread(descriptor, buffer.baseAddress.map { $0 + filled }, count - filled, off_t(start + filled))
            if step < 0 && errno == EINTR { continue }
            if step < 0 { failure = ReadFailure(number: errno) }
            if step <= 0 { return }
            filled += step
        }
    }
    if let failure { throw failure }
    return bytes
}

/// A blob of several chunks that is being fetched: a file of its final size with holes where chunks are missing. Which
/// are there is not written down; after a restart they are hashed.
final class PartialBlob {
    private let descriptor: Int32
    private let path: String
    private let finalPath: String
    private let digest: Digest
    private let byteCount: Int

    fileprivate init(path: String, finalPath: String, digest: Digest, byteCount: Int) throws(FileError) {
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o644)
        guard descriptor >= 0 else { throw FileError(.create, path, errno: errno) }
        self.path = path
        self.finalPath = finalPath
        self.digest = digest
        self.byteCount = byteCount
    }

    deinit { close(descriptor) }

    /// The list of chunk digests, if an earlier start has stored it and it is right.
    func storedLeaves() -> [Digest]? {
        let count = BlobTree.listByteCount(of: byteCount)
        guard let bytes = try? readBytes(descriptor, from: byteCount, count: count), bytes.count == count else {
            return nil
        }
        let leaves = stride(from: 0, to: count, by: Digest.byteCount).compactMap {
            Digest(bytes: bytes[$0..<$0 + Digest.byteCount])
        }
        return BlobTree.root(of: leaves, byteCount: byteCount) == digest ? leaves : nil
    }

    /// The chunks that are here and right.
    func heldChunks(_ leaves: [Digest]) -> Set<Int> {
        Set(
            leaves.indices.filter { index in
                let range = BlobTree.range(ofChunk: index, byteCount: byteCount)
                guard hasData(in: range),
                    let bytes = try? readBytes(descriptor, from: range.lowerBound, count: range.count)
                else { return false }
                return Digest(hashing: bytes) == leaves[index]
            })
    }

    /// `SEEK_DATA` of Linux, which Swift's Glibc does not import.
    private static let seekData: Int32 = 3

    /// Whether a range is no hole from end to end; a file system that cannot tell says yes.
    private func hasData(in range: Range<Int>) -> Bool {
        let data = lseek(descriptor, off_t(range.lowerBound), Self.seekData)
        return data >= 0 ? Int(data) < range.upperBound : errno != ENXIO
    }

    /// Stores the list of chunk digests.
    func write(_ leaves: [Digest]) throws(FileError) { try write(leaves.flatMap(\.bytes), at: byteCount) }

    /// Stores a chunk.
    func write(_ bytes: [UInt8], asChunk index: Int) throws(FileError) {
        try write(bytes, at: BlobTree.range(ofChunk: index, byteCount: byteCount).lowerBound)
    }

    private func write(_ bytes: [UInt8], at offset: Int) throws(FileError) {
        let failure: Int32? = bytes.withUnsafeBytes { buffer in
            var done = 0
            while done < buffer.count {
                let step = pwrite(
                    descriptor, buffer.baseAddress.map { $0 + done }, buffer.count - done, off_t(offset + done))
                if step < 0 && errno == EINTR { continue }
                guard step > 0 else { return step == 0 ? EIO : errno }
                done += step
            }
            return nil
        }
        if let failure { throw FileError(.write, path, errno: failure) }
    }

    /// Forces everything to the device and gives the file its final name.
    func commit() throws(FileError) {
        let files = SystemFiles()
        try files.sync(descriptor, path: path)
        try files.rename(path, to: finalPath)
        let folder = finalPath.lastIndex(of: "/").map { String(finalPath[..<$0]) } ?? "."
        let folderDescriptor = try files.open(folder, .folder)
        defer { files.close(folderDescriptor) }
        try files.sync(folderDescriptor, path: folder)
    }
}
