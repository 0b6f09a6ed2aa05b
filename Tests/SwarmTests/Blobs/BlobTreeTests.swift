import Compression
import Glibc
import Testing

@testable import Swarm

/// protocols/vectors/blob.txt, which blob.py beside it made without any of this code: name = hexadecimal.
struct BlobVectors {
    private var values: [String: [UInt8]] = [:]

    init() throws {
        let folder = #filePath.split(separator: "/").dropLast(4).joined(separator: "/")
        let stream = try #require(fopen("/\(folder)/protocols/vectors/blob.txt", "r"))
        defer { fclose(stream) }
        var line: UnsafeMutablePointer<CChar>?
        var capacity = 0
        defer { free(line) }
        while getline(&line, &capacity, stream) > 0 {
            guard let text = line.map({ String(cString: $0) })?.split(separator: "\n").first, !text.hasPrefix("#")
            else { continue }
            let parts = text.split(separator: " = ", maxSplits: 1)
            let digits = Array(parts[1].utf8)
            values[String(parts[0])] = stride(from: 0, to: digits.count, by: 2).compactMap {
                UInt8(String(decoding: digits[$0..<$0 + 2], as: UTF8.self), radix: 16)
            }
        }
    }

    subscript(name: String) -> [UInt8] {
        get throws { try #require(values[name], "no vector \(name)") }
    }
}

/// The bytes of the vectors: byte i is 167 i + (i >> 8) + 31 (i >> 20), modulo 256.
func vectorBytes(_ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: 167 * $0 + ($0 >> 8) + 31 * ($0 >> 20)) }
}

@Suite("The tree of a blob")
struct BlobTreeTests {
    @Test func digestsAreThoseOfAnotherImplementation() throws {
        let vectors = try BlobVectors()
        let chunk = BlobTree.chunkByteCount
        for count in [0, 1, 3, chunk - 1, chunk, chunk + 1, 2 * chunk, 3 * chunk + 5] {
            let bytes = vectorBytes(count)
            #expect(BlobTree.leaves(of: bytes).flatMap(\.bytes) == (try vectors["\(count).chunks"]))
            #expect(Digest(ofBlob: bytes).bytes == (try vectors["\(count).digest"]))
            #expect((Digest(ofBlob: bytes) == Digest(hashing: bytes)) == (count <= chunk))
        }
    }

    @Test func requestsAreThoseOfTheProtocolsPage() throws {
        let vectors = try BlobVectors()
        let digest = try #require(Digest(bytes: try vectors["3145733.digest"]))
        let chunk = BlobTree.chunkByteCount
        let list = BlobRequest(.chunkDigests, digest: digest, offset: 0, byteCountMax: 128)
        let content = BlobRequest(digest: digest, offset: UInt64(3 * chunk), byteCountMax: 5)
        #expect(list.encoded == (try vectors["request.list"]))
        #expect(content.encoded == (try vectors["request.content"]))
        for request in [list, content] {
            #expect(BlobRequest(request.encoded) == request)
            for count in 0..<BlobRequest.byteCount { #expect(BlobRequest(Array(request.encoded.prefix(count))) == nil) }
            #expect(BlobRequest(request.encoded + [0]) == nil)
            #expect(BlobRequest([2] + request.encoded.dropFirst()) == nil)
        }
    }

    @Test func piecesOfAnySizeGiveTheSameDigest() {
        let bytes = vectorBytes(2 * BlobTree.chunkByteCount + 777)
        for piece in [1 << 12, 65_537, BlobTree.chunkByteCount, bytes.count] {
            var hasher = BlobHasher(byteCount: bytes.count)
            for start in stride(from: 0, to: bytes.count, by: piece) {
                hasher.update(Array(bytes[start..<min(start + piece, bytes.count)]))
            }
            #expect(hasher.finalize() == Digest(ofBlob: bytes))
        }
    }

    @Test func theRangesOfChunksCoverTheBlob() {
        let chunk = BlobTree.chunkByteCount
        for count in [0, 1, chunk - 1, chunk, chunk + 1, 7 * chunk, 7 * chunk + 1, BlobTree.byteCountMax] {
            let ranges = (0..<BlobTree.chunkCount(of: count)).map { BlobTree.range(ofChunk: $0, byteCount: count) }
            #expect(ranges.first?.lowerBound == 0 && ranges.last?.upperBound == count)
            #expect(zip(ranges, ranges.dropFirst()).allSatisfy { $0.upperBound == $1.lowerBound && $0.count == chunk })
            #expect(BlobTree.listByteCount(of: count) == (ranges.count > 1 ? 32 * ranges.count : 0))
        }
    }
}
