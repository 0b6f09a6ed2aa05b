// Codes of 1 to 8 bits, packed without gaps: bit k of code i is bit (i * bits + k) % 8 of byte (i * bits + k) / 8. Eight codes
// fill `bits` bytes, so words of eight bytes are folded and spread.

/// Packs codes, eight at a time.
///
/// - Parameters:
///   - codes: [8 * groupCount] bytes, each below 2^bits.
///   - packed: [bits * groupCount] bytes; overwritten, and no byte beyond them.
package func commitPack(
    _ codes: UnsafePointer<UInt8>, groupCount: Int, bits: Int, packed: UnsafeMutableRawPointer
) {
    let source = UnsafeRawPointer(codes)
    // A store of eight bytes may reach into the next seven groups, which come later.
    let whole = groupCount > 7 ? groupCount - 7 : 0
    for group in 0..<groupCount {
        var word = UInt64(littleEndian: source.loadUnaligned(fromByteOffset: 8 * group, as: UInt64.self))
        word = fold(word, bits)
        if group < whole {
            packed.storeBytes(of: word.littleEndian, toByteOffset: bits * group, as: UInt64.self)
        } else {
            for byte in 0..<bits {
                packed.storeBytes(
                    of: UInt8(truncatingIfNeeded: word &>> UInt64(8 * byte)), toByteOffset: bits * group + byte,
                    as: UInt8.self)
            }
        }
    }
}

/// Unpacks codes, eight at a time.
///
/// - Parameters:
///   - packed: [bits * groupCount] bytes; none beyond them is read.
///   - codes: [8 * groupCount] bytes; overwritten.
package func commitUnpack(
    _ packed: UnsafeRawPointer, groupCount: Int, bits: Int, codes: UnsafeMutablePointer<UInt8>
) {
    let target = UnsafeMutableRawPointer(codes)
    let whole = groupCount > 7 ? groupCount - 7 : 0
    for group in 0..<groupCount {
        var word: UInt64 = 0
        if group < whole {
            word = UInt64(littleEndian: packed.loadUnaligned(fromByteOffset: bits * group, as: UInt64.self))
        } else {
            for byte in 0..<bits {
                let next = packed.load(fromByteOffset: bits * group + byte, as: UInt8.self)
                word |= UInt64(next) &<< UInt64(8 * byte)
            }
        }
        target.storeBytes(of: spread(word, bits).littleEndian, toByteOffset: 8 * group, as: UInt64.self)
    }
}

/// Moves the low bits of eight bytes together.
@inline(__always)
private func fold(_ word: UInt64, _ bits: Int) -> UInt64 {
    let bits = UInt64(truncatingIfNeeded: bits)
    let pairs = word & 0x00FF_00FF_00FF_00FF | (word &>> 8 & 0x00FF_00FF_00FF_00FF) &<< bits
    let fours = pairs & 0x0000_FFFF_0000_FFFF | (pairs &>> 16 & 0x0000_FFFF_0000_FFFF) &<< (2 &* bits)
    return fours & 0xFFFF_FFFF | (fours &>> 32) &<< (4 &* bits)
}

/// The opposite of `fold`; bits above the eighth code are dropped.
@inline(__always)
private func spread(_ word: UInt64, _ bits: Int) -> UInt64 {
    let bits = UInt64(truncatingIfNeeded: bits)
    let all = word & UInt64.max &>> (64 &- 8 &* bits)
    let fourMask = UInt64.max &>> (64 &- 4 &* bits)
    let twoMask = (1 &<< (2 &* bits) &- 1) &* 0x0000_0001_0000_0001
    let oneMask = (1 &<< bits &- 1) &* 0x0001_0001_0001_0001
    let fours = all & fourMask | (all &>> (4 &* bits)) &<< 32
    let twos = fours & twoMask | (fours &>> (2 &* bits) & twoMask) &<< 16
    return twos & oneMask | (twos &>> bits & oneMask) &<< 8
}
