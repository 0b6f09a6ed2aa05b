import Compression
import FuzzSupport
import OuterSync
import Testing

/// Payloads whose tiles have different codecs, and receivers that let the sender choose.
@Suite struct MixedPayloadTests {
    private static let codecs: [Codec] = [.float16, .statistical(bits: 2)]
    private static let values = samples(60, 700, 0.01)

    private static func describe(_ codecs: [Codec]) throws -> (PayloadDescription, FragmentLayout.Fragment) {
        let fragment = try smallLayout().fragments[0]
        let description = PayloadDescription(
            kind: .contribution, codecs: codecs, fragment: fragment.index, base: Digest(hashing: [1]),
            tiles: [TileIndex(0), TileIndex(1)])
        return (description, fragment)
    }

    private static func encode(_ codecs: [Codec]) throws -> [UInt8] {
        let (description, fragment) = try describe(codecs)
        return try PayloadBundle.encode(description, of: fragment) { tile, output in
            _ = output.update(fromContentsOf: values[tile.range])
        }
    }

    /// The stored form: a byte 0 and the bytes as they are.
    private static func stored(_ codecs: [Codec]) throws -> [UInt8] {
        [0] + (try EntropyStage.unpack(encode(codecs), rawByteCountMax: 1 << 20))
    }

    private static func decodes(_ bundle: PayloadBundle) -> [Float]? {
        var values: [Float] = []
        var scratch: [Float] = []
        for position in bundle.description.tiles.indices {
            guard (try? bundle.decodeTile(position, scratch: &scratch) { values += $0 }) != nil else { return nil }
        }
        return values
    }

    /// As a receiver that takes what it gets.
    private static func receive(
        _ bytes: [UInt8], byteCountMax: Int = 1 << 20, allowing: (Codec) -> Bool = { _ in true }
    ) throws -> PayloadBundle {
        let (description, fragment) = try describe([])
        return try PayloadBundle(
            decoding: bytes, expecting: description, of: fragment, byteCountMax: byteCountMax, allowing: allowing)
    }

    @Test func tilesKnowTheirTensorsColumns() throws {
        let layout = try smallLayout()
        #expect(layout.fragments[0].tiles.map(\.shape) == [TileShape(count: 100), TileShape(count: 600, columns: 30)])
        #expect(layout.fragments[2].tiles.map(\.columns) == [32, 10])
    }

    @Test func everyTileIsDecodedByItsCodec() throws {
        let bytes = try Self.encode(Self.codecs)
        let (description, fragment) = try Self.describe(Self.codecs)
        let bundle = try PayloadBundle(decoding: bytes, expecting: description, of: fragment)
        let decoded = try #require(Self.decodes(bundle))
        #expect(decoded[..<100].elementsEqual(Self.values[..<100].map { Float(Float16($0)) }))
        #expect(decoded[100...].count == 600 && Set(decoded[100...]).count <= 4)
        let chosen = try Self.receive(bytes)
        #expect(chosen.description == description && Self.decodes(chosen) == decoded)
    }

    @Test func theHeaderNamesCodecsOnceOrTileByTile() throws {
        let same = try Self.stored([.topK(kept: 258), .topK(kept: 258)])
        #expect(Array(same[10..<13]) == [5, 2, 1])
        #expect(same.count == 1 + PayloadDescription.headerByteCount(tileCount: 2) + 8 + 11 + 2 + 8 + 57 + 10)
        let mixed = try Self.stored(Self.codecs)
        let header = PayloadDescription.headerByteCount(tileCount: 2, isMixed: true)
        #expect(Array(mixed[10..<13]) == [0xFF, 0, 0] && header == 68)
        #expect(Array(mixed[1 + 60..<1 + 68]) == [2, 0, 0, 0, 4, 0, 2, 0])
        #expect(mixed.count == 1 + header + 200 + 16 + 150)
    }

    @Test func onlyAllowedCodecsAreTaken() throws {
        let bytes = try Self.encode(Self.codecs)
        #expect(throws: PayloadError.badCodec) { try Self.receive(bytes) { $0 == .float16 } }
        #expect(throws: PayloadError.badCodec) { try Self.receive(bytes) { $0 != .float16 } }
        for offset in [61, 62, 63, 65, 66] {
            var changed = try Self.stored(Self.codecs)
            changed[offset] = 0x77
            #expect(throws: PayloadError.self) { try Self.receive(changed) }
        }
    }

    @Test func aHeaderHasOneForm() throws {
        // The same codec twice, written as if they differed.
        let stored = try Self.stored([.float16, .float16])
        let head = Array(stored[..<10]) + [0xFF, 0, 0] + stored[13..<61]
        let verbose = head + [2, 0, 0, 0, 2, 0, 0, 0] + stored[61...]
        // Its one form is eight bytes shorter.
        #expect(throws: PayloadError.entropy(.wrongByteCount(expected: 1460, got: 1468))) {
            try Self.receive(verbose)
        }
        #expect(Self.decodes(try Self.receive(stored)) != nil)
    }

    @Test func everythingElseInTheHeaderMustMatch() throws {
        for codecs in [Self.codecs, [.e3m0, .e3m0]] {
            let stored = try Self.stored(codecs)
            for index in Array(1..<10) + Array(13..<61) {
                var changed = stored
                changed[index] ^= 0x81
                #expect(throws: PayloadError.self) { try Self.receive(changed) }
            }
            for count in 0..<stored.count {
                #expect(throws: PayloadError.self) { try Self.receive(Array(stored[..<count])) }
            }
            #expect(throws: PayloadError.self) { try Self.receive(stored + [0]) }
        }
    }

    @Test func nothingAboveTheLargestSizeIsUnpacked() throws {
        let bytes = try Self.encode([.float32, .float32])
        let byteCount = 60 + 2800
        #expect(Self.decodes(try Self.receive(bytes, byteCountMax: byteCount)) == Self.values)
        #expect(throws: PayloadError.entropy(.wrongByteCount(expected: byteCount - 1, got: UInt64(byteCount)))) {
            try Self.receive(bytes, byteCountMax: byteCount - 1)
        }
        let bomb = EntropyStage.pack([UInt8](repeating: 0, count: 16 << 20))
        #expect(throws: PayloadError.entropy(.wrongByteCount(expected: 1 << 20, got: 16 << 20))) {
            try Self.receive(bomb)
        }
        let (_, fragment) = try Self.describe([])
        #expect(fragment.rawPayloadByteCountMax(codecs: [.float32]) == byteCount)
        #expect(fragment.rawPayloadByteCountMax(codecs: [.float16, .float32]) == 68 + 2800)
    }

    @Test func valuesThatOneCodecCannotHoldAreRefusedByTile() throws {
        let (description, fragment) = try Self.describe([.float32, .float16])
        #expect(throws: PayloadError.tile(TileIndex(1), .outOfRange(valueIndex: 0))) {
            try PayloadBundle.encode(description, of: fragment) { _, output in output.update(repeating: 65_505) }
        }
        let (other, _) = try Self.describe([.float32])
        #expect(throws: PayloadError.badTiles) { try PayloadBundle.encode(other, of: fragment) { _, _ in } }
    }

    @Test func encodersRememberTheirTiles() throws {
        let (description, fragment) = try Self.describe([.float32, .lowRank(rank: 2)])
        var memories: [TileIndex: EncoderMemory] = [:]
        for _ in 0..<2 {
            _ = try PayloadBundle.encode(description, of: fragment, memories: &memories) { tile, output in
                _ = output.update(fromContentsOf: Self.values[tile.range])
            }
        }
        #expect(Array(memories.keys) == [TileIndex(1)])
    }
}

@Suite struct DecoderFuzzTests {
    @Test func payloads() throws {
        var fuzzer = Fuzzer(seed: 21)
        let fragment = try smallLayout().fragments[0]
        func describe(_ codecs: [Codec]) -> PayloadDescription {
            PayloadDescription(
                kind: .contribution, codecs: codecs, fragment: fragment.index, base: Digest(hashing: [1]),
                tiles: [TileIndex(0), TileIndex(1)])
        }
        let values = samples(60, 700, 0.01)
        let choices: [[Codec]] = [
            [.e3m0, .e3m0], [.float16, .statistical(bits: 4)], [.uniform(bits: 3), .topK(kept: 64)],
            [.float32, .lowRank(rank: 3)],
        ]
        var inputs = [EntropyStage.pack([UInt8](repeating: 0, count: 16 << 20))]
        for codecs in choices {
            let packed = try PayloadBundle.encode(describe(codecs), of: fragment) { tile, output in
                _ = output.update(fromContentsOf: values[tile.range])
            }
            inputs += [packed, [0] + (try EntropyStage.unpack(packed, rawByteCountMax: 1 << 16))]
        }
        let accepted = fuzzer.run("payload", inputs) { bytes in
            let exact = try? PayloadBundle(decoding: bytes, expecting: describe([.e3m0, .e3m0]), of: fragment)
            let chosen = try? PayloadBundle(
                decoding: bytes, expecting: describe([]), of: fragment, byteCountMax: 1 << 16, allowing: { _ in true })
            var scratch: [Float] = []
            for bundle in [exact, chosen] {
                guard let bundle else { continue }
                for position in 0..<2 {
                    try? bundle.decodeTile(position, scratch: &scratch) { values in
                        #expect(values.allSatisfy { $0.magnitude <= Codec.magnitudeMax })
                    }
                }
            }
            return chosen != nil
        }
        #expect(accepted > 0)
    }
}
