import NumericsBaseline

/// Half precision: each value rounded to nearest even, subnormal numbers included. Format: protocols/payload.md.
enum Half {
    /// The largest finite number of the format; greater ones are refused rather than rounded to it.
    static let magnitudeMax: Float = 65_504
    /// The bits of infinity.
    private static let infinity: UInt32 = 0x7C00

    /// Encodes the values of one tile; `bytes` has the exact size.
    static func encode(
        _ values: UnsafeBufferPointer<Float>, into bytes: UnsafeMutableRawBufferPointer
    ) throws(CodecError) {
        guard let input = values.baseAddress, let output = bytes.baseAddress else { return }
        guard commitHalfEncode(input, count: values.count, halves: output) <= magnitudeMax.bitPattern else {
            throw .firstOutOfRange(in: values, magnitudeMax: magnitudeMax)
        }
    }

    /// Decodes one tile; `bytes` has the exact size.
    static func decode(
        _ bytes: UnsafeRawBufferPointer, into values: UnsafeMutableBufferPointer<Float>
    ) throws(CodecError) {
        guard let input = bytes.baseAddress, let output = values.baseAddress else { return }
        guard commitHalfDecode(input, count: values.count, values: output) >= infinity else { return }
        for index in values.indices {
            let half = UInt16(littleEndian: input.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self))
            if UInt32(half & 0x7FFF) >= infinity { throw .outOfRange(valueIndex: index) }
        }
    }
}
