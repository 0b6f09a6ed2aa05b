import Compression
import FuzzSupport
import Testing

/// Every decoder of bulk data on changed good inputs: none traps, and what decodes is finite.
@Suite struct DecoderFuzzTests {
    @Test(arguments: Codec.samples) func tiles(codec: Codec) throws {
        var fuzzer = Fuzzer(seed: UInt64(codec.family) * 1000 + UInt64(codec.level))
        let shape = TileShape(count: 301, columns: 20)
        let samples = try [gaussian(1, 301), gaussian(2, 301, scale: 1e-3), [Float](repeating: 2, count: 301)].map {
            try codec.encode($0, columns: 20)
        }
        let accepted = fuzzer.run("tile \(codec)", samples) { bytes in
            // Every size is refused but one: cut and filled up, the input reaches the decoder's inside as well.
            #expect(bytes.count == samples[0].count || (try? codec.decode(bytes, count: 301, columns: 20)) == nil)
            let size = codec.byteCount(of: shape)
            let fitted = Array(bytes.prefix(size)) + [UInt8](repeating: 0, count: max(0, size - bytes.count))
            guard let values = try? codec.decode(fitted, count: 301, columns: 20) else { return false }
            return values.allSatisfy { $0.magnitude <= Codec.magnitudeMax }
        }
        #expect(accepted > 0)
    }

    @Test func packedBytes() {
        var fuzzer = Fuzzer(seed: 77)
        let raw = (0..<2000).map { UInt8(truncatingIfNeeded: $0 / 7) }
        let bombs = [16 << 20, 1 << 20].map { EntropyStage.pack([UInt8](repeating: 0, count: $0)) }
        let accepted = fuzzer.run("packed bytes", [EntropyStage.pack(raw), [0] + raw] + bombs) { bytes in
            let exact = try? EntropyStage.unpack(bytes, rawByteCount: 2000)
            let bounded = try? EntropyStage.unpack(bytes, rawByteCountMax: 3000)
            #expect(exact == nil || exact?.count == 2000)
            #expect(bounded == nil || (bounded?.count ?? 0) <= 3000)
            return bounded != nil
        }
        #expect(accepted > 0)
    }
}
