import Compression

extension FragmentHead {
    /// Names the stored form and its version.
    private static let magic = Array("atollhd2".utf8)

    /// The head as one self-checking byte string, for a `HeadStore`:
    /// "atollhd2" | scalars' count u32 | scalars | drift | tile count u32 | the tiles' chunks | head digest.
    package func encoded(fragment: FragmentLayout.Fragment) -> [UInt8] {
        var bytes = Self.magic
        bytes.reserveCapacity(64 + scalars.count + 8 * theta.count + 8 * versions.count)
        bytes.append(littleEndian: UInt32(scalars.count))
        bytes += scalars
        bytes.append(littleEndian: drift)
        bytes.append(littleEndian: UInt32(versions.count))
        for index in fragment.tiles.indices { bytes += chunk(TileIndex(index), of: fragment) }
        bytes += digest.bytes
        return bytes
    }

    /// Reads what `encoded` wrote; nil if it is torn, changed in any bit, or of another layout.
    package init?(decoding bytes: [UInt8], fragment: FragmentLayout.Fragment) {
        var reader = ByteReader(bytes)
        guard reader.take(Self.magic.count) == Self.magic, let scalarsCount = reader.word(),
            let scalars = reader.take(Int(scalarsCount)), let drift = reader.drift(), let tileCount = reader.word(),
            Int(tileCount) == fragment.tiles.count
        else { return nil }
        var chunks: [TileChunk.Contents] = []
        for tile in fragment.tiles {
            guard let bytes = reader.take(TileChunk.byteCount(ofParameters: tile.count)),
                let chunk = try? TileChunk.decode(bytes, parameterCount: tile.count)
            else { return nil }
            chunks.append(chunk)
        }
        guard let stored = reader.take(Digest.byteCount), reader.remaining == 0 else { return nil }
        self.init(chunks: chunks, scalars: scalars, drift: drift, fragment: fragment)
        guard digest.bytes == stored else { return nil }
    }

    /// A head from the chunks of all its tiles, in tile order.
    init(
        chunks: [TileChunk.Contents], scalars: [UInt8], drift: OuterDrift, fragment: FragmentLayout.Fragment
    ) {
        var theta: [Float] = []
        var velocity: [Float] = []
        theta.reserveCapacity(fragment.parameterCount)
        velocity.reserveCapacity(fragment.parameterCount)
        for chunk in chunks {
            theta += chunk.theta
            velocity += chunk.velocity
        }
        self.init(
            theta: theta, velocity: velocity, versions: chunks.map(\.version), scalars: scalars, drift: drift,
            fragment: fragment)
    }
}
