import Compression
import OuterSync
import Testing

/// The codec families' part of protocols/vectors/payload.txt.
@Suite struct CodecVectorTests {
    private static func encode(_ codec: Codec, _ values: [Float], bins: StatisticalBins = .lloyd) throws -> [UInt8] {
        let shape = TileShape(count: values.count)
        var bytes = [UInt8](repeating: 1, count: codec.byteCount(of: shape))
        var memory = EncoderMemory()
        try values.withUnsafeBufferPointer { values in
            try bytes.withUnsafeMutableBytes { bytes in
                try codec.encode(values, shape: shape, bins: bins, memory: &memory, into: bytes)
            }
        }
        return bytes
    }

    private static func decode(_ codec: Codec, _ bytes: [UInt8], _ shape: TileShape) throws -> [Float] {
        var values = [Float](repeating: .nan, count: shape.count)
        try bytes.withUnsafeBytes { bytes in
            try values.withUnsafeMutableBufferPointer { try codec.decode(bytes, shape: shape, into: $0) }
        }
        return values
    }

    private static func digest(_ values: [Float]) -> String {
        values.withUnsafeBytes { Digest(hashing: $0) }.description
    }

    /// Bytes as the vectors have them, and the digest of what they decode to.
    private static func check(
        _ name: String, _ codec: Codec, _ values: [Float], in vectors: Vectors, bins: StatisticalBins = .lloyd
    ) throws {
        let bytes = try encode(codec, values, bins: bins)
        #expect(bytes == (try vectors.bytes("\(name).bytes")), "\(name)")
        let decoded = try decode(codec, bytes, TileShape(count: values.count))
        #expect(digest(decoded) == (try vectors.text("\(name).decoded")), "\(name)")
    }

    @Test func halves() throws {
        let vectors = try Vectors()
        let values = try vectors.floats("float16.values")
        let bytes = try Self.encode(.float16, values)
        #expect(bytes == (try vectors.bytes("float16.bytes")))
        let decoded = try Self.decode(.float16, bytes, TileShape(count: values.count))
        #expect(decoded.map(\.bitPattern) == (try vectors.floats("float16.decoded").map(\.bitPattern)))
    }

    @Test func uniformLevels() throws {
        let vectors = try Vectors()
        let values = try vectors.floats("uniform.values")
        for bits in [1, 2, 3, 4, 8] as [UInt8] {
            try Self.check("uniform.\(bits)", .uniform(bits: bits), values, in: vectors)
        }
        let edge = try Self.encode(.uniform(bits: 8), vectors.floats("uniform.edge.values"))
        #expect(edge == (try vectors.bytes("uniform.edge.bytes")))
    }

    @Test func statisticalRows() throws {
        let values = samples(23, 4096 + 13, 0.25)
        for bits in [2, 4] as [UInt8] {
            try Self.check("statistical.\(bits)", .statistical(bits: bits), values, in: Vectors(), bins: .sixSigma)
        }
    }

    @Test func largestValues() throws {
        let vectors = try Vectors()
        let values = samples(23, 4096 + 13, 0.25)
        for kept in [2, 64, 514] as [UInt16] {
            try Self.check("topk.\(kept)", .topK(kept: kept), values, in: vectors)
        }
        let sparse = try Self.encode(.topK(kept: 64), vectors.floats("topk.sparse.values"))
        #expect(sparse == (try vectors.bytes("topk.sparse.bytes")))
    }

    @Test func factors() throws {
        let vectors = try Vectors()
        let decoded = try Self.decode(
            .lowRank(rank: 3), vectors.bytes("lowrank.bytes"), TileShape(count: 60, columns: 9))
        #expect(decoded.map(\.bitPattern) == (try vectors.floats("lowrank.decoded").map(\.bitPattern)))
    }

    @Test func aPayloadWithTwoCodecs() throws {
        let vectors = try Vectors()
        let layout = try Vectors.layout()
        let fragment = layout.fragments[3]
        let theta = samples(2, 305, 0.5)
        let genesis = FragmentHead(genesis: theta, scalars: Array("genesis".utf8), fragment: fragment)
        let live = zip(theta, samples(3, 305, 0.01)).map { $0 - $1 }
        let description = PayloadDescription(
            kind: .contribution, codecs: [.float16, .float32], fragment: fragment.index, base: genesis.digest,
            tiles: [TileIndex(0), TileIndex(1)])
        let packed = try PayloadBundle.encode(description, of: fragment) { tile, output in
            for (slot, index) in tile.range.enumerated() { output[slot] = theta[index] - live[index] }
        }
        let stored = try vectors.bytes("contribution.mixed")
        #expect(try EntropyStage.unpack(packed, rawByteCount: stored.count - 1) == Array(stored.dropFirst()))
    }
}
