/// One way to turn the float32 values of a tile into bytes; the raw value is what stands in payload headers.
package enum Codec: UInt8, Hashable, Sendable, CaseIterable {
    /// Plain little-endian float32: lossless, for tests and for comparison.
    case float32 = 0
    /// Sign, three exponent bits and no mantissa, in blocks of 256 that share a float32 scale (4.125 bits per value).
    case e3m0 = 1

    /// Values that share one scale.
    package static let blockLength = 256

    /// The largest magnitude that any codec carries: far above every sane value, far below where a product overflows.
    package static let magnitudeMax: Float = 0x1p100

    /// The exact size of `valueCount` encoded values in bytes, before the entropy stage.
    package func byteCount(ofValues valueCount: Int) -> Int {
        switch self {
        case .float32: 4 * valueCount
        case .e3m0: (valueCount + Self.blockLength - 1) / Self.blockLength * E3M0.blockByteCount
        }
    }

    /// Encodes the values of one tile.
    ///
    /// - Parameters:
    ///   - values: the tile's values, flat; all must be finite and at most `magnitudeMax`.
    ///   - bytes: exactly `byteCount(ofValues: values.count)` bytes, overwritten whole.
    /// - Throws: `CodecError.outOfRange`; `bytes` is then undefined.
    /// - Complexity: O(n), no allocation. Bit-identical on every CPU.
    package func encode(
        _ values: UnsafeBufferPointer<Float>, into bytes: UnsafeMutableRawBufferPointer
    ) throws(CodecError) {
        precondition(bytes.count == byteCount(ofValues: values.count), "the encoder's output must have its exact size")
        switch self {
        case .float32: try RawFloat.encode(values, into: bytes)
        case .e3m0: try E3M0.encode(values, into: bytes)
        }
    }

    /// Decodes one tile; total: any bytes give values or an error.
    ///
    /// - Parameters:
    ///   - bytes: the encoded tile, from anywhere.
    ///   - values: where the tile's values go; its count fixes how many bytes there must be.
    /// - Complexity: O(n), no allocation. Bit-identical on every CPU.
    package func decode(
        _ bytes: UnsafeRawBufferPointer, into values: UnsafeMutableBufferPointer<Float>
    ) throws(CodecError) {
        let expected = byteCount(ofValues: values.count)
        guard bytes.count == expected else { throw .wrongByteCount(expected: expected, got: bytes.count) }
        switch self {
        case .float32: try RawFloat.decode(bytes, into: values)
        case .e3m0: try E3M0.decode(bytes, into: values)
        }
    }
}

/// Why a tile could not be encoded or decoded.
package enum CodecError: Error, Hashable, Sendable {
    /// A value is not a number, infinite or above `Codec.magnitudeMax`.
    case outOfRange(valueIndex: Int)
    /// The bytes of a tile are not as many as its values need.
    case wrongByteCount(expected: Int, got: Int)
    /// A block's scale is negative, not a number, or outside [2^-100, 2^100] and not 0.
    case badScale(blockIndex: Int)
    /// The padding after the last value is not zero.
    case notCanonical(blockIndex: Int)
}
