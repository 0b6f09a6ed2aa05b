import Compression
import NumericsBaseline

/// Why bytes are not a tile's chunk.
package enum TileChunkError: Error, Hashable, Sendable {
    /// The size is not the tile's.
    case wrongByteCount(expected: Int, got: Int)
    /// The count inside is not the tile's.
    case wrongParameterCount(expected: Int, got: UInt32)
    /// A parameter or a momentum is not finite.
    case notFinite
}

/// One tile of a head as bytes: version u32 | count u32 | Theta float32 × count | v float32 × count, all little-endian.
///
/// The chunk's digest as a blob is the tile's leaf in the head's tree.
package enum TileChunk {
    /// A decoded chunk.
    package struct Contents: Hashable, Sendable {
        /// How many final commits moved the tile.
        package var version: UInt32
        /// The shared parameters.
        package var theta: [Float]
        /// The outer momentum.
        package var velocity: [Float]
    }

    /// The size of a chunk in bytes.
    package static func byteCount(ofParameters count: Int) -> Int { 8 + 8 * count }

    /// Encodes a tile.
    package static func encode(version: UInt32, theta: ArraySlice<Float>, velocity: ArraySlice<Float>) -> [UInt8] {
        precondition(theta.count == velocity.count, "a tile has one momentum per parameter")
        var bytes: [UInt8] = []
        bytes.reserveCapacity(byteCount(ofParameters: theta.count))
        bytes.append(littleEndian: version)
        bytes.append(littleEndian: UInt32(theta.count))
        theta.withUnsafeBytes { bytes.append(contentsOf: $0) }
        velocity.withUnsafeBytes { bytes.append(contentsOf: $0) }
        return bytes
    }

    /// The digest of the chunk, without building it.
    static func leaf(version: UInt32, theta: ArraySlice<Float>, velocity: ArraySlice<Float>) -> Digest {
        var start: [UInt8] = []
        start.append(littleEndian: version)
        start.append(littleEndian: UInt32(theta.count))
        var hasher = BlobHasher(byteCount: byteCount(ofParameters: theta.count))
        hasher.update(start)
        theta.withUnsafeBytes { hasher.update($0) }
        velocity.withUnsafeBytes { hasher.update($0) }
        return hasher.finalize()
    }

    /// Decodes a chunk from anywhere; total.
    ///
    /// - Parameter parameterCount: the tile's number of parameters, from the layout.
    package static func decode(_ bytes: [UInt8], parameterCount: Int) throws(TileChunkError) -> Contents {
        let expected = byteCount(ofParameters: parameterCount)
        guard bytes.count == expected else { throw .wrongByteCount(expected: expected, got: bytes.count) }
        var reader = ByteReader(bytes)
        guard let version = reader.word(), let count = reader.word() else {
            throw .wrongByteCount(expected: expected, got: bytes.count)
        }
        guard Int(count) == parameterCount else {
            throw .wrongParameterCount(expected: parameterCount, got: count)
        }
        guard let theta = reader.floats(parameterCount), let velocity = reader.floats(parameterCount) else {
            throw .wrongByteCount(expected: expected, got: bytes.count)
        }
        guard theta.allFinite, velocity.allFinite else { throw .notFinite }
        return Contents(version: version, theta: theta, velocity: velocity)
    }
}

extension [Float] {
    /// Whether no value is infinite or not a number.
    var allFinite: Bool {
        withUnsafeBufferPointer { values in
            guard let start = values.baseAddress else { return true }
            return commitMeasure(start, count: values.count).largestMagnitudeBits < 0x7F80_0000
        }
    }
}

#if _endian(big)
    #error("chunks and payloads are little-endian and copied as they are")
#endif
