// Products with thin factors: the loops of Compression's LowRank. No matrix library: its bits differ from CPU to CPU.

/// One entry per pair of a row and a factor: the products of a matrix with row vectors.
///
/// Each sum is formed in 16 float32 lanes by column mod 16, folded in lane order.
/// - Parameters:
///   - matrix: [rows, columns] float32, of which `count` values exist; those behind them count as 0.
///   - right: [rank, columns] float32.
///   - left: [rank, rows] float32; overwritten.
package func commitLeftFactor(
    _ matrix: UnsafePointer<Float>, count: Int, columns: Int, right: UnsafePointer<Float>, rank: Int,
    left: UnsafeMutablePointer<Float>
) {
    let rows = (count + columns - 1) / columns
    for row in 0..<rows {
        let values = matrix + row * columns
        let width = count - row * columns < columns ? count - row * columns : columns
        for factor in 0..<rank {
            left[factor * rows + row] = dot(values, right + factor * columns, width)
        }
    }
}

/// A product in 16 lanes.
@inline(__always)
private func dot(_ first: UnsafePointer<Float>, _ second: UnsafePointer<Float>, _ count: Int) -> Float {
    let a = UnsafeRawPointer(first)
    let b = UnsafeRawPointer(second)
    var sums = SIMD16<Float>()
    var index = 0
    while index + 16 <= count {
        let product =
            a.loadUnaligned(fromByteOffset: 4 * index, as: SIMD16<Float>.self)
            * b.loadUnaligned(fromByteOffset: 4 * index, as: SIMD16<Float>.self)
        sums = sums + product
        index += 16
    }
    var lane = 0
    while index < count {
        sums[lane] += first[index] * second[index]
        lane += 1
        index += 1
    }
    var total: Float = 0
    for lane in 0..<16 { total += sums[lane] }
    return total
}

/// The products of the transposed matrix with column vectors: right[factor] = sum over rows, in order, of
/// left[factor][row] * matrix[row].
///
/// - Parameters:
///   - matrix: [rows, columns] float32, of which `count` values exist; those behind them count as 0.
///   - left: [rank, rows] float32.
///   - right: [rank, columns] float32; overwritten.
package func commitRightFactor(
    _ matrix: UnsafePointer<Float>, count: Int, columns: Int, left: UnsafePointer<Float>, rank: Int,
    right: UnsafeMutablePointer<Float>
) {
    let rows = (count + columns - 1) / columns
    for index in 0..<rank * columns { right[index] = 0 }
    for row in 0..<rows {
        let values = matrix + row * columns
        let width = count - row * columns < columns ? count - row * columns : columns
        for factor in 0..<rank {
            let weight = left[factor * rows + row]
            let sums = right + factor * columns
            for column in 0..<width { sums[column] += weight * values[column] }
        }
    }
}

/// Makes rows orthonormal, in order, each twice against all before it (so that rounding leaves no trace of them).
///
/// A row of which less than 2^-20 is left lies in the span of those before it and becomes 0.
/// - Parameter vectors: [rank, length] float32; overwritten.
package func commitOrthonormalize(_ vectors: UnsafeMutablePointer<Float>, rank: Int, length: Int) {
    for factor in 0..<rank {
        let vector = vectors + factor * length
        let before = inner(vector, vector, length)
        for _ in 0..<2 {
            for earlier in 0..<factor {
                let other = vectors + earlier * length
                let share = Float(inner(vector, other, length))
                for index in 0..<length { vector[index] -= share * other[index] }
            }
        }
        let left = inner(vector, vector, length)
        let inverse = left > before * 0x1p-40 ? Float(1 / left.squareRoot()) : 0
        if inverse > 0, inverse < .infinity {
            for index in 0..<length { vector[index] *= inverse }
        } else {
            for index in 0..<length { vector[index] = 0 }
        }
    }
}

/// A product in 8 float64 lanes by index mod 8, folded in lane order.
@inline(__always)
private func inner(_ first: UnsafePointer<Float>, _ second: UnsafePointer<Float>, _ count: Int) -> Double {
    var sums = SIMD8<Double>()
    var index = 0
    while index + 8 <= count {
        for lane in 0..<8 { sums[lane] += Double(first[index + lane]) * Double(second[index + lane]) }
        index += 8
    }
    var lane = 0
    while index < count {
        sums[lane] += Double(first[index]) * Double(second[index])
        lane += 1
        index += 1
    }
    var total = 0.0
    for lane in 0..<8 { total += sums[lane] }
    return total
}

/// Divides values by a scale.
package func commitDivide(_ values: UnsafeMutablePointer<Float>, count: Int, by scale: Float) {
    for index in 0..<count { values[index] = values[index] / scale }
}

/// Multiplies values by a scale.
package func commitMultiply(_ values: UnsafeMutablePointer<Float>, count: Int, by scale: Float) {
    for index in 0..<count { values[index] *= scale }
}

/// The matrix of two factors: matrix[row][column] = sum over factors, in order and from 0, of left * right.
///
/// - Parameters:
///   - left: [rank, rows] float32.
///   - right: [rank, columns] float32.
///   - matrix: [rows, columns] float32, of which `count` values exist; overwritten.
package func commitFactorProduct(
    left: UnsafePointer<Float>, right: UnsafePointer<Float>, rank: Int, count: Int, columns: Int,
    matrix: UnsafeMutablePointer<Float>
) {
    let rows = (count + columns - 1) / columns
    for row in 0..<rows {
        let values = matrix + row * columns
        let width = count - row * columns < columns ? count - row * columns : columns
        for column in 0..<width { values[column] = 0 }
        for factor in 0..<rank {
            let weight = left[factor * rows + row]
            let source = right + factor * columns
            for column in 0..<width { values[column] += weight * source[column] }
        }
    }
}
