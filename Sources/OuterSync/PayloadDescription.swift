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
    /// How each tile is encoded: as many as there are tiles.
    package var codecs: [Codec]
    /// The fragment.
    package var fragment: FragmentIndex
    /// The digest of the head that the gradient is measured against.
    package var base: Digest
    /// The tiles, ascending.
    package var tiles: [TileIndex]

    /// Describes a payload with one codec for all tiles.
    package init(kind: Kind, codec: Codec, fragment: FragmentIndex, base: Digest, tiles: [TileIndex]) {
        self.init(
            kind: kind, codecs: [Codec](repeating: codec, count: tiles.count), fragment: fragment, base: base,
            tiles: tiles)
    }

    /// Describes a payload with one codec per tile.
    package init(kind: Kind, codecs: [Codec], fragment: FragmentIndex, base: Digest, tiles: [TileIndex]) {
        self.kind = kind
        self.codecs = codecs
        self.fragment = fragment
        self.base = base
        self.tiles = tiles
    }

    /// Names the format and its version.
    private static let magic = Array("atollpl1".utf8)
    /// Stands where the family is, if the tiles' codecs differ.
    private static let mixedFamily: UInt8 = 0xFF
    /// Bytes of a header before the tile indices: magic, kind, codec, fragment, base and tile count.
    private static let fixedByteCount = 8 + 4 + 4 + Digest.byteCount + 4

    /// The codec that all tiles share; nil where they differ. A payload without tiles counts as float32.
    private var commonCodec: Codec? {
        guard let first = codecs.first else { return .float32 }
        return codecs.allSatisfy { $0 == first } ? first : nil
    }

    /// The header's bytes: magic | kind u8 | family u8 | level u16 | fragment u32 | base | tile count u32 | tile indices
    /// u32, and where codecs differ, family 0xFF and behind the indices per tile family u8 | 0 u8 | level u16.
    var header: [UInt8] {
        var bytes = Self.magic
        let common = commonCodec
        bytes += [kind.rawValue, common?.family ?? Self.mixedFamily]
        bytes.append(littleEndian: common?.level ?? 0)
        bytes.append(littleEndian: UInt32(fragment.value))
        bytes += base.bytes
        bytes.append(littleEndian: UInt32(tiles.count))
        for tile in tiles { bytes.append(littleEndian: UInt32(tile.value)) }
        guard common == nil else { return bytes }
        for codec in codecs {
            bytes += [codec.family, 0]
            bytes.append(littleEndian: codec.level)
        }
        return bytes
    }

    /// The size of a payload's header in bytes.
    ///
    /// - Parameter isMixed: whether the tiles' codecs differ.
    package static func headerByteCount(tileCount: Int, isMixed: Bool = false) -> Int {
        fixedByteCount + (isMixed ? 8 : 4) * tileCount
    }

    /// The codecs that a payload's bytes name, for as many tiles as this description has; nil where the header is too
    /// short or names a codec that does not exist. Checks nothing else.
    func codecs(in raw: [UInt8]) -> [Codec]? {
        let indicesEnd = Self.headerByteCount(tileCount: tiles.count)
        guard raw.count >= indicesEnd else { return nil }
        func codec(at offset: Int, level: Int) -> Codec? {
            Codec(family: raw[offset], level: UInt16(raw[level]) | UInt16(raw[level + 1]) << 8)
        }
        guard raw[9] == Self.mixedFamily else {
            return codec(at: 9, level: 10).map { [Codec](repeating: $0, count: tiles.count) }
        }
        guard raw.count >= Self.headerByteCount(tileCount: tiles.count, isMixed: true) else { return nil }
        var codecs: [Codec] = []
        for position in tiles.indices {
            let offset = indicesEnd + 4 * position
            guard let codec = codec(at: offset, level: offset + 2) else { return nil }
            codecs.append(codec)
        }
        return codecs
    }
}
