import CVector

// Products of a matrix, row by row as it is stored, with a few vectors: each step of generation reads every weight once, so
// memory is the limit, and what counts is that rows follow each other and that several sums run side by side.

/// Floats in a vector.
private let lanes = 16

/// Rows of the matrix that are taken together.
private let tileRows = 4

/// Y (+)= W X for a few vectors: y[v][r] = sum over i of w[r][i] * x[v][i].
///
/// Every sum is formed in the same order whatever the number of rows and vectors, so a result's bits depend neither on how
/// the rows are shared out among threads nor on which vectors come together.
/// - Parameters:
///   - w: [rows, columns].
///   - x: [count, columns], vectors `xStride` apart.
///   - y: [count, rows], vectors `yStride` apart; overwritten, or added to with `accumulate`.
package func multiplyVectors(
    _ rows: Int, _ columns: Int, _ w: UnsafePointer<Float>, _ count: Int, _ x: UnsafePointer<Float>, _ xStride: Int,
    _ y: UnsafeMutablePointer<Float>, _ yStride: Int, _ accumulate: Bool
) {
    // Sixteen sums at once fit the register file of AVX-512 (tiles of 12 rows) alone.
    let fours = Int(vector_tile_rows) / 12 * (count / 4)
    var row = 0
    while row + tileRows <= rows {
        let tile = w + row * columns
        var vector = 0
        while vector < 4 * fours {
            fourByFour(columns, tile, x + vector * xStride, xStride, y + vector * yStride + row, yStride, accumulate)
            vector += 4
        }
        while vector < count {
            fourByOne(columns, tile, x + vector * xStride, y + vector * yStride + row, accumulate)
            vector += 1
        }
        row += tileRows
    }
    while row < rows {
        var vector = 0
        while vector < count {
            oneByOne(columns, w + row * columns, x + vector * xStride, y + vector * yStride + row, accumulate)
            vector += 1
        }
        row += 1
    }
}

/// Adds up the lanes of a sum and the columns that fill no vector, and stores the result.
@inline(__always)
private func finish(
    _ sums: SIMD16<Float>, _ first: Int, _ columns: Int, _ w: UnsafePointer<Float>, _ x: UnsafePointer<Float>,
    _ y: UnsafeMutablePointer<Float>, _ accumulate: Bool
) {
    var sum = v_reduce_add(sums)
    var index = first
    while index < columns {
        sum += w[index] * x[index]
        index += 1
    }
    y[0] = accumulate ? y[0] + sum : sum
}

@inline(__always)
private func oneByOne(
    _ columns: Int, _ w: UnsafePointer<Float>, _ x: UnsafePointer<Float>, _ y: UnsafeMutablePointer<Float>,
    _ accumulate: Bool
) {
    var sums = v_splat(0)
    var index = 0
    while index + lanes <= columns {
        sums = v_muladd(v_load(w + index), v_load(x + index), sums)
        index += lanes
    }
    finish(sums, index, columns, w, x, y, accumulate)
}

@inline(__always)
private func fourByOne(
    _ columns: Int, _ w: UnsafePointer<Float>, _ x: UnsafePointer<Float>, _ y: UnsafeMutablePointer<Float>,
    _ accumulate: Bool
) {
    let (w1, w2, w3) = (w + columns, w + 2 * columns, w + 3 * columns)
    var (sums0, sums1, sums2, sums3) = (v_splat(0), v_splat(0), v_splat(0), v_splat(0))
    var index = 0
    while index + lanes <= columns {
        let value = v_load(x + index)
        // The tile that comes next: rows are short, so the processor's own prefetching starts anew with each tile.
        v_prefetch_far(w + (4 * columns + index))
        v_prefetch_far(w + (5 * columns + index))
        v_prefetch_far(w + (6 * columns + index))
        v_prefetch_far(w + (7 * columns + index))
        sums0 = v_muladd(v_load(w + index), value, sums0)
        sums1 = v_muladd(v_load(w1 + index), value, sums1)
        sums2 = v_muladd(v_load(w2 + index), value, sums2)
        sums3 = v_muladd(v_load(w3 + index), value, sums3)
        index += lanes
    }
    finish(sums0, index, columns, w, x, y, accumulate)
    finish(sums1, index, columns, w1, x, y + 1, accumulate)
    finish(sums2, index, columns, w2, x, y + 2, accumulate)
    finish(sums3, index, columns, w3, x, y + 3, accumulate)
}

/// The sums of four rows with one vector.
private typealias Sums = (SIMD16<Float>, SIMD16<Float>, SIMD16<Float>, SIMD16<Float>)

@inline(__always)
private func add(_ sums: inout Sums, _ rows: Sums, _ value: SIMD16<Float>) {
    sums.0 = v_muladd(rows.0, value, sums.0)
    sums.1 = v_muladd(rows.1, value, sums.1)
    sums.2 = v_muladd(rows.2, value, sums.2)
    sums.3 = v_muladd(rows.3, value, sums.3)
}

@inline(__always)
private func fourByFour(
    _ columns: Int, _ w: UnsafePointer<Float>, _ x: UnsafePointer<Float>, _ xStride: Int,
    _ y: UnsafeMutablePointer<Float>, _ yStride: Int, _ accumulate: Bool
) {
    let zeros = (v_splat(0), v_splat(0), v_splat(0), v_splat(0))
    var (sums0, sums1, sums2, sums3) = (zeros, zeros, zeros, zeros)
    var index = 0
    while index + lanes <= columns {
        let rows = (
            v_load(w + index), v_load(w + columns + index), v_load(w + 2 * columns + index),
            v_load(w + 3 * columns + index)
        )
        add(&sums0, rows, v_load(x + index))
        add(&sums1, rows, v_load(x + xStride + index))
        add(&sums2, rows, v_load(x + 2 * xStride + index))
        add(&sums3, rows, v_load(x + 3 * xStride + index))
        index += lanes
    }
    finishFour(sums0, index, columns, w, x, y, accumulate)
    finishFour(sums1, index, columns, w, x + xStride, y + yStride, accumulate)
    finishFour(sums2, index, columns, w, x + 2 * xStride, y + 2 * yStride, accumulate)
    finishFour(sums3, index, columns, w, x + 3 * xStride, y + 3 * yStride, accumulate)
}

@inline(__always)
private func finishFour(
    _ sums: Sums, _ first: Int, _ columns: Int, _ w: UnsafePointer<Float>, _ x: UnsafePointer<Float>,
    _ y: UnsafeMutablePointer<Float>, _ accumulate: Bool
) {
    finish(sums.0, first, columns, w, x, y, accumulate)
    finish(sums.1, first, columns, w + columns, x, y + 1, accumulate)
    finish(sums.2, first, columns, w + 2 * columns, x, y + 2, accumulate)
    finish(sums.3, first, columns, w + 3 * columns, x, y + 3, accumulate)
}
