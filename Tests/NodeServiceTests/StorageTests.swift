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
        }
        let opened = try journal().opened
        #expect(opened.incarnation == 2)
        #expect(opened.slots.map(\.message) == [[3]])
        #expect(opened.finals[zero] == [[9], [8]])
        #expect(opened.peers[peer] == [address])
        #expect(try journal().opened.slots.map(\.message) == [[3]])
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
        #expect(blobs.read(digest, offset: 1, byteCountMax: 2) == [2, 3])
        #expect(blobs.read(digest, offset: 9, byteCountMax: .max) == [])
        #expect(blobs.read(digest, offset: .max, byteCountMax: 1) == [])
        blobs.drop(digest)
        #expect(blobs.read(digest) == nil)
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

    @Test func `a blob request is 48 bytes and nothing else`() {
        let request = BlobRequest(digest: Digest(hashing: [5]), offset: 7, byteCountMax: 1 << 40)
        #expect(request.encoded.count == BlobRequest.byteCount)
        let decoded = BlobRequest(request.encoded)
        #expect(decoded?.digest == request.digest && decoded?.offset == 7 && decoded?.byteCountMax == 1 << 40)
        for count in 0..<BlobRequest.byteCount { #expect(BlobRequest(Array(request.encoded.prefix(count))) == nil) }
        #expect(BlobRequest(request.encoded + [0]) == nil)
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
}
