/// The E3M0 codec: blocks of 256 values with one float32 scale.
enum E3M0 {
    /// Scale and 128 bytes of codes.
    static let blockByteCount = 4 + Codec.blockLength / 2
    static func encode(_ values: UnsafeBufferPointer<Float>, into bytes: UnsafeMutableRawBufferPointer) throws(CodecError) {}
    static func decode(_ bytes: UnsafeRawBufferPointer, into values: UnsafeMutableBufferPointer<Float>) throws(CodecError) {}
}
/// The identity codec.
enum RawFloat {
    static func encode(_ values: UnsafeBufferPointer<Float>, into bytes: UnsafeMutableRawBufferPointer) throws(CodecError) {}
    static func decode(_ bytes: UnsafeRawBufferPointer, into values: UnsafeMutableBufferPointer<Float>) throws(CodecError) {}
}
