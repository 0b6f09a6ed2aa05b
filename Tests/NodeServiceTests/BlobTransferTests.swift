import Compression
import OuterSync
import PeerNet
import Swarm
import Synchronization
import Testing
import Transport

@testable import NodeService

@Suite struct BlobTransferTests {
    @Test func `a server answers what the protocol says`() async throws {
        let scratch = ScratchFolder()
        let folder = try BlobFolder(opening: scratch.path + "/blobs")
        let blob: [UInt8] = (0..<UInt8(3)).flatMap { [UInt8](repeating: $0, count: BlobTree.chunkByteCount) } + [7, 8]
        let digest = try folder.write(blob)
        let peer = try #require(PeerID(publicKey: Array(repeating: 3, count: 32)))
        let server = BlobServer(folders: [folder], resident: [[1, 2, 3]])
        @Sendable func ask(_ kind: BlobRequest.Kind, _ digest: Digest, _ offset: UInt64, _ count: UInt64) async
            -> [UInt8]
        {
            let request = BlobRequest(kind, digest: digest, offset: offset, byteCountMax: count)
            switch await server.answer(request.encoded, of: peer) {
            case nil: return []
            case .bytes(let bytes)?: return bytes
            case .pieces(let next)?:
                var bytes: [UInt8] = []
                while let piece = await next() { bytes += piece }
                return bytes
            }
        }
        #expect(await ask(.content, digest, 0, .max) == blob)
        #expect(await ask(.content, digest, 3 << 20, 1) == [7])
        #expect(await ask(.content, digest, UInt64(blob.count), 5).isEmpty)
        #expect(await ask(.content, digest, .max, .max).isEmpty)
        #expect(await ask(.chunkDigests, digest, 0, .max) == BlobTree.leaves(of: blob).flatMap(\.bytes))
        #expect(await ask(.chunkDigests, digest, 120, .max).count == 8)
        #expect(await ask(.content, Digest(hashing: [9]), 0, 1).isEmpty)
        #expect(await ask(.content, Digest(hashing: [1, 2, 3]), 1, 9) == [2, 3])
        #expect(await ask(.chunkDigests, Digest(hashing: [1, 2, 3]), 0, 9).isEmpty)
        #expect(await server.answer([1, 2, 3], of: peer) == nil)
        // More than may run at once come one after the other, and a response that is thrown away frees its place.
        var kept: [ResponseBody?] = []
        for _ in 0..<4 {
            kept.append(await server.answer(BlobRequest(digest: digest, offset: 0, byteCountMax: 9).encoded, of: peer))
        }
        let late = Task { await ask(.content, digest, 0, 2) }
        withExtendedLifetime(kept) {}
        kept = []
        #expect(await late.value == [0, 0])
    }

    @Test func `what was fetched before a stop is not fetched again`() async throws {
        let scratch = ScratchFolder()
        let blob: [UInt8] = (0..<UInt8(6)).flatMap { [UInt8](repeating: $0, count: BlobTree.chunkByteCount) } + [1]
        let reference = BlobReference(digest: Digest(ofBlob: blob), byteCount: blob.count)
        let peer = try #require(PeerID(publicKey: Array(repeating: 3, count: 32)))
        var asked: [UInt64] = []
        for chunksMax in [3, .max] {
            let (events, continuation) = AsyncStream<BlobDownloads.Event>.makeStream()
            let (requests, asks) = AsyncStream<UInt64>.makeStream()
            let served = Counter()
            var limits = BlobFetcher.Limits()
            // One after the other, so that none is on its way when the giver stops serving.
            limits.requestsPerGiverMax = 1
            let downloads = BlobDownloads(
                folder: try BlobFolder(opening: scratch.path + "/blobs"), limits: limits,
                ask: { request, _, incoming in
                    let all = request.kind == .content ? blob : BlobTree.leaves(of: blob).flatMap(\.bytes)
                    if request.kind == .content {
                        guard served.next() <= chunksMax else { return .protocolRefused }
                        asks.yield(request.offset)
                    }
                    incoming.add(Array(all.dropFirst(Int(request.offset)).prefix(Int(request.byteCountMax))))
                    return nil
                }, report: { continuation.yield($0) })
            await downloads.fetch(reference, from: [peer])
            var isFetched: Bool?
            for await event in events {
                switch event {
                case .transferred: continue
                case .fetched: isFetched = true
                case .failed, .misnamed: isFetched = false
                case .lied: Issue.record("called an honest giver a liar")
                }
                break
            }
            #expect(isFetched == (chunksMax == .max))
            await downloads.stop()
            asks.finish()
            for await offset in requests { asked.append(offset) }
        }
        #expect(asked.sorted() == (0..<7).map { UInt64($0 << 20) })
        #expect(try BlobFolder(opening: scratch.path + "/blobs").read(reference.digest) == blob)
    }
}

/// Counts from several threads.
private final class Counter: Sendable {
    private let count = Atomic<Int>(0)
    func next() -> Int { count.add(1, ordering: .relaxed).newValue }
}
