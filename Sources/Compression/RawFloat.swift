import NumericsBaseline

/// The identity codec: little-endian float32.
enum RawFloat {
    /// Copies the values of one tile.
    static func encode(
        _ values: UnsafeBufferPointer<Float>, into bytes: UnsafeMutableRawBufferPointer
    ) throws(CodecError) {
        try check(values)
        bytes.copyMemory(from: UnsafeRawBufferPointer(values))
    }

    /// Copies the bytes of one tile and checks every value.
    static func decode(
        _ bytes: UnsafeRawBufferPointer, into values: UnsafeMutableBufferPointer<Float>
    ) throws(CodecError) {
        UnsafeMutableRawBufferPointer(values).copyMemory(from: bytes)
        try check(UnsafeBufferPointer(values))
    }

    private static func check(_ values: UnsafeBufferPointer<Float>) throws(CodecError) {
        guard let start = values.baseAddress else { return }
        let largest = commitMeasure(start, count: values.count).largestMagnitudeBits
        guard largest > Codec.magnitudeMax.bitPattern else { return }
        for index in values.indices where !(values[index].magnitude <= Codec.magnitudeMax) {
            throw .outOfRange(valueIndex: index)
        }
    }
}

#if _endian(big)
    #error("payloads are little-endian and copied as they are")
#endif
