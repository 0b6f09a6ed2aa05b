import Compression
import Testing

@Suite struct CodecTests {
    @Test func everyOneOfTheSixteenCodesDecodesAndEncodesToItself() throws {
        var bytes: [UInt8] = [0, 0, 0x40, 0x40]  // scale 3
        bytes += (0..<8).map { UInt8(2 * $0 | (2 * $0 + 1) << 4) }
        bytes += [0x07]  // a value at the scale, or the encoder would choose a smaller one
        bytes += [UInt8](repeating: 0, count: 132 - bytes.count)
        let values = try Codec.e3m0.decode(bytes, count: 256)
        #expect(values[0].bitPattern == 0 && values[8].bitPattern == 0x8000_0000)
        for level in 1...7 {
            #expect(values[level] == 3 / Float(1 << (7 - level)))
            #expect(values[8 + level] == -3 / Float(1 << (7 - level)))
        }
        #expect(try Codec.e3m0.encode(values) == bytes)
    }

    @Test func thresholdsAreHalfWayAndTiesGoUp() throws {
        var values: [Float] = [1]
        var levels: [Float] = [1]
        let bounds: [Float] = [0x1p-7] + (1...6).map { 0x1.8p-7 * Float(1 << $0) }
        for (index, bound) in bounds.enumerated() {
            let above: Float = 1 / Float(1 << (6 - index))
            values += [bound, bound.nextDown, -bound, -bound.nextDown]
            let below: Float = index == 0 ? 0 : above / 2
            levels += [above, below, -above, -below]
        }
        #expect(try Codec.e3m0.decode(Codec.e3m0.encode(values), count: values.count) == levels)
    }

    @Test(arguments: [0, 1, 2, 15, 16, 17, 127, 255, 256, 257, 511, 512, 4097])
    func theCodecChoosesTheNearestLevelAtEverySize(count: Int) throws {
        var random = SplitMix(UInt64(count) + 7)
        for scale in [1e-20, 1e-3, 1, 1e9] as [Float] {
            let values = (0..<count).map { _ in Float(random.normalPair().0) * scale }
            let bytes = try Codec.e3m0.encode(values)
            #expect(bytes.count == Codec.e3m0.byteCount(ofValues: count))
            let decoded = try Codec.e3m0.decode(bytes, count: count)
            #expect(decoded.map(\.bitPattern) == referenceE3M0(values).map(\.bitPattern))
            let raw = try Codec.float32.decode(Codec.float32.encode(values), count: count)
            #expect(raw.map(\.bitPattern) == values.map(\.bitPattern))
        }
    }

    @Test func blocksTooSmallToScaleSafelyBecomeZero() throws {
        let tiny: [Float] = [0x1p-101, -.leastNonzeroMagnitude, 0, -0.0]
        let bytes = try Codec.e3m0.encode(tiny)
        #expect(bytes.allSatisfy { $0 == 0 })
        let kept = try Codec.e3m0.decode(Codec.e3m0.encode([0x1p-100, 0x1p-106]), count: 2)
        #expect(kept == [0x1p-100, 0x1p-106])
    }

    @Test(arguments: [0, 255, 256, 299], [Float.infinity, -.infinity, .nan, -.nan, 0x1.000002p100])
    func valuesOutsideTheRangeAreRefusedByPlace(place: Int, value: Float) {
        var values = [Float](repeating: 0.5, count: 300)
        values[place] = value
        for codec in Codec.samples {
            #expect(throws: CodecError.outOfRange(valueIndex: place), "\(codec)") { try codec.encode(values) }
        }
    }

    @Test(arguments: [Float.nan, .infinity, -1, -0.0, 0x1p-101, .leastNonzeroMagnitude, 0x1.000002p100], [0, 1])
    func hostileScalesAreRefused(scale: Float, block: Int) throws {
        var bytes = try Codec.e3m0.encode([Float](repeating: 0.5, count: 300))
        let pattern = scale.bitPattern
        for byte in 0..<4 { bytes[4 * block + byte] = UInt8(truncatingIfNeeded: pattern >> (8 * UInt32(byte))) }
        #expect(throws: CodecError.badScale(blockIndex: block)) { try Codec.e3m0.decode(bytes, count: 300) }
    }

    @Test func everyWrongSizeIsRefused() throws {
        let values = [Float](repeating: 0.5, count: 300)
        for codec in Codec.samples {
            let bytes = try codec.encode(values)
            for count in 0...bytes.count + 3 where count != bytes.count {
                let cut =
                    count < bytes.count
                    ? Array(bytes[..<count]) : bytes + [UInt8](repeating: 0, count: count - bytes.count)
                #expect(throws: CodecError.wrongByteCount(expected: bytes.count, got: count)) {
                    try codec.decode(cut, count: 300)
                }
            }
        }
    }

    @Test func everySingleByteChangeIsRefusedOrGivesOtherFiniteValues() throws {
        var random = SplitMix(5)
        let values = (0..<300).map { _ in Float(random.normalPair().0) }
        let bytes = try Codec.e3m0.encode(values)
        let original = try Codec.e3m0.decode(bytes, count: 300).map(\.bitPattern)
        var refused = 0
        for index in bytes.indices {
            for flip in [0x01, 0x10, 0x80, 0xFF] as [UInt8] {
                var changed = bytes
                changed[index] ^= flip
                do {
                    let decoded = try Codec.e3m0.decode(changed, count: 300)
                    #expect(decoded.allSatisfy(\.isFinite) && decoded.map(\.bitPattern) != original)
                } catch {
                    refused += 1
                }
            }
        }
        // Any change of the 106 padding bytes is one of them.
        #expect(refused >= 4 * 106)
    }

    @Test func rawValuesThatAreNotFiniteAreRefusedOnArrival() {
        let bytes: [UInt8] = [0, 0, 0, 0, 0, 0, 0xC0, 0x7F]
        #expect(throws: CodecError.outOfRange(valueIndex: 1)) { try Codec.float32.decode(bytes, count: 2) }
    }
}
