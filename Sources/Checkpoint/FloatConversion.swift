#if _endian(big)
    #error("tensor files are little-endian, and their bytes are taken as they are")
#endif

/// Conversion between float32 and the types of tensor files.
///
/// Every loop is free of branches and library calls, so that the compiler makes vector code of it for any processor.
/// IEEE binary16 is computed with integers, because Float16 is not available on every platform.
enum FloatConversion {
    /// Values converted at a time: their bytes stay in the cache between reading, converting and checking.
    static let blockCount = 1 << 16

    /// Whether all values are neither NaN nor infinity.
    static func areFinite(_ values: UnsafeBufferPointer<Float>) -> Bool {
        // An exponent of ones, and no other, carries into the sign bit.
        var carry: UInt32 = 0
        for value in values { carry |= (value.bitPattern & 0x7f80_0000) &+ 0x0080_0000 }
        return carry & 0x8000_0000 == 0
    }

    // MARK: To float32

    /// Widens little-endian elements at any alignment: F32, F16 and BF16 exactly, F64 rounded to nearest, ties to even.
    ///
    /// - Precondition: `type.isReadable`, and `raw` holds target.count elements.
    static func widen(
        _ raw: UnsafeRawBufferPointer, _ type: ElementType, into target: UnsafeMutableBufferPointer<Float>
    ) {
        precondition(type.isReadable && raw.count == target.count * type.bits / 8, "as many elements as values")
        guard let source = raw.baseAddress, let values = target.baseAddress else { return }
        switch type {
        case .bf16:
            for index in 0..<target.count {
                let bits = source.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self)
                values[index] = Float(bitPattern: UInt32(bits) << 16)
            }
        case .f16:
            for index in 0..<target.count {
                values[index] = float(halfBits: source.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self))
            }
        case .f64:
            for index in 0..<target.count {
                values[index] = Float(source.loadUnaligned(fromByteOffset: 8 * index, as: Double.self))
            }
        default: UnsafeMutableRawPointer(values).copyMemory(from: source, byteCount: raw.count)
        }
    }

    /// IEEE binary16 to binary32, exact.
    @inline(__always)
    static func float(halfBits bits: UInt16) -> Float {
        let sign = UInt32(bits & 0x8000) << 16
        let magnitude = UInt32(bits & 0x7fff) << 13
        // The exponent's bias goes from 15 to 127.
        let normal = magnitude &+ 112 << 23
        let special = magnitude &+ 224 << 23
        // Below 2^-14 the fraction has no leading one: put it behind one, and take that away.
        let small = (Float(bitPattern: magnitude &+ 113 << 23) - 0x1p-14).bitPattern
        let exponent = bits & 0x7c00
        let chosen = exponent == 0 ? small : exponent == 0x7c00 ? special : normal
        return Float(bitPattern: sign | chosen)
    }

    // MARK: From float32

    /// Narrows finite values to a type, rounded to nearest, ties to even; false if one is beyond its range.
    ///
    /// - Parameter raw: room for values.count elements, at any alignment; the result is little-endian.
    static func narrow(
        _ values: UnsafeBufferPointer<Float>, _ type: FloatType, into raw: UnsafeMutableRawBufferPointer
    ) -> Bool {
        precondition(raw.count == values.count * type.byteCount, "as many elements as values")
        guard let source = values.baseAddress, let target = raw.baseAddress else { return true }
        var carry: UInt16 = 0
        switch type {
        case .float32: target.copyMemory(from: source, byteCount: raw.count)
        case .bfloat16:
            for index in 0..<values.count {
                let bits = source[index].bitPattern
                let narrowed = UInt16(truncatingIfNeeded: (bits &+ 0x7fff &+ (bits >> 16 & 1)) >> 16)
                carry |= (narrowed & 0x7f80) &+ 0x0080
                target.storeBytes(of: narrowed, toByteOffset: 2 * index, as: UInt16.self)
            }
        case .float16:
            for index in 0..<values.count {
                let narrowed = halfBits(source[index])
                carry |= (narrowed & 0x7c00) &+ 0x0400
                target.storeBytes(of: narrowed, toByteOffset: 2 * index, as: UInt16.self)
            }
        }
        return carry & 0x8000 == 0
    }

    /// A finite binary32 as IEEE binary16, rounded to nearest, ties to even; infinity beyond 65519.
    @inline(__always)
    static func halfBits(_ value: Float) -> UInt16 {
        let sign = value.bitPattern >> 16 & 0x8000
        let magnitude = value.bitPattern & 0x7fff_ffff
        // Below 2^-14: adding 0.5 moves the value to where float32 has the spacing of the small half-precision numbers,
        // and rounds it there.
        let small = (Float(bitPattern: magnitude) + 0.5).bitPattern &- 0x3f00_0000
        // The exponent's bias goes from 127 to 15; then ties go to the even fraction.
        let normal = (magnitude &- 112 << 23 &+ 0x0fff &+ (magnitude >> 13 & 1)) >> 13
        let chosen = magnitude < 113 << 23 ? small : magnitude >= 143 << 23 ? 0x7c00 : normal
        return UInt16(truncatingIfNeeded: sign | chosen)
    }
}
