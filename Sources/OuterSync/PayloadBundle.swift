package import Compression
import NumericsBaseline

/// Why bytes are not the payload that they should be.
package enum PayloadError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The tiles asked for are not ascending tiles of the fragment.
    case badTiles
    /// The entropy stage refused the bytes.
    case entropy(EntropyError)
    /// The header differs from the expected one.
    case wrongHeader(offset: Int)
    /// The header names a codec that does not exist, or one that is not allowed.
    case badCodec
    /// A tile's bytes do not decode.
    case tile(TileIndex, CodecError)
    /// A tile holds a value that no training gives.
    case tooLarge(TileIndex)

    /// The rule that was broken, in words.
    package var description: String {
        switch self {
        case .badTiles: "the tiles are not ascending tiles of the fragment"
        case .entropy(let error): "the packed bytes are refused: \(error)"
        case .wrongHeader(let offset): "the header differs from the expected one at byte \(offset)"
        case .badCodec: "the header names a codec that does not exist or is not allowed"
        case .tile(let tile, let error): "tile \(tile.value) does not decode: \(error)"
        case .tooLarge(let tile): "tile \(tile.value) holds a value above all that training gives"
        }
    }
}

/// A contribution or a result: header, then the codec bytes of every tile, packed as one by the entropy stage.
///
/// Format: protocols/payload.md.
package struct PayloadBundle: Sendable {
    /// Largest magnitude of a value in a contribution: weights are of order one and their changes far smaller, so more
    /// than this is nonsense, and less can never overflow a head.
    package static let magnitudeMax: Float = 65_536

    /// What it is.
    package let description: PayloadDescription
    /// The tiles' places in the fragment.
    let tiles: [FragmentLayout.Tile]
    /// Where each tile's bytes start in `raw`.
    private let offsets: [Int]
    /// Header and codec bytes.
    private let raw: [UInt8]

    /// Encodes tiles and packs them.
    ///
    /// - Parameters:
    ///   - memories: what the encoders keep of earlier messages, by tile.
    ///   - fill: writes a tile's values into the buffer.
    /// - Throws: `PayloadError.tile` where a value is not finite or above what its codec takes.
    /// - Complexity: O(parameters); allocates the raw and the packed bytes and the largest tile.
    package static func encode(
        _ description: PayloadDescription, of fragment: FragmentLayout.Fragment,
        memories: inout [TileIndex: EncoderMemory],
        fill: (FragmentLayout.Tile, UnsafeMutableBufferPointer<Float>) -> Void
    ) throws(PayloadError) -> [UInt8] {
        guard let tiles = fragment.tiles(at: description.tiles), description.codecs.count == tiles.count else {
            throw .badTiles
        }
        let (offsets, byteCount) = places(of: tiles, description)
        var raw = description.header
        raw.append(contentsOf: repeatElement(0, count: byteCount - raw.count))
        var values = [Float](repeating: 0, count: tiles.map(\.count).max() ?? 0)
        for (position, tile) in tiles.enumerated() {
            let index = description.tiles[position]
            let codec = description.codecs[position]
            var memory = memories[index] ?? EncoderMemory()
            let error = values.withUnsafeMutableBufferPointer { values -> CodecError? in
                let values = UnsafeMutableBufferPointer(rebasing: values[..<tile.count])
                fill(tile, values)
                return raw.withUnsafeMutableBytes { raw -> CodecError? in
                    let range = offsets[position]..<offsets[position] + codec.byteCount(of: tile.shape)
                    do throws(CodecError) {
                        try codec.encode(
                            UnsafeBufferPointer(values), shape: tile.shape, memory: &memory,
                            into: UnsafeMutableRawBufferPointer(rebasing: raw[range]))
                        return nil
                    } catch { return error }
                }
            }
            if let error { throw .tile(index, error) }
            if !memory.isEmpty { memories[index] = memory }
        }
        return EntropyStage.pack(raw, indexSections: indexSections(of: tiles, description, offsets))
    }

    /// Encodes tiles by encoders without memory, and packs them.
    package static func encode(
        _ description: PayloadDescription, of fragment: FragmentLayout.Fragment,
        fill: (FragmentLayout.Tile, UnsafeMutableBufferPointer<Float>) -> Void
    ) throws(PayloadError) -> [UInt8] {
        var memories: [TileIndex: EncoderMemory] = [:]
        return try encode(description, of: fragment, memories: &memories, fill: fill)
    }

    /// Where each tile's bytes start, and where the last ones end.
    private static func places(
        of tiles: [FragmentLayout.Tile], _ description: PayloadDescription
    ) -> (offsets: [Int], byteCount: Int) {
        var offsets: [Int] = []
        var byteCount = description.header.count
        for (tile, codec) in zip(tiles, description.codecs) {
            offsets.append(byteCount)
            byteCount += codec.byteCount(of: tile.shape)
        }
        return (offsets, byteCount)
    }

    /// Where indices stand that the entropy stage sends as gaps.
    private static func indexSections(
        of tiles: [FragmentLayout.Tile], _ description: PayloadDescription, _ offsets: [Int]
    ) -> [IndexSection] {
        zip(zip(tiles, description.codecs), offsets).flatMap { tile, offset in
            tile.1.indexSections(ofValues: tile.0.count, at: offset)
        }
    }

    /// Unpacks a payload from anywhere and checks its header and size; tiles are checked as they are decoded.
    package init(
        decoding packed: [UInt8], expecting description: PayloadDescription, of fragment: FragmentLayout.Fragment
    ) throws(PayloadError) {
        guard let tiles = fragment.tiles(at: description.tiles), description.codecs.count == tiles.count else {
            throw .badTiles
        }
        let (offsets, byteCount) = Self.places(of: tiles, description)
        do throws(EntropyError) {
            raw = try EntropyStage.unpack(
                packed, rawByteCount: byteCount, indexSections: Self.indexSections(of: tiles, description, offsets))
        } catch { throw .entropy(error) }
        try Self.compare(raw, with: description.header)
        self.description = description
        self.tiles = tiles
        self.offsets = offsets
    }

    /// Unpacks a payload from anywhere whose sender chose the codecs: everything else must be as described.
    ///
    /// - Parameters:
    ///   - description: what the payload must be; its codecs do not matter.
    ///   - byteCountMax: the largest unpacked size; nothing larger is ever allocated.
    ///   - isAllowed: whether a codec may be used.
    package init(
        decoding packed: [UInt8], expecting description: PayloadDescription, of fragment: FragmentLayout.Fragment,
        byteCountMax: Int, allowing isAllowed: (Codec) -> Bool
    ) throws(PayloadError) {
        guard let tiles = fragment.tiles(at: description.tiles) else { throw .badTiles }
        do throws(EntropyError) {
            // The header stands before the first index, so it is whole in what the gaps leave.
            raw = try EntropyStage.unpack(packed, rawByteCountMax: byteCountMax) { rest in
                var named = description
                guard let codecs = description.codecs(in: rest) else { return nil }
                named.codecs = codecs
                let (offsets, byteCount) = Self.places(of: tiles, named)
                return (Self.indexSections(of: tiles, named, offsets), byteCount)
            }
        } catch { throw .entropy(error) }
        guard let codecs = description.codecs(in: raw), codecs.allSatisfy(isAllowed) else { throw .badCodec }
        var chosen = description
        chosen.codecs = codecs
        let (offsets, byteCount) = Self.places(of: tiles, chosen)
        guard raw.count == byteCount else {
            throw .entropy(.wrongByteCount(expected: byteCount, got: UInt64(raw.count)))
        }
        // With the codecs that it names, a header has one form.
        try Self.compare(raw, with: chosen.header)
        self.description = chosen
        self.tiles = tiles
        self.offsets = offsets
    }

    private static func compare(_ raw: [UInt8], with header: [UInt8]) throws(PayloadError) {
        for (offset, (expected, got)) in zip(header, raw).enumerated() where expected != got {
            throw .wrongHeader(offset: offset)
        }
    }

    /// Largest magnitude of a value in a result: means of what contributions may hold, with what an owner adds, are below.
    package static let resultMagnitudeMax: Float = 0x1p24

    /// Decodes every tile, and refuses values that no mean has: they would spoil a head for ever.
    func checkResult() throws(PayloadError) {
        var scratch: [Float] = []
        for position in tiles.indices {
            var largest: Float = 0
            try decodeTile(position, scratch: &scratch) { values in
                guard let start = values.baseAddress else { return }
                largest = Float(bitPattern: commitMeasure(start, count: values.count).largestMagnitudeBits)
            }
            guard largest <= Self.resultMagnitudeMax else { throw .tooLarge(description.tiles[position]) }
        }
    }

    /// Decodes one tile.
    ///
    /// - Parameters:
    ///   - position: the tile's position in the bundle.
    ///   - scratch: room for its values; grown where it is too small, reused where not.
    ///   - body: receives the values; all finite.
    package func decodeTile(
        _ position: Int, scratch: inout [Float], _ body: (UnsafeBufferPointer<Float>) -> Void
    ) throws(PayloadError) {
        let shape = tiles[position].shape
        let count = shape.count
        let codec = description.codecs[position]
        let range = offsets[position]..<offsets[position] + codec.byteCount(of: shape)
        if scratch.count < count { scratch = [Float](repeating: 0, count: count) }
        let error = scratch.withUnsafeMutableBufferPointer { scratch -> CodecError? in
            let values = UnsafeMutableBufferPointer(rebasing: scratch[..<count])
            let failed = raw.withUnsafeBytes { raw -> CodecError? in
                do throws(CodecError) {
                    try codec.decode(UnsafeRawBufferPointer(rebasing: raw[range]), shape: shape, into: values)
                    return nil
                } catch { return error }
            }
            if failed == nil { body(UnsafeBufferPointer(values)) }
            return failed
        }
        if let error { throw .tile(description.tiles[position], error) }
    }
}

extension FragmentLayout.Fragment {
    /// The most bytes that a packed payload with all tiles of the fragment can have.
    package func payloadByteCountMax(_ encoding: PayloadEncoding) -> Int {
        let byteCount = max(byteCount(encoding.contribution), byteCount(encoding.result))
        guard !encoding.ladder.isEmpty else { return 1 + byteCount }
        let results = encoding.resultCodecs.map { self.byteCount($0) }
        return 1 + max(byteCount, results.max() ?? 0, rawContributionByteCountMax(encoding, tiles: tiles))
    }

    /// The most bytes of an unpacked contribution with some tiles, of which each has one of the charter's codecs.
    package func rawContributionByteCountMax(_ encoding: PayloadEncoding, tiles: [FragmentLayout.Tile]) -> Int {
        var byteCount = PayloadDescription.headerByteCount(tileCount: tiles.count, isMixed: true)
        let sizes = encoding.contributionCodecs.map { codec in
            zip(PayloadEncoding.codecs(codec, for: tiles), tiles).map { $0.byteCount(of: $1.shape) }
        }
        for index in tiles.indices { byteCount += sizes.map { $0[index] }.max() ?? 0 }
        return byteCount
    }

    /// The exact unpacked size of a payload with all tiles, header included, in a codec of the charter.
    package func byteCount(_ codec: Codec) -> Int {
        let codecs = PayloadEncoding.codecs(codec, for: tiles)
        let header = PayloadDescription.headerByteCount(tileCount: tiles.count, isMixed: Set(codecs).count > 1)
        return zip(codecs, tiles).reduce(header) { $0 + $1.0.byteCount(of: $1.1.shape) }
    }

    /// The most bytes of an unpacked payload whose sender chooses a codec per tile from among these.
    package func rawPayloadByteCountMax(codecs: [Codec]) -> Int {
        let header = PayloadDescription.headerByteCount(tileCount: tiles.count, isMixed: codecs.count > 1)
        return tiles.reduce(header) { sum, tile in
            sum + (codecs.map { $0.byteCount(of: tile.shape) }.max() ?? 0)
        }
    }

    /// The most bytes that a chunk of one of its tiles can have.
    package var chunkByteCountMax: Int { TileChunk.byteCount(ofParameters: tiles.map(\.count).max() ?? 0) }
}
