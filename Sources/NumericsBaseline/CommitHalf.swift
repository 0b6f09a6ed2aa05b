// IEEE half precision for the commit path, without conversion instructions, so that every CPU gives the same bits and the
// compiler vectorises the loops. Callers check counts and refuse what the returned magnitudes say.

/// Encodes float32 as half precision, rounded to nearest even.
///
/// - Parameters:
///   - values: [count] float32.
///   - halves: [count] 16-bit little-endian words, unaligned; overwritten.
/// - Returns: the bits of the largest magnitude; above 0x477F_E000 (65504) the halves mean nothing.
package func commitHalfEncode(_ values: UnsafePointer<Float>, count: Int, halves: UnsafeMutableRawPointer) -> UInt32 {
    let words = UnsafeRawPointer(values).assumingMemoryBound(to: Int32.self)
    var largest: Int32 = 0
    for index in 0..<count {
        let bits = words[index]
        let magnitude = bits & 0x7FFF_FFFF
        largest = magnitude > largest ? magnitude : largest
        // Half of the last kept bit, less one where that bit is even, carries as rounding to nearest even does.
        let odd = (magnitude &>> 13) & 1
        let normal = (magnitude &+ 0xFFF &+ odd &- 112 << 23) &>> 13
        // The last bit of numbers in [0.5, 1) is 2^-24, that of half precision's subnormal numbers.
        let shifted = Float(bitPattern: UInt32(bitPattern: magnitude)) + 0.5
        let small = Int32(bitPattern: shifted.bitPattern) &- 0x3F00_0000
        let half = (magnitude < 0x3880_0000 ? small : normal) | (bits &>> 16) & 0x8000
        halves.storeBytes(
            of: UInt16(truncatingIfNeeded: half).littleEndian, toByteOffset: 2 * index, as: UInt16.self)
    }
    return UInt32(bitPattern: largest)
}

/// Decodes half precision; exact.
///
/// - Parameters:
///   - halves: [count] 16-bit little-endian words, unaligned.
///   - values: [count] float32; overwritten.
/// - Returns: the largest magnitude's bits; at 0x7C00 and above some value is infinite or no number.
package func commitHalfDecode(_ halves: UnsafeRawPointer, count: Int, values: UnsafeMutablePointer<Float>) -> UInt32 {
    var largest: Int32 = 0
    for index in 0..<count {
        let half = Int32(UInt16(littleEndian: halves.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self)))
        let magnitude = half & 0x7FFF
        largest = magnitude > largest ? magnitude : largest
        let normal = (magnitude &<< 13) &+ 112 << 23
        let small = Int32(bitPattern: (Float(magnitude) * 0x1p-24).bitPattern)
        let bits = (magnitude < 0x400 ? small : normal) | (half & 0x8000) &<< 16
        values[index] = Float(bitPattern: UInt32(bitPattern: bits))
    }
    return UInt32(bitPattern: largest)
}
