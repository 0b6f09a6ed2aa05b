package import Compression

/// What a payload must be, by the commit path: everything in its header, and so its exact size, is known to a receiver.
package struct PayloadDescription: Hashable, Sendable {
    /// The two uses of the format.
    package enum Kind: UInt8, Hashable, Sendable {
        /// One member's outer gradient.
        case contribution = 1
        /// The mean of some members' outer gradients.
        case result = 2
    }

    /// The use.
    package var kind: Kind
    /// How tiles are encoded.
    package var codec: Codec
    /// The fragment.
    package var fragment: FragmentIndex
    /// The digest of the head that the gradient is measured against.
    package var base: Digest
    /// The tiles, ascending.
    package var tiles: [TileIndex]

    /// Wraps the fields.
    package init(kind: Kind, codec: Codec, fragment: FragmentIndex, base: Digest, tiles: [TileIndex]) {
        self.kind = kind
        self.codec = codec
        self.fragment = fragment
        self.base = base
        self.tiles = tiles
    }

    /// Names the format and its version.
    private static let magic = Array("atollpl1".utf8)

    /// The header's bytes: magic | kind u8 | codec u8 | 0 u16 | fragment u32 | base | tile count u32 | tile indices u32.
    var header: [UInt8] {
        var bytes = Self.magic
        bytes += [kind.rawValue, codec.rawValue, 0, 0]
        bytes.append(littleEndian: UInt32(fragment.value))
        bytes += base.bytes
        bytes.append(littleEndian: UInt32(tiles.count))
        for tile in tiles { bytes.append(littleEndian: UInt32(tile.value)) }
        return bytes
    }

    /// The size of a payload's header in bytes.
    package static func headerByteCount(tileCount: Int) -> Int { 8 + 4 + 4 + Digest.byteCount + 4 + 4 * tileCount }
}

/// Why bytes are not the payload that they should be.
package enum PayloadError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The tiles asked for are not ascending tiles of the fragment.
    case badTiles
    /// The entropy stage refused the bytes.
    case entropy(EntropyError)
    /// The header differs from the expected one.
    case wrongHeader(offset: Int)
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
        case .tile(let tile, let error): "tile \(tile.value) does not decode: \(error)"
        case .tooLarge(let tile): "tile \(tile.value) holds a value above \(PayloadBundle.magnitudeMax)"
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
    /// - Parameter fill: writes a tile's values into the buffer.
    /// - Throws: `PayloadError.tile` where a value is not finite.
    /// - Complexity: O(parameters); allocates the raw and the packed bytes and the largest tile.
    package static func encode(
        _ description: PayloadDescription, of fragment: FragmentLayout.Fragment,
        fill: (FragmentLayout.Tile, UnsafeMutableBufferPointer<Float>) -> Void
    ) throws(PayloadError) -> [UInt8] {
        guard let tiles = fragment.tiles(at: description.tiles) else { throw .badTiles }
        let header = description.header
        let bodyByteCount = tiles.reduce(0) { $0 + description.codec.byteCount(ofValues: $1.count) }
        var raw = header
        raw.append(contentsOf: repeatElement(0, count: bodyByteCount))
        var values = [Float](repeating: 0, count: tiles.map(\.count).max() ?? 0)
        var offset = header.count
        for (index, tile) in zip(description.tiles, tiles) {
            let byteCount = description.codec.byteCount(ofValues: tile.count)
            let error = values.withUnsafeMutableBufferPointer { values -> CodecError? in
                let values = UnsafeMutableBufferPointer(rebasing: values[..<tile.count])
                fill(tile, values)
                return raw.withUnsafeMutableBytes { raw -> CodecError? in
                    let bytes = UnsafeMutableRawBufferPointer(rebasing: raw[offset..<offset + byteCount])
                    do throws(CodecError) {
                        try description.codec.encode(UnsafeBufferPointer(values), into: bytes)
                        return nil
                    } catch { return error }
                }
            }
            if let error { throw .tile(index, error) }
            offset += byteCount
        }
        return EntropyStage.pack(raw)
    }

    /// Unpacks a payload from anywhere and checks its header and size; tiles are checked as they are decoded.
    package init(
        decoding packed: [UInt8], expecting description: PayloadDescription, of fragment: FragmentLayout.Fragment
    ) throws(PayloadError) {
        guard let tiles = fragment.tiles(at: description.tiles) else { throw .badTiles }
        let header = description.header
        var offsets: [Int] = []
        var byteCount = header.count
        for tile in tiles {
            offsets.append(byteCount)
            byteCount += description.codec.byteCount(ofValues: tile.count)
        }
        do throws(EntropyError) {
            raw = try EntropyStage.unpack(packed, rawByteCount: byteCount)
        } catch { throw .entropy(error) }
        for (offset, (expected, got)) in zip(header, raw).enumerated() where expected != got {
            throw .wrongHeader(offset: offset)
        }
        self.description = description
        self.tiles = tiles
        self.offsets = offsets
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
        let count = tiles[position].count
        let offset = offsets[position]
        let byteCount = description.codec.byteCount(ofValues: count)
        if scratch.count < count { scratch = [Float](repeating: 0, count: count) }
        let error = scratch.withUnsafeMutableBufferPointer { scratch -> CodecError? in
            let values = UnsafeMutableBufferPointer(rebasing: scratch[..<count])
            let failed = raw.withUnsafeBytes { raw -> CodecError? in
                do throws(CodecError) {
                    try description.codec.decode(
                        UnsafeRawBufferPointer(rebasing: raw[offset..<offset + byteCount]), into: values)
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
    package func payloadByteCountMax(codec: Codec) -> Int {
        tiles.reduce(1 + PayloadDescription.headerByteCount(tileCount: tiles.count)) {
            $0 + codec.byteCount(ofValues: $1.count)
        }
    }

    /// The most bytes that a chunk of one of its tiles can have.
    package var chunkByteCountMax: Int { TileChunk.byteCount(ofParameters: tiles.map(\.count).max() ?? 0) }
}
