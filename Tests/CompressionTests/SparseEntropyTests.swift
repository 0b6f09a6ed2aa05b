import Compression
import Testing

/// The entropy stage's form for messages with index sections.
@Suite struct SparseEntropyTests {
    @Test(arguments: [1, 2, 12, 60]) func sparseMessagesTakeTheFormOfGaps(tiles: Int) throws {
        let (raw, sections, _) = IndexGapsTests.message(tiles: tiles, chunks: 16, kept: 64, seed: UInt64(tiles))
        let packed = EntropyStage.pack(raw, indexSections: sections)
        #expect(packed.first == 2)
        #expect(packed.count < EntropyStage.pack(raw).count)
        #expect(try EntropyStage.unpack(packed, rawByteCount: raw.count, indexSections: sections) == raw)
        // Who does not know of sections refuses the form.
        #expect(throws: EntropyError.unknownForm(2)) { try EntropyStage.unpack(packed, rawByteCount: raw.count) }
    }

    /// The bound is log2 of the number of ways to keep 64 of 4096, 7.36 bits per index; gaps coded each by itself, as
    /// any Huffman or arithmetic coder would, have 7.43.
    @Test func randomPositionsCostAtMost7point7BitsPerIndex() throws {
        let (raw, sections, lists) = IndexGapsTests.message(tiles: 120, chunks: 16, kept: 64, seed: 1)
        let indexCount = lists.count * 64
        let parts = try #require(IndexGaps.encode(raw, sections: sections))
        let gapBits = Double(8 * EntropyStage.pack(parts.gaps).count) / Double(indexCount)
        let packed = EntropyStage.pack(raw, indexSections: sections)
        #expect(packed.first == 2)
        // All of the message that is not values, magnitudes or header.
        let bits = Double(8 * (packed.count - parts.rest.count)) / Double(indexCount)
        #expect(gapBits <= 7.7)
        #expect(bits <= 7.7)
        let entropy = Self.entropy(lists)
        let rice = (4...7).map { Self.riceBits(lists, $0) }.min() ?? 0
        print(
            """
            bits per index: message \(bits), gap frame \(gapBits), entropy of the gaps \(entropy), best Rice code \(rice), \
            packed 12
            """)
        #expect(entropy < gapBits)
        // A coder by hand would gain too little to be written.
        #expect(gapBits < 1.03 * entropy)
    }

    /// The empirical entropy of single gaps.
    private static func entropy(_ lists: [[Int]]) -> Double {
        var counts = [Int](repeating: 0, count: IndexGaps.chunkLength)
        var total = 0
        for list in lists {
            for (index, last) in zip(list, [-1] + list) {
                counts[index - last - 1] += 1
                total += 1
            }
        }
        var bits = 0.0
        for count in counts where count > 0 {
            bits -= Double(count) * (Double(count) / Double(total)).logarithm / 2.0.logarithm
        }
        return bits / Double(total)
    }

    /// The bits per gap of a Rice code.
    private static func riceBits(_ lists: [[Int]], _ parameter: Int) -> Double {
        var bits = 0, total = 0
        for list in lists {
            for (index, last) in zip(list, [-1] + list) {
                bits += parameter + 1 + (index - last - 1) >> parameter
                total += 1
            }
        }
        return Double(bits) / Double(total)
    }

    @Test func theSmallestFormWins() throws {
        // Every index of every chunk: zstd alone makes nothing of it, gaps are all zero.
        let (full, fullSections, _) = IndexGapsTests.message(tiles: 1, chunks: 2, kept: 4096, seed: 3)
        #expect(EntropyStage.pack(full, indexSections: fullSections).first == 2)
        // The same chunk again and again: zstd finds the repetition in the packed bytes.
        let chunk = IndexGapsTests.pack([3, 900, 2000, 4000])
        let repeated = [[UInt8]](repeating: chunk, count: 200).flatMap { $0 }
        let sections = (0..<200).map { IndexSection(offset: $0 * 6, indexCount: 4) }
        let packed = EntropyStage.pack(repeated, indexSections: sections)
        #expect(packed.count <= EntropyStage.pack(repeated).count)
        #expect(try EntropyStage.unpack(packed, rawByteCount: repeated.count, indexSections: sections) == repeated)
        // Few indices have large gaps: the gaps would be more than they stand for.
        let (few, fewSections, _) = IndexGapsTests.message(tiles: 10, chunks: 16, kept: 2, seed: 4)
        #expect(EntropyStage.pack(few, indexSections: fewSections).first != 2)
        // Indices that do not ascend are packed all the same.
        var broken = IndexGapsTests.message(tiles: 2, chunks: 16, kept: 64, seed: 5)
        broken.bytes[broken.sections[3].offset + 1] ^= 0xFF
        let whole = EntropyStage.pack(broken.bytes, indexSections: broken.sections)
        #expect(
            try EntropyStage.unpack(whole, rawByteCount: broken.bytes.count, indexSections: broken.sections)
                == broken.bytes)
    }

    @Test func formsWithoutGapsAreTakenBesideSectionsToo() throws {
        let (raw, sections, _) = IndexGapsTests.message(tiles: 1, chunks: 4, kept: 64, seed: 8)
        for packed in [[0] + raw, EntropyStage.pack(raw)] {
            #expect(try EntropyStage.unpack(packed, rawByteCount: raw.count, indexSections: sections) == raw)
        }
    }

    @Test func everyTruncationExtensionAndChangeIsRefusedOrKeepsTheSize() throws {
        let (raw, sections, _) = IndexGapsTests.message(tiles: 1, chunks: 8, kept: 64, seed: 9)
        let packed = EntropyStage.pack(raw, indexSections: sections)
        #expect(packed.first == 2)
        for count in 0..<packed.count {
            #expect(throws: EntropyError.self) {
                try EntropyStage.unpack(Array(packed[..<count]), rawByteCount: raw.count, indexSections: sections)
            }
        }
        for tail in [[0], [2], Array(packed.dropFirst()), packed] as [[UInt8]] {
            #expect(throws: EntropyError.self) {
                try EntropyStage.unpack(packed + tail, rawByteCount: raw.count, indexSections: sections)
            }
        }
        for index in packed.indices {
            for flip in [0x01, 0x80, 0xFF] as [UInt8] {
                var changed = packed
                changed[index] ^= flip
                let unpacked = try? EntropyStage.unpack(changed, rawByteCount: raw.count, indexSections: sections)
                #expect(unpacked == nil || unpacked?.count == raw.count)
            }
        }
    }

    @Test func bombsAreRefusedByTheirStatedSizes() throws {
        let (raw, sections, _) = IndexGapsTests.message(tiles: 16, chunks: 8, kept: 64, seed: 10)
        let bomb = Array(EntropyStage.pack([UInt8](repeating: 0, count: 16 << 20)).dropFirst())
        let parts = try #require(IndexGaps.encode(raw, sections: sections))
        let gaps = Array(EntropyStage.pack(parts.gaps).dropFirst())
        // 8192 indices in 12,288 bytes; 52 + 16 × (8 + 8 × 16) bytes beside them.
        #expect(EntropyStage.pack(parts.gaps).first == 1)
        #expect(throws: EntropyError.wrongByteCount(expected: 12_288, got: 16 << 20)) {
            try EntropyStage.unpack([2] + bomb, rawByteCount: raw.count, indexSections: sections)
        }
        #expect(throws: EntropyError.wrongByteCount(expected: 2228, got: 16 << 20)) {
            try EntropyStage.unpack([2] + gaps + bomb, rawByteCount: raw.count, indexSections: sections)
        }
        // Honest frames whose gaps lead too far.
        let larger = IndexGapsTests.message(tiles: 1, chunks: 16, kept: 64, seed: 11)
        let besides = Array(EntropyStage.pack([UInt8](repeating: 7, count: 316)).dropFirst())
        let far = Array(EntropyStage.pack([UInt8](repeating: 254, count: 1024)).dropFirst())
        #expect(throws: EntropyError.indices(.damaged)) {
            try EntropyStage.unpack(
                [2] + far + besides, rawByteCount: larger.bytes.count, indexSections: larger.sections)
        }
    }
}
