// Bins and their conditional means, one row of at most 4096 values at a time: the loops of Compression's Statistical.
//
// Sums are float64 in the order written here, so that encoders give the same bits in every instruction set too.

/// What `commitRowMoments` finds.
package struct CommitRowMoments {
    /// The bits of the largest magnitude; 0x7F80_0000 or more where a value is not finite.
    package var largestMagnitudeBits: UInt32
    /// The mean.
    package var mean: Float
}

/// Measures a row; its sum is in 16 float64 lanes by index mod 16, folded in lane order.
package func commitRowMoments(_ values: UnsafePointer<Float>, count: Int) -> CommitRowMoments {
    let words = UnsafeRawPointer(values).assumingMemoryBound(to: Int32.self)
    var largest: Int32 = 0
    for index in 0..<count {
        let magnitude = words[index] & 0x7FFF_FFFF
        largest = magnitude > largest ? magnitude : largest
    }
    var low = SIMD8<Double>()
    var high = SIMD8<Double>()
    var index = 0
    while index + 16 <= count {
        for lane in 0..<8 {
            low[lane] += Double(values[index + lane])
            high[lane] += Double(values[index + 8 + lane])
        }
        index += 16
    }
    var lane = 0
    while index < count {
        if lane < 8 { low[lane] += Double(values[index]) } else { high[lane - 8] += Double(values[index]) }
        lane += 1
        index += 1
    }
    var total = 0.0
    for lane in 0..<8 { total += low[lane] }
    for lane in 0..<8 { total += high[lane] }
    return CommitRowMoments(largestMagnitudeBits: UInt32(largest), mean: Float(total / Double(count)))
}

/// Codes of bins of one width: round((x - mean) / width) + 2^bits / 2, ties to even, clamped to 0...2^bits - 1.
///
/// - Parameters:
///   - centred: [count] float32: values less their mean.
///   - inverseWidth: 1 / width, or 0, which gives every value the code 2^bits / 2.
///   - codes: [count] bytes; overwritten.
package func commitWidthCodes(
    _ centred: UnsafePointer<Float>, count: Int, inverseWidth: Float, bits: Int, codes: UnsafeMutablePointer<UInt8>
) {
    let half = Float(1 &<< (bits &- 1))
    let most = half - 1
    let middle = UInt32(1 &<< (bits &- 1))
    for index in 0..<count {
        var scaled = centred[index] * inverseWidth
        scaled = scaled < -half ? -half : scaled
        scaled = scaled > most ? most : scaled
        // Adding 1.5 * 2^23 leaves the rounded integer in the low bits.
        codes[index] = UInt8(truncatingIfNeeded: (scaled + 0x1.8p23).bitPattern &+ middle)
    }
}

/// Subtracts a row's mean.
package func commitCentre(
    _ values: UnsafePointer<Float>, count: Int, mean: Float, centred: UnsafeMutablePointer<Float>
) {
    for index in 0..<count { centred[index] = values[index] - mean }
}

/// Sums and numbers of the centred values under each code, in four lanes by index mod 4.
///
/// - Parameters:
///   - sums: [4, 16] float64; overwritten.
///   - counts: [4, 16] integers; overwritten.
package func commitCodeSums(
    _ centred: UnsafePointer<Float>, _ codes: UnsafePointer<UInt8>, count: Int, sums: UnsafeMutablePointer<Double>,
    counts: UnsafeMutablePointer<Int32>
) {
    for slot in 0..<64 {
        sums[slot] = 0
        counts[slot] = 0
    }
    for index in 0..<count {
        // Without the lanes every addition would wait for the one before it.
        let slot = (index & 3) &* 16 &+ Int(codes[index] & 15)
        sums[slot] += Double(centred[index])
        counts[slot] &+= 1
    }
}

/// Fine bins that `commitFineBins` sorts into: 256 for each sign.
private let fineBinCount = 512

/// Sorts centred values into 512 bins: sixteen for each power of two, sixteen powers of two below the largest magnitude.
///
/// Bins ascend with the value; whatever is smaller falls into the two in the middle.
/// - Parameters:
///   - largestMagnitudeBits: of the centred values.
///   - bins: [count]; overwritten.
package func commitFineBins(
    _ centred: UnsafePointer<Float>, count: Int, largestMagnitudeBits: UInt32, bins: UnsafeMutablePointer<UInt16>
) {
    let words = UnsafeRawPointer(centred).assumingMemoryBound(to: Int32.self)
    let base = fineBase(largestMagnitudeBits)
    for index in 0..<count {
        let magnitude = (words[index] & 0x7FFF_FFFF) &>> 19 &- base
        let level = magnitude < 0 ? 0 : magnitude
        // Negative values count down from 255, positive ones up from 256.
        bins[index] = UInt16(truncatingIfNeeded: (level ^ (words[index] &>> 31)) &+ 256)
    }
}

/// Sums and numbers of the centred values in each fine bin, in index order.
package func commitFineSums(
    _ centred: UnsafePointer<Float>, _ bins: UnsafePointer<UInt16>, count: Int, sums: UnsafeMutablePointer<Double>,
    counts: UnsafeMutablePointer<Int32>
) {
    for bin in 0..<fineBinCount {
        sums[bin] = 0
        counts[bin] = 0
    }
    for index in 0..<count {
        let bin = Int(bins[index])
        sums[bin] += Double(centred[index])
        counts[bin] &+= 1
    }
}

/// The smallest level of a fine bin, before it becomes level 0.
@inline(__always)
private func fineBase(_ largestMagnitudeBits: UInt32) -> Int32 {
    let top = Int32(truncatingIfNeeded: largestMagnitudeBits &>> 19) &- 255
    return top < 0 ? 0 : top
}

/// The lower bound of a fine bin; of bin 512, the upper end.
@inline(__always)
private func fineBound(_ bin: Int, _ base: Int32) -> Double {
    let level = Int32(truncatingIfNeeded: bin &- 256)
    if level == 0 { return 0 }
    let magnitude = level < 0 ? 0 &- level : level
    let value = Double(Float(bitPattern: UInt32(bitPattern: (magnitude &+ base) &<< 19)))
    return level < 0 ? -value : value
}

/// The fine bin whose lower bound is nearest to a value, in its power of two.
@inline(__always)
private func nearestBound(_ value: Double, _ base: Int32) -> Int {
    let bits = Int32(bitPattern: Float(value).bitPattern)
    let rounded = ((bits & 0x7FFF_FFFF) &>> 18 &+ 1) &>> 1 &- base
    let level = rounded < 0 ? 0 : rounded > 256 ? 256 : rounded
    return 256 &+ Int(bits < 0 ? 0 &- level : level)
}

/// Chooses bins that keep the squared error small: Lloyd's iterations (1957, 1982) on the fine bins.
///
/// They start where every bin holds the same share of the density's cube root (Panter and Dite 1951), and end when no
/// bound moves, at the latest after `roundsMax`.
/// - Parameters:
///   - sums, counts: [512], as `commitFineSums` leaves them; overwritten by their running sums.
///   - codeCount: 2 to 16.
///   - codesOfBins: [512], the code of every fine bin; overwritten.
///   - bounds: [codeCount + 1] the first fine bin of every code, and 512; overwritten.
///   - means: [codeCount] the mean of the values under every code, of some number where there are none; overwritten.
package func commitLloydCodes(
    sums: UnsafeMutablePointer<Double>, counts: UnsafeMutablePointer<Int32>, largestMagnitudeBits: UInt32,
    codeCount: Int, roundsMax: Int, codesOfBins: UnsafeMutablePointer<UInt8>, bounds: UnsafeMutablePointer<Int>,
    means: UnsafeMutablePointer<Double>
) {
    let base = fineBase(largestMagnitudeBits)
    startBounds(counts, base: base, codeCount: codeCount, bounds: bounds)
    for bin in 1..<fineBinCount {
        sums[bin] += sums[bin - 1]
        counts[bin] &+= counts[bin - 1]
    }
    for code in 0..<codeCount { means[code] = fineBound(bounds[code], base) }
    for _ in 0..<roundsMax {
        var hasMoved = false
        var first = 0
        var sumBefore = 0.0
        var countBefore: Int32 = 0
        for code in 0..<codeCount {
            // The bound to the code before lies half-way, once both means are new.
            let end = bounds[code + 1]
            let sum = end > 0 ? sums[end - 1] : 0
            let count = end > 0 ? counts[end - 1] : 0
            if count > countBefore { means[code] = (sum - sumBefore) / Double(count &- countBefore) }
            sumBefore = sum
            countBefore = count
            guard code > 0 else { continue }
            var bound = nearestBound((means[code - 1] + means[code]) / 2, base)
            bound = bound < first ? first : bound
            hasMoved = bound != bounds[code] || hasMoved
            bounds[code] = bound
            first = bound
        }
        if !hasMoved { break }
    }
    for code in 0..<codeCount {
        var bin = bounds[code]
        while bin < bounds[code + 1] {
            codesOfBins[bin] = UInt8(truncatingIfNeeded: code)
            bin += 1
        }
    }
}

/// Bounds between which the cube roots of the fine bins' densities, times their widths, have equal sums.
@inline(__always)
private func startBounds(
    _ counts: UnsafePointer<Int32>, base: Int32, codeCount: Int, bounds: UnsafeMutablePointer<Int>
) {
    var total: Float = 0
    for bin in 0..<fineBinCount { total += rootShare(counts[bin], bin, base) }
    let share = total / Float(codeCount)
    var reached: Float = 0
    var code = 1
    for bin in 0..<fineBinCount {
        reached += rootShare(counts[bin], bin, base)
        while code < codeCount, reached >= share * Float(code) {
            bounds[code] = bin + 1
            code += 1
        }
    }
    while code < codeCount {
        bounds[code] = fineBinCount
        code += 1
    }
    bounds[0] = 0
    bounds[codeCount] = fineBinCount
}

/// The cube root of number * width^2, to a few per cent: a third of a float's bits is about its cube root's.
@inline(__always)
private func rootShare(_ count: Int32, _ bin: Int, _ base: Int32) -> Float {
    let level = Int32(truncatingIfNeeded: bin &- 256)
    // Widths relative to those of the topmost power of two; the bins in the middle are wider, which does no harm.
    let magnitude = level < 0 ? -1 &- level : level
    let width = Float(bitPattern: UInt32(bitPattern: (magnitude &>> 4 &+ 100) &<< 23))
    let bits = (Float(count) * width * width).bitPattern
    return count == 0 ? 0 : Float(bitPattern: bits / 3 &+ 0x2A51_4067)
}

/// The codes of fine bins.
package func commitLookUpCodes(
    _ bins: UnsafePointer<UInt16>, count: Int, codesOfBins: UnsafePointer<UInt8>, codes: UnsafeMutablePointer<UInt8>
) {
    for index in 0..<count { codes[index] = codesOfBins[Int(bins[index])] }
}

/// Looks every code up in a table, and marks which codes occur.
///
/// - Parameters:
///   - codes: [count] bytes, each below 16.
///   - table: [2^bits] float32.
///   - values: [count] float32; overwritten.
///   - marks: [16] bytes; the marks of codes that occur become 1.
package func commitTableDecode(
    _ codes: UnsafePointer<UInt8>, count: Int, table: UnsafePointer<Float>, values: UnsafeMutablePointer<Float>,
    marks: UnsafeMutablePointer<UInt8>
) {
    for index in 0..<count {
        let code = Int(codes[index])
        values[index] = table[code]
        marks[code] = 1
    }
}
