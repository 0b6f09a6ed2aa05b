import Compression
import Testing

/// What holds for every family.
@Suite struct CodecFamilyTests {
    private static let shapes =
        [(0, 1), (1, 1), (2, 1), (3, 7), (255, 16), (256, 16), (257, 50), (4095, 64), (4096, 64)]
        + [(4097, 3), (9001, 300), (8192, 100_000)]

    @Test(arguments: Codec.samples) func numbersNameTheCodec(codec: Codec) {
        #expect(Codec(family: codec.family, level: codec.level) == codec)
    }

    @Test func otherNumbersNameNone() {
        let taken = Set(Codec.samples.map { [UInt16($0.family), $0.level] })
        for family in UInt8(0)...255 {
            for level in [0, 1, 2, 3, 5, 9, 65, 1026, 65_535] as [UInt16]
            where !taken.contains([UInt16(family), level]) {
                let codec = Codec(family: family, level: level)
                #expect(codec == nil || family == 5 || family == 6, "\(family) \(level)")
                if let codec { #expect(codec.family == family && codec.level == level) }
            }
        }
        for level in [0, 1, 3, 1025, 1026] as [UInt16] { #expect(Codec(family: 5, level: level) == nil) }
        for level in [0, 65, 256] as [UInt16] { #expect(Codec(family: 6, level: level) == nil) }
    }

    /// Encoding what was decoded loses next to nothing more: no family drifts.
    @Test(arguments: Codec.samples) func everyShapeDecodesToFiniteValuesOfTheSameSize(codec: Codec) throws {
        for (count, columns) in Self.shapes {
            for scale in [1e-35, 1e-3, 1, 6e4] as [Float] {
                let values = gaussian(UInt64(count), count).map { max(-1, min($0, 1)) * scale }
                let bytes = try codec.encode(values, columns: columns)
                let decoded = try codec.decode(bytes, count: count, columns: columns)
                #expect(decoded.allSatisfy { $0.magnitude <= 3 * scale }, "\(codec) \(count) \(scale)")
                #expect(try codec.encode(values, columns: columns) == bytes)
            }
        }
    }

    @Test(arguments: Codec.samples) func zerosStayZeros(codec: Codec) throws {
        for (count, columns) in Self.shapes {
            let zeros = [Float](repeating: 0, count: count)
            #expect(try codec.decode(codec.encode(zeros, columns: columns), count: count, columns: columns) == zeros)
        }
    }

    /// Constant tiles, which have no width, and the very largest values, whose sums must not overflow.
    @Test(arguments: Codec.samples) func extremeTilesDecodeToFiniteValues(codec: Codec) throws {
        let most = codec.encodableMagnitudeMax
        let alternating: [Float] = (0..<4400).map { $0 % 2 == 0 ? most : -most }
        let nearlyConstant: [Float] = (0..<700).map { $0 % 5 == 0 ? most : most.nextDown }
        let subnormal: [Float] = (0..<700).map { Float(bitPattern: UInt32($0) * 65) }
        let constant = [Float](repeating: most, count: 5000)
        for values in [constant, constant.map { -$0 }, alternating, nearlyConstant, subnormal] {
            let decoded = try codec.decode(codec.encode(values, columns: 70), count: values.count, columns: 70)
            #expect(decoded.allSatisfy { $0.magnitude <= Codec.magnitudeMax }, "\(codec)")
        }
        let above = [Float](repeating: 1, count: 300) + [most.nextUp]
        #expect(throws: CodecError.outOfRange(valueIndex: 300)) { try codec.encode(above) }
    }

    @Test(arguments: Codec.samples) func everySingleByteChangeIsRefusedOrFinite(codec: Codec) throws {
        let bytes = try codec.encode(gaussian(5, 301), columns: 20)
        #expect(try codec.decode(bytes, count: 301, columns: 20).count == 301)
        for index in bytes.indices {
            for flip in [0x01, 0x10, 0x80, 0xFF] as [UInt8] {
                var changed = bytes
                changed[index] ^= flip
                guard let decoded = try? codec.decode(changed, count: 301, columns: 20) else { continue }
                #expect(decoded.allSatisfy { $0.magnitude <= Codec.magnitudeMax })
            }
        }
    }

    // MARK: Hostile bytes

    private static func put(_ value: Float, at offset: Int, in bytes: inout [UInt8]) {
        for byte in 0..<4 { bytes[offset + byte] = UInt8(truncatingIfNeeded: value.bitPattern >> (8 * UInt32(byte))) }
    }

    @Test(arguments: [
        (Float.nan, Float(1)), (.infinity, 1), (-0.0, 1), (0x1.000002p100, 0), (0, .nan), (0, -1), (0, -0.0),
        (0, .infinity), (0, 0x1p-109), (0, 0x1p100), (0x1p100, 0x1p80), (-0x1.000002p100, 1), (-0x1p100, 0x1p101),
    ])
    func uniformHeadersOutOfRangeAreRefused(low: Float, step: Float) throws {
        var bytes = try Codec.uniform(bits: 4).encode(gaussian(1, 500))
        Self.put(low, at: 8, in: &bytes)
        Self.put(step, at: 12, in: &bytes)
        #expect(throws: CodecError.badScale(blockIndex: 1)) { try Codec.uniform(bits: 4).decode(bytes, count: 500) }
    }

    @Test func uniformCodesThatMeanNothingAreRefused() throws {
        let codec = Codec.uniform(bits: 4)
        var bytes = try codec.encode([Float](repeating: 2, count: 256) + gaussian(1, 200))
        bytes[16] = 1
        #expect(throws: CodecError.notCanonical(blockIndex: 0)) { try codec.decode(bytes, count: 456) }
        bytes[16] = 0
        #expect(try codec.decode(bytes, count: 456)[..<256].allSatisfy { $0 == 2 })
        bytes[bytes.count - 1] = 0x10
        #expect(throws: CodecError.notCanonical(blockIndex: 1)) { try codec.decode(bytes, count: 456) }
    }

    @Test func statisticalTablesAndPaddingAreChecked() throws {
        let codec = Codec.statistical(bits: 2)
        let constant = try codec.encode([Float](repeating: 3, count: 5))
        #expect(constant.count == 16 + 2)
        #expect(try codec.decode(constant, count: 5) == [3, 3, 3, 3, 3])
        // One code occurs; every other entry is 0.
        #expect((0..<4).filter { constant[4 * $0 + 3] != 0 }.count == 1)
        for entry in 0..<4 {
            var bytes = constant
            Self.put(.nan, at: 4 * entry, in: &bytes)
            #expect(throws: CodecError.badScale(blockIndex: 0)) { try codec.decode(bytes, count: 5) }
            Self.put(7, at: 4 * entry, in: &bytes)
            let isUsed = constant[4 * entry + 3] != 0
            #expect((try? codec.decode(bytes, count: 5)) == (isUsed ? [7, 7, 7, 7, 7] : nil))
        }
        var bytes = constant
        bytes[17] |= 4
        #expect(throws: CodecError.notCanonical(blockIndex: 0)) { try codec.decode(bytes, count: 5) }
    }

    @Test func topKMagnitudesIndicesAndCodesAreChecked() throws {
        let codec = Codec.topK(kept: 64)
        var values = [Float](repeating: 0, count: 4096 + 100)
        for index in 0..<70 { values[50 * index + 3] = Float(index) - 35.5 }
        values[4100] = 9
        values[4101] = -9
        let bytes = try codec.encode(values)
        // 64 of the first chunk, 2 of the last hundred values.
        #expect(bytes.count == 8 + 99 + 17)
        let decoded = try codec.decode(bytes, count: values.count)
        #expect(decoded.count { $0 != 0 } == 66 && decoded[4100] == -decoded[4101])
        for (small, large) in [(-0.0, 1), (-1, 1), (2, 1), (.nan, 1), (1, .nan), (1, .infinity), (1, 0x1.000002p100)]
            as [(Float, Float)]
        {
            var changed = bytes
            Self.put(small, at: 0, in: &changed)
            Self.put(large, at: 4, in: &changed)
            #expect(throws: CodecError.badScale(blockIndex: 0)) { try codec.decode(changed, count: values.count) }
        }
        var changed = bytes
        // The second index becomes the first.
        changed[9] = changed[9] & 15 | changed[8] << 4
        changed[10] = changed[8] >> 4 | changed[9] << 4
        #expect(throws: CodecError.badIndex(chunkIndex: 0)) { try codec.decode(changed, count: values.count) }
        changed = bytes
        // Beyond the last chunk's hundred values.
        changed[8 + 98] = 0x7F
        #expect(throws: CodecError.badIndex(chunkIndex: 1)) { try codec.decode(changed, count: values.count) }
        changed = bytes
        changed[changed.count - 1] |= 0x10
        #expect(throws: CodecError.notCanonical(blockIndex: 1)) { try codec.decode(changed, count: values.count) }
    }

    @Test func topKKeepsTheLargestAndOfEqualOnesTheEarlier() throws {
        for seed in 0..<20 as Range<UInt64> {
            var random = SplitMix(seed)
            // Few different magnitudes, so that the last places are contested.
            let values = (0..<4096).map { _ in Float(Int.random(in: -20...20, using: &random)) }
            let order = values.indices.sorted { (-values[$0].magnitude, $0) < (-values[$1].magnitude, $1) }
            let decoded = try Codec.topK(kept: 100).decode(Codec.topK(kept: 100).encode(values), count: 4096)
            let kept = values.indices.filter { decoded[$0] != 0 }
            #expect(kept == order.prefix(100).sorted())
            #expect(kept.allSatisfy { decoded[$0].sign == values[$0].sign })
        }
    }

    @Test func topKInventsNothingWhereAChunkHasFewValues() throws {
        var values = [Float](repeating: 0, count: 8192)
        for index in 0..<64 { values[4096 + 7 * index] = index < 32 ? 1 : 1.5 }
        values[9] = -3
        let decoded = try Codec.topK(kept: 64).decode(Codec.topK(kept: 64).encode(values), count: 8192)
        for (value, decoded) in zip(values, decoded) where value == 0 { #expect(decoded.bitPattern == 0) }
        #expect(decoded[9] < 0)
    }

    @Test func halvesRoundToNearestEvenAndNothingElse() throws {
        // Every finite half is itself; half-way values go to the even neighbour.
        let finite = (UInt16(0)..<0x7C00).flatMap { [$0, $0 | 0x8000] }
        let bytes = finite.flatMap { [UInt8(truncatingIfNeeded: $0), UInt8($0 >> 8)] }
        let values = try Codec.float16.decode(bytes, count: finite.count)
        #expect(values == finite.map { Float(Float16(bitPattern: $0)) })
        #expect(try Codec.float16.encode(values) == bytes)
        var random = SplitMix(3)
        let others = (0..<20_000).map { _ in
            Float(bitPattern: UInt32(truncatingIfNeeded: random.next()) % 0x477F_E001)
        }
        let half = (0..<0x7BFF as Range<UInt16>).map { (values[2 * Int($0)] + values[2 * Int($0) + 2]) / 2 }
        for values in [others, half, half.map(\.nextUp), half.map(\.nextDown)] {
            let decoded = try Codec.float16.decode(Codec.float16.encode(values), count: values.count)
            #expect(decoded == values.map { Float(Float16($0)) })
        }
        for pattern in [0x7C00, 0xFC00, 0x7C01, 0xFFFF] as [UInt16] {
            let bytes = [0, 0, UInt8(truncatingIfNeeded: pattern), UInt8(pattern >> 8)]
            #expect(throws: CodecError.outOfRange(valueIndex: 1)) { try Codec.float16.decode(bytes, count: 2) }
        }
    }

    @Test func uniformReachesBothEndsAndHalfAStepBetween() throws {
        for bits in 1...8 as ClosedRange<UInt8> {
            let values = gaussian(UInt64(bits), 4096 + 77)
            let codec = Codec.uniform(bits: bits)
            let decoded = try codec.decode(codec.encode(values), count: values.count)
            for start in stride(from: 0, to: values.count, by: 256) {
                let block = start..<min(start + 256, values.count)
                let low = values[block].min() ?? 0
                let high = values[block].max() ?? 0
                let step = (high - low) / Float(1 << Int(bits) - 1)
                for index in block { #expect((values[index] - decoded[index]).magnitude <= 0.50001 * step + 1e-6) }
                #expect(decoded[block].min() == low)
            }
        }
    }
}
