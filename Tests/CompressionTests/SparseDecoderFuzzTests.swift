import Compression
import FuzzSupport
import Testing

/// Hostile bytes for the form of gaps. Messages are small, so that changes reach every part of them.
@Suite struct SparseDecoderFuzzTests {
    @Test func gapsFromAnywhereGiveIndicesWithTheSameGapsOrAnError() throws {
        let (raw, sections, _) = IndexGapsTests.message(tiles: 1, chunks: 3, kept: 21, seed: 6)
        let parts = try #require(IndexGaps.encode(raw, sections: sections))
        var sparse = parts.gaps
        sparse.replaceSubrange(0..<2, with: [255, 255, 1])
        var fuzzer = Fuzzer(seed: 77)
        let accepted = fuzzer.run("index gaps", [parts.gaps, sparse]) { gaps in
            guard
                let decoded = try? IndexGaps.decode(
                    gaps: gaps, rest: parts.rest, sections: sections, rawByteCount: raw.count)
            else { return false }
            guard let again = IndexGaps.encode(decoded, sections: sections), again.gaps == gaps else {
                Issue.record("another form of the same indices was taken: \(gaps)")
                return true
            }
            return true
        }
        #expect(accepted > 0)
    }

    @Test func bytesThatBecomeGapsComeBack() {
        let (raw, sections, _) = IndexGapsTests.message(tiles: 1, chunks: 3, kept: 21, seed: 6)
        var fuzzer = Fuzzer(seed: 79)
        let accepted = fuzzer.run("indices to gaps", [raw]) { bytes in
            guard let parts = IndexGaps.encode(bytes, sections: sections) else { return false }
            if (try? IndexGapsTests.decode(parts, sections, bytes.count)) != bytes {
                Issue.record("bytes did not come back: \(bytes)")
            }
            return true
        }
        #expect(accepted > 0)
    }

    @Test func packedBytesFromAnywhereHaveTheExpectedSizeOrAnError() {
        let (raw, sections, _) = IndexGapsTests.message(tiles: 1, chunks: 16, kept: 64, seed: 12)
        let samples = [
            EntropyStage.pack(raw, indexSections: sections), EntropyStage.pack(raw), [0] + raw,
            EntropyStage.pack([UInt8](repeating: 0, count: raw.count)),
        ]
        var fuzzer = Fuzzer(seed: 78)
        let accepted = fuzzer.run("entropy stage with index sections", samples) { packed in
            guard
                let unpacked = try? EntropyStage.unpack(packed, rawByteCount: raw.count, indexSections: sections)
            else { return false }
            if unpacked.count != raw.count { Issue.record("\(unpacked.count) bytes instead of \(raw.count)") }
            return true
        }
        #expect(accepted > 0)
    }
}
