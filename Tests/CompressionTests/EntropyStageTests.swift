import Compression
import Testing

@Suite struct EntropyStageTests {
    /// Codes of a Gaussian tile: what the stage is for.
    private static func codes(_ count: Int) throws -> [UInt8] {
        var random = SplitMix(3)
        return try Codec.e3m0.encode((0..<count).map { _ in Float(random.normalPair().0) })
    }

    @Test(arguments: [0, 1, 255, 256, 257, 70_000])
    func whatGoesInComesOut(count: Int) throws {
        var random = SplitMix(UInt64(count))
        let noise = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
        for raw in [noise, [UInt8](repeating: 7, count: count)] {
            let packed = EntropyStage.pack(raw)
            #expect(packed.count <= raw.count + 1)
            #expect(try EntropyStage.unpack(packed, rawByteCount: count) == raw)
        }
    }

    @Test func gaussianCodesShrinkToTheirEntropy() throws {
        let raw = try Self.codes(1 << 17)
        let packed = EntropyStage.pack(raw)
        let bitsPerValue = Double(packed.count) * 8 / Double(1 << 17)
        // Sign and levels hold about 3.4 bits, the scale an eighth.
        #expect(bitsPerValue < 3.75)
        #expect(try EntropyStage.unpack(packed, rawByteCount: raw.count) == raw)
    }

    @Test func everyTruncationAndExtensionIsRefused() throws {
        let raw = try Self.codes(2048)
        for packed in [EntropyStage.pack(raw), [0] + raw] {
            for count in 0..<packed.count {
                #expect(throws: EntropyError.self) {
                    try EntropyStage.unpack(Array(packed[..<count]), rawByteCount: raw.count)
                }
            }
            for tail in [[0], [1], packed] as [[UInt8]] {
                #expect(throws: EntropyError.self) { try EntropyStage.unpack(packed + tail, rawByteCount: raw.count) }
            }
        }
    }

    @Test func everySingleByteChangeIsRefusedOrKeepsTheSize() throws {
        let raw = try Self.codes(2048)
        let packed = EntropyStage.pack(raw)
        #expect(packed.first == 1)
        for index in packed.indices {
            for flip in [0x01, 0x80, 0xFF] as [UInt8] {
                var changed = packed
                changed[index] ^= flip
                let unpacked = try? EntropyStage.unpack(changed, rawByteCount: raw.count)
                #expect(unpacked == nil || unpacked?.count == raw.count)
            }
        }
    }

    @Test func aBombIsRefusedByItsStatedSize() throws {
        // Sixteen megabytes of zeros in a kilobyte or two.
        let bomb = EntropyStage.pack([UInt8](repeating: 0, count: 16 << 20))
        #expect(bomb.count < 4000)
        #expect(throws: EntropyError.wrongByteCount(expected: 1000, got: 16 << 20)) {
            try EntropyStage.unpack(bomb, rawByteCount: 1000)
        }
    }

    @Test func aFrameThatLiesAboutItsSizeIsRefused() throws {
        // RFC 8878, single segment, one-byte content size of 5, one RLE block of 200 bytes.
        let frame: [UInt8] = [1, 0x28, 0xB5, 0x2F, 0xFD, 0x20, 5, 0x43, 0x06, 0x00, 0x41]
        #expect(throws: EntropyError.damaged) { try EntropyStage.unpack(frame, rawByteCount: 5) }
        #expect(throws: EntropyError.wrongByteCount(expected: 200, got: 5)) {
            try EntropyStage.unpack(frame, rawByteCount: 200)
        }
    }

    @Test func framesWithoutASizeSkippableFramesAndUnknownFormsAreRefused() {
        let sizeless: [UInt8] = [1, 0x28, 0xB5, 0x2F, 0xFD, 0x00, 0x58, 0x09, 0x00, 0x00, 0x41]
        #expect(throws: EntropyError.wrongByteCount(expected: 1, got: nil)) {
            try EntropyStage.unpack(sizeless, rawByteCount: 1)
        }
        let skippable: [UInt8] = [1, 0x50, 0x2A, 0x4D, 0x18, 1, 0, 0, 0, 0x41]
        #expect(throws: EntropyError.self) { try EntropyStage.unpack(skippable, rawByteCount: 0) }
        #expect(throws: EntropyError.unknownForm(2)) { try EntropyStage.unpack([2, 0], rawByteCount: 1) }
        #expect(throws: EntropyError.empty) { try EntropyStage.unpack([], rawByteCount: 0) }
    }
}
