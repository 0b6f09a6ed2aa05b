import Checkpoint
import Compression
import Glibc
import OuterSync
import PeerNet
import Swarm
import Testing

@testable import NodeService

/// A folder of its own for one test, removed at the end.
final class ScratchFolder: Sendable {
    let path: String

    init() {
        var template = Array("/tmp/atoll-test-XXXXXX".utf8CString)
        path = String(cString: mkdtemp(&template))
    }

    deinit { try? removeTree(path) }
}

@Suite struct StorageTests {
    let folder = ScratchFolder()

    private func journal() throws -> SwarmJournal {
        try SwarmJournal(path: folder.path + "/journal", executor: ThreadExecutor())
    }

    @Test func `a journal gives back slots, finals and peers, and counts its openings`() async throws {
        let peer = try #require(PeerID(publicKey: Array(repeating: 3, count: 32)))
        let address = try Multiaddr("/ip4/127.0.0.1/tcp/4000")
        let (zero, one) = (FragmentIndex(0), FragmentIndex(1))
        do {
            let journal = try journal()
            #expect(journal.opened.incarnation == 1)
            try await journal.append([.slot(zero, RoundIndex(1), [1, 2]), .slot(one, RoundIndex(1), [3])])
            try await journal.append([.final(zero, RoundIndex(1), [9]), .final(zero, RoundIndex(2), [8])])
            // The same final again, as after a crash between write and answer.
            try await journal.append([.final(zero, RoundIndex(2), [8]), .peer(peer, [address])])
            try await journal.pruneSlots(zero, through: RoundIndex(1))
            let (left, right) = (Digest(hashing: [1]), Digest(hashing: [2]))
            try await journal.append([.admission(left, [1]), .admission(right, [2]), .admission(left, [3])])
            try await journal.forgetAdmission(right)
        }
        let opened = try journal().opened
        #expect(opened.incarnation == 2)
        #expect(opened.slots.map(\.message) == [[3]])
        #expect(opened.finals[zero] == [[9], [8]])
        #expect(opened.peers[peer] == [address])
        #expect(opened.admissions == [Digest(hashing: [1]): [3]])
        let again = try journal().opened
        #expect(again.slots.map(\.message) == [[3]] && again.admissions == opened.admissions)
    }

    @Test func `a journal with a gap between finals is refused`() async throws {
        do { try await journal().append([.final(FragmentIndex(0), RoundIndex(2), [8])]) }
        #expect(throws: (any Error).self) { try journal() }
    }

    @Test func `blobs are addressed by content, served by range and dropped`() throws {
        let blobs = try BlobFolder(opening: folder.path + "/blobs")
        let digest = try blobs.write([1, 2, 3, 4])
        #expect(digest == Digest(hashing: [1, 2, 3, 4]))
        #expect(blobs.read(digest) == [1, 2, 3, 4])
        #expect(blobs.holds(digest, byteCount: 4) && !blobs.holds(digest, byteCount: 3))
        #expect(blobs.claim(digest, byteCount: 4))
        blobs.drop(digest, askedAt: blobs.moment)
        #expect(blobs.read(digest) == nil && !blobs.claim(digest, byteCount: 4))
    }

    @Test func `a drop spares what was needed again after it was asked for`() throws {
        let blobs = try BlobFolder(opening: folder.path + "/blobs")
        let digest = try blobs.write([1, 2, 3])
        // A job has written it and nobody knows yet.
        blobs.drop(digest, askedAt: blobs.moment)
        #expect(blobs.read(digest) != nil)
        #expect(blobs.claim(digest, byteCount: 3))
        let asked = blobs.moment
        // Needed again while the drop waits in the queue.
        #expect(blobs.claim(digest, byteCount: 3))
        blobs.drop(digest, askedAt: asked)
        #expect(blobs.read(digest) != nil)
        blobs.drop(digest, askedAt: blobs.moment)
        #expect(blobs.read(digest) == nil)
    }

    @Test func `a large blob is kept with its chunk digests`() throws {
        let blobs = try BlobFolder(opening: folder.path + "/blobs")
        for extra in [1, 32, 33, BlobTree.chunkByteCount, BlobTree.chunkByteCount + 5] {
            let bytes = [UInt8](repeating: UInt8(extra & 255), count: BlobTree.chunkByteCount + extra)
            let digest = try blobs.write(bytes)
            #expect(digest == Digest(ofBlob: bytes) && blobs.read(digest) == bytes)
            #expect(blobs.holds(digest, byteCount: bytes.count) && !blobs.holds(digest, byteCount: bytes.count - 1))
            let file = try #require(blobs.open(digest))
            #expect(file.byteCount == bytes.count)
            #expect(file.read(from: bytes.count, count: 1 << 20) == BlobTree.leaves(of: bytes).flatMap(\.bytes))
        }
        for size in [BlobTree.chunkByteCount + 1, BlobTree.chunkByteCount + 64, 1 << 40] {
            #expect(BlobFile.byteCount(ofFile: size) == nil)
        }
    }

    @Test func `what is there of a blob is found again, and what was torn is not`() throws {
        let path = folder.path + "/blobs"
        let bytes: [UInt8] = (1...UInt8(3)).flatMap { [UInt8](repeating: $0, count: BlobTree.chunkByteCount) } + [7]
        let (leaves, digest) = (BlobTree.leaves(of: bytes), Digest(ofBlob: bytes))
        func chunk(_ index: Int) -> [UInt8] { Array(bytes[BlobTree.range(ofChunk: index, byteCount: bytes.count)]) }
        do {
            let partial = try BlobFolder(opening: path).openPartial(digest, byteCount: bytes.count)
            #expect(partial.storedLeaves() == nil)
            try partial.write(leaves)
            try partial.write(chunk(0), asChunk: 0)
            try partial.write(Array(chunk(2).dropLast()) + [9], asChunk: 2)
            try partial.write(chunk(3), asChunk: 3)
        }
        let blobs = try BlobFolder(opening: path)
        #expect(!blobs.holds(digest, byteCount: bytes.count))
        let partial = try blobs.openPartial(digest, byteCount: bytes.count)
        #expect(partial.storedLeaves() == leaves && partial.heldChunks(leaves) == [0, 3])
        // A blob that is being fetched is none of the leftovers.
        blobs.sweep(keeping: [])
        for index in [1, 2] { try partial.write(chunk(index), asChunk: index) }
        try partial.commit()
        #expect(blobs.read(digest) == bytes && blobs.claim(digest, byteCount: bytes.count))
        // Of one that nobody needs any more nothing stays.
        _ = try blobs.openPartial(Digest(hashing: [1]), byteCount: 2 << 20)
        blobs.drop(Digest(hashing: [1]), askedAt: blobs.moment)
        #expect(try SystemFiles().list(path) == [digest.description])
    }

    @Test func `a sweep deletes what an earlier run left and nothing of this one`() throws {
        let path = folder.path + "/blobs"
        let earlier = try BlobFolder(opening: path)
        let (kept, asked, rewritten, forgotten) = (
            try earlier.write([1]), try earlier.write([2]), try earlier.write([3]), try earlier.write([4])
        )
        let blobs = try BlobFolder(opening: path)
        #expect(blobs.holds(asked, byteCount: 1))
        // Jobs that run beside the core write blobs that it does not know yet.
        #expect(try blobs.write([3]) == rewritten)
        let new = try blobs.write([5])
        blobs.sweep(keeping: [kept])
        #expect([kept, asked, rewritten, new].allSatisfy { blobs.read($0) != nil })
        #expect(blobs.read(forgotten) == nil)
        blobs.sweep(keeping: [])
        #expect(blobs.read(kept) != nil, "one sweep is all that a start has")
    }

    @Test func `a local snapshot comes back whole or not at all`() throws {
        let path = folder.path + "/state"
        let state = LocalState(
            sections: [TrainerStateSection(name: "parameters", bytes: [1, 2, 3])],
            progress: TrainingProgress(steps: 5, tokens: 6), bases: [Digest(hashing: [1]), Digest(hashing: [2])])
        try state.write(to: path)
        let read = try LocalState(readingFrom: path, fragmentCount: 2)
        #expect(read.progress == state.progress && read.bases == state.bases)
        #expect(read.sections.map(\.bytes) == [[1, 2, 3]])
        #expect(throws: (any Error).self) { try LocalState(readingFrom: path, fragmentCount: 3) }
    }

    @Test func `heads are stored per fragment and damage is seen`() throws {
        let layout = try FragmentLayout(tensors: [
            TensorDescription(name: "block", shape: [4, 64], block: 0),
            TensorDescription(name: "norm", shape: [64], block: nil),
        ])
        let heads = HeadFolder(path: folder.path + "/heads", layout: layout)
        try heads.create()
        let fragment = layout.fragments[0]
        #expect(try heads.load(fragment) == nil)
        let head = FragmentHead(
            genesis: (0..<fragment.parameterCount).map(Float.init), scalars: [1, 2, 3], fragment: fragment)
        try heads.persist(head, of: fragment.index)
        #expect(try heads.load(fragment)?.digest == head.digest)
        #expect(throws: (any Error).self) {
            try heads.persist(head, of: FragmentIndex(9))
        }
    }

    @Test func `what an owner's results leave over is kept beside the head`() throws {
        let layout = try FragmentLayout(tensors: [TensorDescription(name: "norm", shape: [4], block: nil)])
        let heads = HeadFolder(path: folder.path + "/heads", layout: layout)
        try heads.create()
        let fragment = FragmentIndex(0)
        #expect(heads.feedback(of: fragment, byteCountMax: 100) == nil)
        try heads.persist(feedback: [1, 2, 3], of: fragment)
        try heads.persist(feedback: [4, 5, 6, 7], of: fragment)
        #expect(HeadFolder(path: heads.path, layout: layout).feedback(of: fragment, byteCountMax: 4) == [4, 5, 6, 7])
        #expect(heads.feedback(of: fragment, byteCountMax: 3) == nil)
        #expect(heads.feedback(of: FragmentIndex(1), byteCountMax: 100) == nil)
        #expect(try heads.load(layout.fragments[0]) == nil)
    }
}
