import Compression
import Glibc
import Testing

@Suite struct IndexGapsTests {
    // MARK: Material

    /// Kept indices as the top-k codec packs them, the obvious way.
    static func pack(_ indices: [Int]) -> [UInt8] {
        var nibbles = indices.flatMap { [$0 & 15, $0 >> 4 & 15, $0 >> 8] }
        if nibbles.count % 2 == 1 { nibbles.append(0) }
        return stride(from: 0, to: nibbles.count, by: 2).map { UInt8(nibbles[$0] | nibbles[$0 + 1] << 4) }
    }

    /// A gap as the format says.
    static func gapBytes(_ indices: [Int]) -> [UInt8] {
        zip(indices, [-1] + indices).flatMap { index, last in
            let gap = index - last - 1
            return [UInt8](repeating: 255, count: gap / 255) + [UInt8(gap % 255)]
        }
    }

    /// Some of the positions of a chunk, ascending.
    static func indices(_ count: Int, _ random: inout SplitMix) -> [Int] {
        Array((0..<IndexGaps.chunkLength).shuffled(using: &random)[..<count]).sorted()
    }

    /// A message of top-k tiles: two magnitudes, then per chunk indices and values of two bits.
    static func message(
        tiles: Int, chunks: Int, kept: Int, seed: UInt64
    ) -> (bytes: [UInt8], sections: [IndexSection], indices: [[Int]]) {
        var random = SplitMix(seed)
        var bytes = (0..<52).map { _ in UInt8.random(in: 0...255, using: &random) }
        var sections: [IndexSection] = [], lists: [[Int]] = []
        for _ in 0..<tiles {
            for _ in 0..<8 { bytes.append(UInt8.random(in: 0...255, using: &random)) }
            for _ in 0..<chunks {
                // Sampling without replacement, faster than shuffling all of them.
                var set: Set<Int> = []
                while set.count < kept { set.insert(Int.random(in: 0..<IndexGaps.chunkLength, using: &random)) }
                lists.append(set.sorted())
                sections.append(IndexSection(offset: bytes.count, indexCount: kept))
                bytes += pack(set.sorted())
                for _ in 0..<(kept + 3) / 4 { bytes.append(UInt8.random(in: 0...255, using: &random)) }
            }
        }
        return (bytes, sections, lists)
    }

    static func decode(
        _ parts: IndexGaps.Parts, _ sections: [IndexSection], _ rawByteCount: Int
    ) throws -> [UInt8] {
        try IndexGaps.decode(gaps: parts.gaps, rest: parts.rest, sections: sections, rawByteCount: rawByteCount)
    }

    // MARK: The form

    @Test func goldenGaps() throws {
        // 0, 1, 300 and 4095: gaps 0, 0, 298 and 3794.
        let raw = [0xAA] + Self.pack([0, 1, 300, 4095]) + [0xBB, 0xCC]
        #expect(raw == [0xAA, 0x00, 0x10, 0x00, 0x2C, 0xF1, 0xFF, 0xBB, 0xCC])
        let sections = [IndexSection(offset: 1, indexCount: 4)]
        let parts = try #require(IndexGaps.encode(raw, sections: sections))
        #expect(parts.gaps == [0, 0, 255, 43] + [UInt8](repeating: 255, count: 14) + [224])
        #expect(parts.rest == [0xAA, 0xBB, 0xCC])
        #expect(try Self.decode(parts, sections, raw.count) == raw)
    }

    /// protocols/vectors/index-gaps.txt, which index-gaps.py beside it made without any of this code.
    @Test(arguments: ["edges", "sparse", "dense"]) func theVectorsAgree(name: String) throws {
        let entries = try Self.vectors()
        func bytes(_ key: String) throws -> [UInt8] {
            let digits = Array(try #require(entries["\(name).\(key)"]))
            return try stride(from: 0, to: digits.count, by: 2).map {
                try #require(UInt8(String(digits[$0...($0 + 1)]), radix: 16))
            }
        }
        let sections = try #require(entries["\(name).sections"]).split(separator: ",").map { section in
            let numbers = section.split(separator: ":").compactMap { Int($0) }
            return IndexSection(offset: numbers[0], indexCount: numbers[1])
        }
        let raw = try bytes("raw")
        let parts = try #require(IndexGaps.encode(raw, sections: sections))
        #expect(try parts.gaps == bytes("gaps"))
        #expect(try parts.rest == bytes("rest"))
        #expect(try Self.decode(parts, sections, raw.count) == raw)
    }

    private static func vectors(file: String = #filePath) throws -> [String: String] {
        let folder = file.split(separator: "/").dropLast(3).joined(separator: "/")
        let stream = try #require(fopen("/\(folder)/protocols/vectors/index-gaps.txt", "r"))
        defer { fclose(stream) }
        var bytes: [UInt8] = []
        var byte = fgetc(stream)
        while byte != EOF {
            bytes.append(UInt8(truncatingIfNeeded: byte))
            byte = fgetc(stream)
        }
        var entries: [String: String] = [:]
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") where !line.hasPrefix("#") {
            let words = line.split(separator: " ")
            try #require(words.count == 3 && words[1] == "=")
            entries[String(words[0])] = String(words[2])
        }
        return entries
    }

    @Test func whatGoesInComesOut() throws {
        var random = SplitMix(31)
        for kept in [1, 2, 3, 15, 16, 17, 64, 255, 256, 1024, 4095, 4096] {
            var raw: [UInt8] = [], sections: [IndexSection] = [], expected: [UInt8] = [], beside: [UInt8] = []
            for chunk in 0..<3 {
                let filler = [UInt8](repeating: UInt8(chunk), count: Int.random(in: 0...3, using: &random))
                let indices = Self.indices(kept, &random)
                raw += filler
                beside += filler
                sections.append(IndexSection(offset: raw.count, indexCount: kept))
                raw += Self.pack(indices)
                expected += Self.gapBytes(indices)
            }
            #expect(sections.allSatisfy { $0.byteCount == (kept * 12 + 7) / 8 })
            let parts = try #require(IndexGaps.encode(raw, sections: sections))
            #expect(parts.gaps == expected)
            #expect(parts.rest == beside)
            #expect(try Self.decode(parts, sections, raw.count) == raw)
        }
    }

    @Test func everySingleIndexAndEveryPairAtTheEdgesSurvives() throws {
        let sections = [IndexSection(offset: 0, indexCount: 1)]
        for index in 0..<IndexGaps.chunkLength {
            let raw = Self.pack([index])
            let parts = try #require(IndexGaps.encode(raw, sections: sections))
            #expect(parts.gaps.count == index / 255 + 1)
            #expect(try Self.decode(parts, sections, raw.count) == raw)
        }
        let pair = [IndexSection(offset: 0, indexCount: 2)]
        for first in [0, 1, 253, 254, 255, 256, 4093, 4094] {
            for second in [first + 1, first + 255, first + 256, first + 257, 4095] where second <= 4095 {
                let raw = Self.pack([first, second])
                let parts = try #require(IndexGaps.encode(raw, sections: pair))
                #expect(try Self.decode(parts, pair, raw.count) == raw)
            }
        }
    }

    @Test func noSectionsLeaveTheBytesAsTheyAre() throws {
        let parts = try #require(IndexGaps.encode([1, 2, 3], sections: []))
        #expect(parts.gaps.isEmpty)
        #expect(parts.rest == [1, 2, 3])
        #expect(try Self.decode(parts, [], 3) == [1, 2, 3])
        #expect(try IndexGaps.decode(gaps: [], rest: [], sections: [], rawByteCount: 0).isEmpty)
        #expect(IndexGaps.encode([], sections: []) != nil)
    }

    @Test func indicesThatDoNotAscendAreNotTurnedIntoGaps() {
        for indices in [[5, 5], [5, 4], [4095, 0], [0, 1, 1], [1, 0, 2], [0, 0]] {
            let sections = [IndexSection(offset: 0, indexCount: indices.count)]
            #expect(IndexGaps.encode(Self.pack(indices), sections: sections) == nil)
        }
        // The bits after an odd last index.
        #expect(IndexGaps.encode([7, 0x10], sections: [IndexSection(offset: 0, indexCount: 1)]) == nil)
    }

    @Test func thereIsExactlyOneWayToWriteAnIndexList() throws {
        // All streams of up to three bytes around the escape: those that decode are what their indices encode to.
        let bytes: [UInt8] = [0, 1, 2, 127, 253, 254, 255]
        var streams: [[UInt8]] = [[]]
        for _ in 0..<3 { streams += streams.flatMap { stream in bytes.map { stream + [$0] } } }
        for kept in 1...3 {
            let sections = [IndexSection(offset: 0, indexCount: kept)]
            let size = sections[0].byteCount
            var accepted = 0
            for stream in streams {
                guard
                    let raw = try? IndexGaps.decode(gaps: stream, rest: [], sections: sections, rawByteCount: size)
                else { continue }
                accepted += 1
                #expect(IndexGaps.encode(raw, sections: sections)?.gaps == stream)
            }
            #expect(accepted > 0)
        }
    }

    @Test func sectionsThatDoNotFitAreRefusedBeforeAnythingIsAllocated() {
        let bad: [[IndexSection]] = [
            [IndexSection(offset: -1, indexCount: 2)], [IndexSection(offset: 0, indexCount: 0)],
            [IndexSection(offset: 0, indexCount: -1)], [IndexSection(offset: 0, indexCount: 4097)],
            [IndexSection(offset: 0, indexCount: .max)], [IndexSection(offset: 0, indexCount: .min)],
            [IndexSection(offset: .max, indexCount: 2)], [IndexSection(offset: .min, indexCount: 2)],
            [IndexSection(offset: 8, indexCount: 2)], [IndexSection(offset: 11, indexCount: 1)],
            [IndexSection(offset: 0, indexCount: 2), IndexSection(offset: 2, indexCount: 2)],
            [IndexSection(offset: 3, indexCount: 2), IndexSection(offset: 0, indexCount: 2)],
        ]
        let raw = Self.pack([1, 2, 3, 4, 5, 6]) + [9]
        for sections in bad {
            #expect(IndexGaps.encode(raw, sections: sections) == nil)
            #expect(throws: IndexGapsError.badSections) {
                try IndexGaps.decode(gaps: [0, 0], rest: raw, sections: sections, rawByteCount: 10)
            }
            let packed = EntropyStage.pack([UInt8](repeating: 3, count: 300), indexSections: sections)
            #expect(packed.first == 1)
            #expect(throws: EntropyError.indices(.badSections)) {
                try EntropyStage.unpack([2] + packed.dropFirst(), rawByteCount: 10, indexSections: sections)
            }
        }
        let fits = [IndexSection(offset: 0, indexCount: 2)]
        for size in [-1, Int.min, 0, 2] {
            #expect(throws: IndexGapsError.badSections) {
                try IndexGaps.decode(gaps: [0, 0], rest: [], sections: fits, rawByteCount: size)
            }
        }
        // A huge size is refused by the rest that it would need.
        #expect(throws: IndexGapsError.wrongRestByteCount(expected: .max - 3, got: 0)) {
            try IndexGaps.decode(gaps: [0, 0], rest: [], sections: fits, rawByteCount: .max)
        }
    }

    @Test func hostileGapsAreRefused() {
        let sections = [IndexSection(offset: 0, indexCount: 2)]
        let escapes = [UInt8](repeating: 255, count: 16)
        let streams: [[UInt8]] = [
            [], [0], [0, 255], [255, 255], [0, 0, 0], escapes + [15, 0], escapes + [16, 0], escapes + [255, 0, 0],
            [0] + escapes + [14, 0], [0] + escapes + [15], [UInt8](repeating: 255, count: 4096),
        ]
        for stream in streams {
            #expect(throws: IndexGapsError.damaged) {
                try IndexGaps.decode(gaps: stream, rest: [], sections: sections, rawByteCount: 3)
            }
        }
        // The last index itself is reached.
        #expect(
            (try? IndexGaps.decode(gaps: [0] + escapes + [14], rest: [], sections: sections, rawByteCount: 3))
                == Self.pack([0, 4095]))
    }

    @Test func everyTruncationAndChangeIsRefusedOrAnotherList() throws {
        let (raw, sections, _) = Self.message(tiles: 1, chunks: 2, kept: 33, seed: 5)
        let parts = try #require(IndexGaps.encode(raw, sections: sections))
        for count in 0..<parts.gaps.count {
            #expect(throws: IndexGapsError.damaged) {
                try IndexGaps.decode(
                    gaps: Array(parts.gaps[..<count]), rest: parts.rest, sections: sections, rawByteCount: raw.count)
            }
            for value in UInt8.min...UInt8.max {
                var changed = parts.gaps
                changed[count] = value
                guard
                    let decoded = try? IndexGaps.decode(
                        gaps: changed, rest: parts.rest, sections: sections, rawByteCount: raw.count)
                else { continue }
                #expect(IndexGaps.encode(decoded, sections: sections)?.gaps == changed)
            }
        }
    }
}
