import Compression
import Testing

@Suite struct LowRankTests {
    /// A matrix of `rank` terms, each smaller than the one before.
    private static func matrix(_ rank: Int, rows: Int, columns: Int, seed: UInt64) -> [Float] {
        var values = [Float](repeating: 0, count: rows * columns)
        for term in 0..<rank {
            let left = gaussian(seed + UInt64(2 * term), rows)
            let right = gaussian(seed + UInt64(2 * term + 1), columns, scale: 1 / Float(1 << term))
            for row in 0..<rows {
                for column in 0..<columns { values[row * columns + column] += left[row] * right[column] }
            }
        }
        return values
    }

    @Test(arguments: [(1, 40, 60), (2, 128, 512), (4, 100, 30), (8, 64, 64), (3, 3, 1000)])
    func anExactTileOfTheRankDecodesWithinHalfPrecision(rank: Int, rows: Int, columns: Int) throws {
        let values = Self.matrix(rank, rows: rows, columns: columns, seed: 10)
        let codec = Codec.lowRank(rank: UInt8(rank))
        let decoded = try codec.decode(codec.encode(values, columns: columns), count: values.count, columns: columns)
        #expect(relativeError(values, decoded) < 0x1p-10)
        // With more factors than the tile has, the rest is zero and costs nothing but bytes.
        let more = Codec.lowRank(rank: UInt8(rank + 3))
        let again = try more.decode(more.encode(values, columns: columns), count: values.count, columns: columns)
        #expect(relativeError(values, again) < 0x1p-10)
    }

    @Test func aShortLastRowIsFilledUp() throws {
        let values = Array(Self.matrix(2, rows: 20, columns: 50, seed: 3)[..<977])
        let codec = Codec.lowRank(rank: 20)
        let decoded = try codec.decode(codec.encode(values, columns: 50), count: 977, columns: 50)
        #expect(relativeError(values, decoded) < 0x1p-10)
    }

    @Test func theRankIsAtMostThatOfTheMatrix() {
        #expect(Codec.lowRank(rank: 64).byteCount(of: TileShape(count: 300, columns: 100)) == 3 * (4 + 6 + 200))
        #expect(Codec.lowRank(rank: 64).byteCount(of: TileShape(count: 300)) == 4 + 2 + 600)
        #expect(Codec.lowRank(rank: 64).byteCount(of: TileShape(count: 300, columns: 1 << 40)) == 4 + 2 + 600)
        #expect(Codec.lowRank(rank: 64).byteCount(of: TileShape(count: 0)) == 0)
    }

    /// Gradients whose main directions stay while the rest is noise: what the search starts from matters.
    @Test func aWarmStartLowersTheError() throws {
        let codec = Codec.lowRank(rank: 2)
        let steady = Self.matrix(2, rows: 100, columns: 120, seed: 5)
        var memory = EncoderMemory()
        #expect(memory.isEmpty)
        var warm = 0.0
        var cold = 0.0
        for round in 0..<6 as Range<UInt64> {
            let noise = gaussian(100 + round, 12_000, scale: 0.8)
            let values = zip(steady, noise).map { $0 * 0.2 + $1 }
            let first = try codec.decode(codec.encode(values, columns: 120), count: 12_000, columns: 120)
            let bytes = try codec.encode(values, columns: 120, memory: &memory)
            let second = try codec.decode(bytes, count: 12_000, columns: 120)
            #expect(relativeError(values, second) < 1.001 * relativeError(values, first))
            cold += relativeError(values, first)
            warm += relativeError(values, second)
        }
        #expect(!memory.isEmpty && warm < cold)
    }

    /// What two of 48 directions leave over is several gradients, and no more: it is sent in later messages. A warm start
    /// leaves less of it.
    @Test func errorFeedbackStaysBounded() throws {
        let codec = Codec.lowRank(rank: 2)
        func leftOver(warm: Bool) throws -> [Double] {
            var memory = EncoderMemory()
            var residual = [Float](repeating: 0, count: 48 * 48)
            return try (0..<60 as Range<UInt64>).map { round in
                let gradient = gaussian(500 + round, 48 * 48)
                let sum = zip(gradient, residual).map { $0 + $1 }
                if !warm { memory = EncoderMemory() }
                let bytes = try codec.encode(sum, columns: 48, memory: &memory)
                residual = zip(sum, try codec.decode(bytes, count: 48 * 48, columns: 48)).map { $0 - $1 }
                return norm(residual) / norm(gradient)
            }
        }
        let (warm, cold) = (try leftOver(warm: true), try leftOver(warm: false))
        for norms in [warm, cold] {
            #expect((norms.max() ?? .infinity) < 4)
            #expect((norms[40...].max() ?? 0) < 1.1 * (norms[20..<40].max() ?? 0))
        }
        #expect(warm[40...].reduce(0, +) < cold[40...].reduce(0, +))
    }

    private func norm(_ values: [Float]) -> Double {
        values.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
    }

    @Test func aMemoryOfAnotherShapeIsForgotten() throws {
        var memory = EncoderMemory()
        let codec = Codec.lowRank(rank: 2)
        _ = try codec.encode(gaussian(1, 600), columns: 20, memory: &memory)
        let values = gaussian(2, 900)
        #expect(try codec.encode(values, columns: 30, memory: &memory) == codec.encode(values, columns: 30))
    }

    @Test(arguments: [Float.nan, -1, -0.0, 0x1p-101, 0x1.000002p93, .infinity])
    func hostileScalesAreRefused(scale: Float) throws {
        let codec = Codec.lowRank(rank: 2)
        var bytes = try codec.encode(gaussian(1, 600), columns: 20)
        for byte in 0..<4 { bytes[4 + byte] = UInt8(truncatingIfNeeded: scale.bitPattern >> (8 * UInt32(byte))) }
        #expect(throws: CodecError.badScale(blockIndex: 1)) { try codec.decode(bytes, count: 600, columns: 20) }
    }

    @Test func vectorsBeyondOneAndVectorsWithoutAScaleAreRefused() throws {
        let codec = Codec.lowRank(rank: 1)
        let bytes = try codec.encode(gaussian(1, 600), columns: 20)
        for offset in [4, 4 + 2 * 30] {
            var changed = bytes
            changed[offset] = 0x01
            changed[offset + 1] = 0x3C
            #expect(throws: CodecError.badScale(blockIndex: 0)) { try codec.decode(changed, count: 600, columns: 20) }
        }
        var changed = bytes
        for byte in 0..<4 { changed[byte] = 0 }
        #expect(throws: CodecError.notCanonical(blockIndex: 0)) { try codec.decode(changed, count: 600, columns: 20) }
    }
}
