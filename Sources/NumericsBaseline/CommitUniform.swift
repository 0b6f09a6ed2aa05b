// Max-min uniform levels, in blocks of 256 values: the loops of Compression's Uniform.

/// Values in a block.
private let blockLength = 256

/// Quantizes whole blocks: code = round((x - lo) / step), ties to even, step = (hi - lo) / (2^bits - 1).
///
/// A block whose values span less than 2^-100 has step 0 and codes 0.
/// - Parameters:
///   - values: [256 * blockCount] float32.
///   - bits: 1 to 8.
///   - headers: [blockCount] of lo and step, float32, unaligned little-endian; overwritten.
///   - codes: [256 * blockCount] bytes; overwritten.
/// - Returns: the first block that holds an infinity, a NaN or a magnitude above 2^100, or -1 if none does.
package func commitUniformEncode(
    _ values: UnsafePointer<Float>, blockCount: Int, bits: Int, headers: UnsafeMutableRawPointer,
    codes: UnsafeMutablePointer<UInt8>
) -> Int {
    let top = Float(1 &<< bits &- 1)
    for block in 0..<blockCount {
        let values = values + block * blockLength
        let codes = codes + block * blockLength
        let words = UnsafeRawPointer(values).assumingMemoryBound(to: Int32.self)
        // Two's complement integers in the order of the floats: negative ones have their lower bits flipped.
        var least = Int32.max
        var largest = Int32.min
        for index in 0..<blockLength {
            let ordered = words[index] ^ ((words[index] &>> 31) & 0x7FFF_FFFF)
            least = ordered < least ? ordered : least
            largest = ordered > largest ? ordered : largest
        }
        if largest > 0x7180_0000 || least < ~0x7180_0000 { return block }
        // Adding 0 makes -0 the one zero.
        let low = Float(bitPattern: UInt32(bitPattern: least ^ ((least &>> 31) & 0x7FFF_FFFF))) + 0
        let high = Float(bitPattern: UInt32(bitPattern: largest ^ ((largest &>> 31) & 0x7FFF_FFFF)))
        let span = high - low
        var step: Float = 0
        if span >= 0x1p-100 {
            step = span / top
            // Rounding must not carry the topmost level out of the range.
            if low + top * step > 0x1p100 { step = Float(bitPattern: step.bitPattern &- 1) }
        }
        headers.storeBytes(of: low.bitPattern.littleEndian, toByteOffset: 8 * block, as: UInt32.self)
        headers.storeBytes(of: step.bitPattern.littleEndian, toByteOffset: 8 * block + 4, as: UInt32.self)
        if step == 0 {
            for index in 0..<blockLength { codes[index] = 0 }
            continue
        }
        let inverse = 1 / step
        for index in 0..<blockLength {
            // Adding 2^23 leaves the rounded integer in the low bits.
            let shifted = (values[index] - low) * inverse + 0x1p23
            codes[index] = UInt8(truncatingIfNeeded: shifted.bitPattern)
        }
    }
    return -1
}

/// Decodes whole blocks: lo + code * step.
///
/// - Parameters:
///   - headers: [blockCount] of lo and step, float32, unaligned little-endian, in range (the caller has checked).
///   - codes: [256 * blockCount] bytes.
///   - values: [256 * blockCount] float32; overwritten.
package func commitUniformDecode(
    headers: UnsafeRawPointer, codes: UnsafePointer<UInt8>, blockCount: Int, values: UnsafeMutablePointer<Float>
) {
    for block in 0..<blockCount {
        let low = Float(
            bitPattern: UInt32(littleEndian: headers.loadUnaligned(fromByteOffset: 8 * block, as: UInt32.self)))
        let step = Float(
            bitPattern: UInt32(littleEndian: headers.loadUnaligned(fromByteOffset: 8 * block + 4, as: UInt32.self)))
        let codes = codes + block * blockLength
        let values = values + block * blockLength
        for index in 0..<blockLength { values[index] = low + Float(Int32(codes[index])) * step }
    }
}
