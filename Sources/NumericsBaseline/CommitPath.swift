// Elementwise loops of the commit path: everything here feeds a head's hash, so it uses only + - *, integers and
// comparisons, in written order, and gives the same bits in every instruction set. One source for all kernel targets.
//
// The loops are plain scalar code over pointers; the compiler vectorises them (Swift never fuses a * b + c and never
// reorders a float reduction). Callers check counts; none of these functions allocates.

/// Values in an E3M0 block.
private let blockLength = 256

/// Encodes whole E3M0 blocks.
///
/// Level k = 1...7 stands for s * 2^(k - 7), level 0 for 0; the nearest in linear distance wins, ties go up. So level 1
/// starts at s / 128 and level k + 1 at 1.5 * s * 2^(k - 7). Scales below 2^-100 become 0: no product is ever subnormal.
/// - Parameters:
///   - values: [256 * blockCount] float32.
///   - scales: [blockCount] float32, unaligned little-endian; overwritten.
///   - codes: [128 * blockCount] bytes, two codes each, the earlier value in the low nibble; overwritten.
///   - scratch: [256] bytes; overwritten.
/// - Returns: the first block that holds an infinity, a NaN or a magnitude above 2^100, or -1 if none does.
package func commitE3M0Encode(
    _ values: UnsafePointer<Float>, blockCount: Int, scales: UnsafeMutableRawPointer,
    codes: UnsafeMutablePointer<UInt8>,
    scratch: UnsafeMutablePointer<UInt8>
) -> Int {
    let pairs = UnsafeRawPointer(scratch).assumingMemoryBound(to: UInt16.self)
    for block in 0..<blockCount {
        let bits = UnsafeRawPointer(values + block * blockLength).assumingMemoryBound(to: Int32.self)
        let codes = codes + block * (blockLength / 2)
        // Positive floats order like their bit patterns.
        var largest: Int32 = 0
        for index in 0..<blockLength {
            let magnitude = bits[index] & 0x7FFF_FFFF
            largest = magnitude > largest ? magnitude : largest
        }
        if largest > 0x7180_0000 { return block }
        if largest < 0x0D80_0000 {
            scales.storeBytes(of: 0, toByteOffset: 4 * block, as: UInt32.self)
            for index in 0..<blockLength / 2 { codes[index] = 0 }
            continue
        }
        scales.storeBytes(of: UInt32(largest).littleEndian, toByteOffset: 4 * block, as: UInt32.self)
        let scale = Float(bitPattern: UInt32(largest))
        let first = Int32(truncatingIfNeeded: (scale * 0x1p-7).bitPattern)
        // The bounds of levels 2...7 share one significand, that of 1.5 * s, at successive exponents: how many exponents
        // (2^23 bit patterns) a magnitude lies above the bound that level 0 would have is its level.
        let bound = Int32(truncatingIfNeeded: (scale * 1.5).bitPattern) &- (8 << 23)
        for index in 0..<blockLength {
            let magnitude = bits[index] & 0x7FFF_FFFF
            let level = (magnitude &- bound) &>> 23
            let least: Int32 = magnitude >= first ? 1 : 0
            scratch[index] = UInt8(truncatingIfNeeded: (level > least ? level : least) | (bits[index] &>> 28) & 8)
        }
        for index in 0..<blockLength / 2 {
            let pair = UInt16(littleEndian: pairs[index])
            codes[index] = UInt8(truncatingIfNeeded: pair | pair &>> 4)
        }
    }
    return -1
}

/// Decodes whole E3M0 blocks.
///
/// - Parameters:
///   - scales: [blockCount] float32, unaligned little-endian; each 0 or in [2^-100, 2^100] (the caller has checked).
///   - codes: [128 * blockCount] bytes.
///   - values: [256 * blockCount] float32; overwritten.
package func commitE3M0Decode(
    scales: UnsafeRawPointer, codes: UnsafePointer<UInt8>, blockCount: Int, values: UnsafeMutablePointer<Float>
) {
    for block in 0..<blockCount {
        let scale = Float(
            bitPattern: UInt32(littleEndian: scales.loadUnaligned(fromByteOffset: 4 * block, as: UInt32.self)))
        let codes = codes + block * (blockLength / 2)
        let values = values + block * blockLength
        for index in 0..<blockLength / 2 {
            let pair = UInt32(codes[index])
            values[2 * index] = commitE3M0Value(pair & 15, scale)
            values[2 * index + 1] = commitE3M0Value(pair >> 4, scale)
        }
    }
}

/// One code times its scale.
@inline(__always)
private func commitE3M0Value(_ code: UInt32, _ scale: Float) -> Float {
    let level = code & 7
    let power = level == 0 ? 0 : (level &+ 120) << 23
    return Float(bitPattern: power | (code & 8) << 28) * scale
}

/// What `commitMeasure` finds.
package struct CommitMeasure {
    /// The bits of the largest magnitude; 0x7F80_0000 or more where a value is not finite.
    package var largestMagnitudeBits: UInt32
    /// The sum of squares.
    package var squares: Double
}

/// Measures some values: largest magnitude, and sum of squares in 16 float64 lanes by index mod 16, folded in lane order.
package func commitMeasure(_ values: UnsafePointer<Float>, count: Int) -> CommitMeasure {
    let bits = UnsafeRawPointer(values).assumingMemoryBound(to: UInt32.self)
    var largest: Int32 = 0
    for index in 0..<count {
        let magnitude = Int32(truncatingIfNeeded: bits[index] & 0x7FFF_FFFF)
        largest = magnitude > largest ? magnitude : largest
    }
    var low = SIMD8<Double>()
    var high = SIMD8<Double>()
    var index = 0
    while index + 16 <= count {
        for lane in 0..<8 {
            let first = Double(values[index + lane])
            let second = Double(values[index + 8 + lane])
            low[lane] += first * first
            high[lane] += second * second
        }
        index += 16
    }
    var lane = 0
    while index < count {
        let value = Double(values[index])
        if lane < 8 { low[lane] += value * value } else { high[lane - 8] += value * value }
        lane += 1
        index += 1
    }
    var total = 0.0
    for lane in 0..<8 { total += low[lane] }
    for lane in 0..<8 { total += high[lane] }
    return CommitMeasure(largestMagnitudeBits: UInt32(largest), squares: total)
}

/// Adds value * factor, rounded to the nearest integer (ties to even), to integer sums.
///
/// - Parameters:
///   - values: [count] float32, finite.
///   - factor: weight over quantum; at most 29 significant bits, and |value * factor| < 2^51 for all values, so that the
///     product is exact and the rounding the only one.
///   - sums: [count] running sums; updated in place.
package func commitAccumulate(
    _ values: UnsafePointer<Float>, count: Int, factor: Double, into sums: UnsafeMutablePointer<Int64>
) {
    // Adding 1.5 * 2^52 leaves the rounded integer in the low bits of the significand.
    let shift = 0x1.8p52
    let shiftBits = Int64(bitPattern: shift.bitPattern)
    for index in 0..<count {
        let shifted = Double(values[index]) * factor + shift
        sums[index] &+= Int64(bitPattern: shifted.bitPattern) &- shiftBits
    }
}

/// Turns integer sums back into float32: sum * quantum, the sum rounded to float64 first.
package func commitMean(
    _ sums: UnsafePointer<Int64>, count: Int, quantum: Double, into values: UnsafeMutablePointer<Float>
) {
    for index in 0..<count { values[index] = Float(Double(sums[index]) * quantum) }
}

/// The outer gradient: difference = base - live.
package func commitDifference(
    _ base: UnsafePointer<Float>, _ live: UnsafePointer<Float>, count: Int, into difference: UnsafeMutablePointer<Float>
) {
    for index in 0..<count { difference[index] = base[index] - live[index] }
}

/// One Nesterov step: v = mu * v + delta; theta = theta - eta * (delta + mu * v), in place.
package func commitOuterStep(
    theta: UnsafeMutablePointer<Float>, velocity: UnsafeMutablePointer<Float>, delta: UnsafePointer<Float>, count: Int,
    learningRate: Float, momentum: Float
) {
    for index in 0..<count {
        let advanced = momentum * velocity[index] + delta[index]
        velocity[index] = advanced
        theta[index] = theta[index] - learningRate * (delta[index] + momentum * advanced)
    }
}

/// The first half of a heavy-ball step: v = mu * v + scale * delta, in place.
package func commitHeavyBallAccumulate(
    velocity: UnsafeMutablePointer<Float>, delta: UnsafePointer<Float>, count: Int, momentum: Float, scale: Float
) {
    for index in 0..<count { velocity[index] = momentum * velocity[index] + scale * delta[index] }
}

/// Its second half: v is clamped to [-bound, bound], then theta = theta - eta * v, in place.
package func commitHeavyBallStep(
    theta: UnsafeMutablePointer<Float>, velocity: UnsafeMutablePointer<Float>, count: Int, learningRate: Float,
    bound: Float
) {
    for index in 0..<count {
        var value = velocity[index]
        value = value < bound ? value : bound
        value = value > -bound ? value : -bound
        velocity[index] = value
        theta[index] = theta[index] - learningRate * value
    }
}

/// What is encoded under error feedback: accumulated = difference + decay * residual, with difference = base - live.
package func commitAccumulated(
    _ base: UnsafePointer<Float>, _ live: UnsafePointer<Float>, residual: UnsafePointer<Float>, decay: Float,
    count: Int, into accumulated: UnsafeMutablePointer<Float>
) {
    for index in 0..<count { accumulated[index] = (base[index] - live[index]) + decay * residual[index] }
}

/// live = alpha * live + (1 - alpha) * theta, in place.
package func commitBlend(
    live: UnsafeMutablePointer<Float>, theta: UnsafePointer<Float>, count: Int, alpha: Float
) {
    let rest = 1 - alpha
    for index in 0..<count { live[index] = alpha * live[index] + rest * theta[index] }
}
