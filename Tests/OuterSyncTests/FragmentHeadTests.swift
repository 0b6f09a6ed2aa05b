import Compression
import OuterSync
import Testing

@Suite struct FragmentHeadTests {
    private static func head() throws -> (FragmentHead, FragmentLayout.Fragment) {
        let fragment = try smallLayout().fragments[2]
        return (FragmentHead(genesis: samples(4, 330, 1), scalars: [1, 2, 3], fragment: fragment), fragment)
    }

    @Test func theManifestOfAHeadHasItsDigest() throws {
        let (head, fragment) = try Self.head()
        let chunks = fragment.tiles.indices.map { head.chunk(TileIndex($0), of: fragment) }
        #expect(chunks.map { Digest(hashing: $0) } == head.leaves)
        let manifest = SnapshotManifest(
            scalars: head.scalars,
            tiles: chunks.map { BlobReference(digest: Digest(hashing: $0), byteCount: $0.count) })
        #expect(manifest.headDigest == head.digest && manifest.fits(fragment))
        var changed = manifest
        changed.scalars[0] ^= 1
        #expect(changed.headDigest != head.digest)
        changed = manifest
        changed.tiles.swapAt(0, 1)
        #expect(changed.headDigest != head.digest && !changed.fits(fragment))
        changed = manifest
        changed.tiles.removeLast()
        #expect(changed.headDigest != head.digest && !changed.fits(fragment))
    }

    @Test func aStoredHeadComesBackAndEveryTruncationAndChangeIsRefused() throws {
        let (head, fragment) = try Self.head()
        let bytes = head.encoded(fragment: fragment)
        let back = try #require(FragmentHead(decoding: bytes, fragment: fragment))
        #expect(back == head && back.theta == head.theta && back.scalars == head.scalars)
        for count in 0..<bytes.count {
            #expect(FragmentHead(decoding: Array(bytes[..<count]), fragment: fragment) == nil)
        }
        #expect(FragmentHead(decoding: bytes + [0], fragment: fragment) == nil)
        for index in bytes.indices {
            var changed = bytes
            changed[index] ^= 0x40
            #expect(FragmentHead(decoding: changed, fragment: fragment) == nil)
        }
        #expect(FragmentHead(decoding: bytes, fragment: try smallLayout().fragments[0]) == nil)
    }

    @Test func hostileChunksAreRefused() throws {
        let (head, fragment) = try Self.head()
        let count = fragment.tiles[1].count
        let chunk = head.chunk(TileIndex(1), of: fragment)
        #expect(try TileChunk.decode(chunk, parameterCount: count).theta == Array(head.theta[320...]))
        for size in 0..<chunk.count {
            #expect(throws: TileChunkError.wrongByteCount(expected: chunk.count, got: size)) {
                try TileChunk.decode(Array(chunk[..<size]), parameterCount: count)
            }
        }
        var inflated = chunk
        inflated[7] = 0xFF
        #expect(throws: TileChunkError.self) { try TileChunk.decode(inflated, parameterCount: count) }
        for place in [8, chunk.count - 4] {
            var infinite = chunk
            infinite.replaceSubrange(place..<place + 4, with: [0, 0, 0x80, 0x7F])
            #expect(throws: TileChunkError.notFinite) { try TileChunk.decode(infinite, parameterCount: count) }
        }
    }
}
