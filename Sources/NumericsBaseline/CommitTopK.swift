// The largest magnitudes of a chunk of at most 4096 values: the loops of Compression's TopK.

/// Bins of one pass over a digit of the magnitudes' bits.
private let digitBinCount = 2048

/// Selects the `kept` largest magnitudes of a chunk; of equal ones those with the lower indices.
///
/// A radix selection on the magnitude's bits: the digits 30...20, then 19...9 and 8...0 of those that share the digits
/// before. Every pass reads its values once.
/// - Parameters:
///   - values: [count] float32, finite.
///   - kept: 1...count.
///   - indices: [count] scratch, of which the first `kept` become the selected indices, ascending.
///   - scratch: [count + 2048] integers.
package func commitSelectLargest(
    _ values: UnsafePointer<Float>, count: Int, kept: Int, indices: UnsafeMutablePointer<UInt16>,
    scratch: UnsafeMutablePointer<Int32>
) {
    let words = UnsafeRawPointer(values).assumingMemoryBound(to: Int32.self)
    let bins = scratch
    let candidates = scratch + digitBinCount
    for bin in 0..<digitBinCount { bins[bin] = 0 }
    for index in 0..<count { bins[Int((words[index] & 0x7FFF_FFFF) &>> 20)] &+= 1 }
    var missing = Int32(truncatingIfNeeded: kept)
    let first = takeBins(bins, &missing)
    // Those in the bin that the last one lies in, by their lower bits.
    var candidateCount = 0
    for index in 0..<count {
        let magnitude = words[index] & 0x7FFF_FFFF
        candidates[candidateCount] = magnitude & 0xF_FFFF
        candidateCount &+= magnitude &>> 20 == first ? 1 : 0
    }
    for bin in 0..<digitBinCount { bins[bin] = 0 }
    for index in 0..<candidateCount { bins[Int(candidates[index] &>> 9)] &+= 1 }
    let second = takeBins(bins, &missing)
    for bin in 0..<512 { bins[bin] = 0 }
    for index in 0..<candidateCount where candidates[index] &>> 9 == second {
        bins[Int(candidates[index] & 511)] &+= 1
    }
    for bin in 512..<digitBinCount { bins[bin] = 0 }
    let third = takeBins(bins, &missing)
    // Everything above the bound, and the first `missing` values at it.
    let bound = first &<< 20 | second &<< 9 | third
    var found = 0
    for index in 0..<count {
        let magnitude = words[index] & 0x7FFF_FFFF
        indices[found] = UInt16(truncatingIfNeeded: index)
        // Arithmetic instead of branches, which nobody could predict: 1 where the magnitude is at the bound.
        let isEqual = magnitude == bound ? 1 : 0
        let isGreater = magnitude > bound ? 1 : 0
        let isMissing = missing > 0 ? 1 : 0
        found &+= isGreater | (isEqual & isMissing)
        missing &-= Int32(truncatingIfNeeded: isEqual)
        if found == kept { break }
    }
}

/// Takes whole bins from the top while fewer than `missing` are in them; the bin that would be too many.
@inline(__always)
private func takeBins(_ bins: UnsafePointer<Int32>, _ missing: inout Int32) -> Int32 {
    var bin = digitBinCount - 1
    while bin > 0, bins[bin] < missing {
        missing &-= bins[bin]
        bin -= 1
    }
    return Int32(truncatingIfNeeded: bin)
}

/// The largest magnitude's bits; 0x7F80_0000 or more where a value is not finite.
package func commitLargestMagnitudeBits(_ values: UnsafePointer<Float>, count: Int) -> UInt32 {
    let words = UnsafeRawPointer(values).assumingMemoryBound(to: Int32.self)
    var largest: Int32 = 0
    for index in 0..<count {
        let magnitude = words[index] & 0x7FFF_FFFF
        largest = magnitude > largest ? magnitude : largest
    }
    return UInt32(bitPattern: largest)
}

/// What `commitSumAbove` finds.
package struct CommitSumAbove {
    /// The sum of the magnitudes at or above the bound.
    package var sum: Double
    /// How many there are.
    package var count: Int
}

/// Sums magnitudes at or above a bound: whole eights in float64 lanes, folded in order, then the rest one by one.
package func commitSumAbove(_ bound: Float, _ values: UnsafePointer<Float>, count: Int) -> CommitSumAbove {
    let words = UnsafeRawPointer(values).assumingMemoryBound(to: Int32.self)
    // Magnitudes order like their bits.
    let least = Int32(bitPattern: bound.bitPattern)
    var sums = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    var index = 0
    while index + 8 <= count {
        let words = words + index
        sums.0 += magnitude(words[0], least)
        sums.1 += magnitude(words[1], least)
        sums.2 += magnitude(words[2], least)
        sums.3 += magnitude(words[3], least)
        sums.4 += magnitude(words[4], least)
        sums.5 += magnitude(words[5], least)
        sums.6 += magnitude(words[6], least)
        sums.7 += magnitude(words[7], least)
        index += 8
    }
    var sum = sums.0 + sums.1 + sums.2 + sums.3 + sums.4 + sums.5 + sums.6 + sums.7
    while index < count {
        sum += magnitude(words[index], least)
        index += 1
    }
    var number: Int32 = 0
    for index in 0..<count { number &+= words[index] & 0x7FFF_FFFF >= least ? 1 : 0 }
    return CommitSumAbove(sum: sum, count: Int(number))
}

/// A magnitude, or 0 where it is below a bound.
@inline(__always)
private func magnitude(_ bits: Int32, _ least: Int32) -> Double {
    let bits = bits & 0x7FFF_FFFF
    return Double(Float(bitPattern: UInt32(bitPattern: bits >= least ? bits : 0)))
}

/// The codes of kept values: 1 for a magnitude above the bound, 2 more for a minus; below the bound zeros have no sign.
///
/// - Parameters:
///   - signOfSmall: 2, or 0 where the smaller magnitude is 0.
///   - codes: [count] bytes; overwritten.
package func commitSignCodes(
    _ values: UnsafePointer<Float>, count: Int, bound: Float, signOfSmall: UInt8, codes: UnsafeMutablePointer<UInt8>
) {
    for index in 0..<count {
        let bits = values[index].bitPattern
        let large: UInt8 = Float(bitPattern: bits & 0x7FFF_FFFF) > bound ? 1 : 0
        let minus = UInt8(truncatingIfNeeded: bits &>> 30) & 2 & (signOfSmall | large &<< 1)
        codes[index] = large | (bits == 0x8000_0000 ? 0 : minus)
    }
}

/// Packs indices below 4096, two in three bytes: the lower bits of the earlier one first.
///
/// - Parameters:
///   - packed: [(3 * count + 1) / 2] bytes; overwritten. The last four bits are 0 where the count is odd.
package func commitPackIndices(_ indices: UnsafePointer<UInt16>, count: Int, packed: UnsafeMutablePointer<UInt8>) {
    var index = 0
    var byte = 0
    while index < count {
        let pair = UInt32(indices[index]) | (index + 1 < count ? UInt32(indices[index + 1]) : 0) &<< 12
        packed[byte] = UInt8(truncatingIfNeeded: pair)
        packed[byte + 1] = UInt8(truncatingIfNeeded: pair &>> 8)
        if index + 1 < count { packed[byte + 2] = UInt8(truncatingIfNeeded: pair &>> 16) }
        index += 2
        byte += 3
    }
}

/// Unpacks what `commitPackIndices` wrote.
///
/// - Parameter packed: [(3 * count + 1) / 2] bytes.
/// - Returns: false where the four bits behind an odd count are not 0.
package func commitUnpackIndices(
    _ packed: UnsafePointer<UInt8>, count: Int, indices: UnsafeMutablePointer<UInt16>
) -> Bool {
    var index = 0
    var byte = 0
    while index + 1 < count {
        let pair = UInt32(packed[byte]) | UInt32(packed[byte + 1]) &<< 8 | UInt32(packed[byte + 2]) &<< 16
        indices[index] = UInt16(truncatingIfNeeded: pair & 4095)
        indices[index + 1] = UInt16(truncatingIfNeeded: pair &>> 12)
        index += 2
        byte += 3
    }
    guard index < count else { return true }
    indices[index] = UInt16(packed[byte]) | UInt16(packed[byte + 1] & 15) &<< 8
    return packed[byte + 1] &>> 4 == 0
}
