import CVector

// The packed forms that matrix products read. This file is compiled once per instruction set (the other kernel modules
// hold links to it), so it keeps to pointers, while loops and always-inlined helpers: nothing generic may be emitted that
// the linker could share between instruction sets.
//
// A packed B of K rows and N columns is cut into blocks of `packedBlockRows` rows; within a block into panels of 16
// columns (the last padded with zeros), each panel row by row. So block k0 starts at k0 * N16, N16 = N rounded up to 16.
// For bfloat16 a row holds words: the pair of B's rows 2i and 2i + 1 (the last one with zeros where K is odd).

/// Floats in a vector and columns of a register tile.
private let lanes = 16

/// Rows of B per block: a panel of 256 x 16 floats is 16 KiB, half of a small first-level cache.
let packedBlockRows = 256

/// Loads up to 16 floats; zeros beyond.
@inline(__always)
func loadUpTo16(_ source: UnsafePointer<Float>, _ count: Int) -> SIMD16<Float> {
    count >= lanes ? v_load(source) : loadPart(source, count)
}

/// The start of packed row `row` in the panel of `column`, of `totalRows` rows in all.
@inline(__always)
private func packedPlace(_ row: Int, _ column: Int, _ padded: Int, _ totalRows: Int) -> Int {
    let block = row / packedBlockRows * packedBlockRows
    let blockRows = min(packedBlockRows, totalRows - block)
    return block * padded + column * blockRows + (row - block) * lanes
}

/// Packs some rows of B, given row by row: B[rowOffset + i][j] = source[i * stride + j].
///
/// `totalRows` is the number of rows of the whole packed matrix, and `destination` its start, so that threads can each
/// pack their own rows.
package func packRows(
    _ rows: Int, _ columns: Int, _ source: UnsafePointer<Float>, _ stride: Int, _ rowOffset: Int, _ totalRows: Int,
    _ destination: UnsafeMutablePointer<Float>
) {
    let padded = (columns + lanes - 1) / lanes * lanes
    var row = 0
    while row < rows {
        // A run of rows lies in one block, so that each panel is written in one go.
        let place = rowOffset + row
        let count = min(rows - row, packedBlockRows - place % packedBlockRows)
        var column = 0
        while column < columns {
            let from = source + row * stride + column
            let to = destination + packedPlace(place, column, padded, totalRows)
            var index = 0
            while index < count {
                v_store(to + index * lanes, loadUpTo16(from + index * stride, columns - column))
                index += 1
            }
            column += lanes
        }
        row += count
    }
}

/// `packRows` for bfloat16: `rows`, `rowOffset` and `totalRows` still count rows of B. `rowOffset` must be even, and
/// `rows` too, except for the last rows of the matrix.
package func packRowPairs(
    _ rows: Int, _ columns: Int, _ source: UnsafePointer<Float>, _ stride: Int, _ rowOffset: Int, _ totalRows: Int,
    _ destination: UnsafeMutablePointer<Float>
) {
    let padded = (columns + lanes - 1) / lanes * lanes
    let (pairs, firstPair, totalPairs) = ((rows + 1) / 2, rowOffset / 2, (totalRows + 1) / 2)
    var pair = 0
    while pair < pairs {
        let place = firstPair + pair
        let count = min(pairs - pair, packedBlockRows - place % packedBlockRows)
        var column = 0
        while column < columns {
            let to = destination + packedPlace(place, column, padded, totalPairs)
            var index = 0
            while index < count {
                let row = 2 * (pair + index)
                let from = source + row * stride + column
                let even = loadUpTo16(from, columns - column)
                let odd = row + 1 < rows ? loadUpTo16(from + stride, columns - column) : v_splat(0)
                v_store(to + index * lanes, v_pair_rows(even, odd))
                index += 1
            }
            column += lanes
        }
        pair += count
    }
}

/// Packs some columns of B, given column by column, as a weight [N outputs, K inputs] is for y = W x: B[i][j] =
/// source[j * stride + i] for j from `firstColumn`, a multiple of 16, to before `endColumn`.
///
/// `columns` is the number of columns of the whole packed matrix, and `destination` its start, so that threads can each
/// pack their own columns.
package func packColumns(
    _ rows: Int, _ columns: Int, _ firstColumn: Int, _ endColumn: Int, _ source: UnsafePointer<Float>, _ stride: Int,
    _ destination: UnsafeMutablePointer<Float>
) {
    packColumnWords(rows, columns, firstColumn, endColumn, source, stride, destination, paired: false)
}

/// `packColumns` for bfloat16; `rows` counts rows of B, not words.
package func packColumnPairs(
    _ rows: Int, _ columns: Int, _ firstColumn: Int, _ endColumn: Int, _ source: UnsafePointer<Float>, _ stride: Int,
    _ destination: UnsafeMutablePointer<Float>
) {
    packColumnWords(rows, columns, firstColumn, endColumn, source, stride, destination, paired: true)
}

/// Sixteen words of each of sixteen columns at a time, turned round in registers' worth of stack memory.
@inline(__always)
private func packColumnWords(
    _ rows: Int, _ columns: Int, _ firstColumn: Int, _ endColumn: Int, _ source: UnsafePointer<Float>, _ stride: Int,
    _ destination: UnsafeMutablePointer<Float>, paired: Bool
) {
    let padded = (columns + lanes - 1) / lanes * lanes
    let words = paired ? (rows + 1) / 2 : rows
    let floatsPerWord = paired ? 2 : 1
    var column = firstColumn
    while column < endColumn {
        var word = 0
        while word < words {
            let panel = destination + packedPlace(word, column, padded, words)
            let count = min(lanes, words - word, packedBlockRows - word % packedBlockRows)
            var lane = 0
            while lane < lanes {
                var values = v_splat(0)
                if column + lane < columns {
                    let first = word * floatsPerWord
                    let from = source + (column + lane) * stride + first
                    if paired {
                        let second =
                            rows - first - lanes > 0 ? loadUpTo16(from + lanes, rows - first - lanes) : v_splat(0)
                        values = v_pair_neighbours(loadUpTo16(from, rows - first), second)
                    } else {
                        values = loadUpTo16(from, rows - first)
                    }
                }
                scatter(values, count, panel + lane)
                lane += 1
            }
            word += count
        }
        column += lanes
    }
}

/// Writes the first `count` lanes 16 floats apart.
@inline(__always)
private func scatter(_ values: SIMD16<Float>, _ count: Int, _ destination: UnsafeMutablePointer<Float>) {
    var lane = 0
    while lane < count {
        destination[lane * lanes] = values[lane]
        lane += 1
    }
}

/// Copies rows of A; rows of the copy are `destinationStride` floats apart.
package func stageRows(
    _ rows: Int, _ columns: Int, _ source: UnsafePointer<Float>, _ sourceStride: Int,
    _ destination: UnsafeMutablePointer<Float>, _ destinationStride: Int
) {
    var row = 0
    while row < rows {
        (destination + row * destinationStride).update(from: source + row * sourceStride, count: columns)
        row += 1
    }
}

/// Rounds rows of A to bfloat16: (columns + 1) / 2 words a row, whose rows are `destinationStride` words apart.
package func stageRowPairs(
    _ rows: Int, _ columns: Int, _ source: UnsafePointer<Float>, _ sourceStride: Int,
    _ destination: UnsafeMutablePointer<Float>, _ destinationStride: Int
) {
    let words = (columns + 1) / 2
    var row = 0
    while row < rows {
        let (from, to) = (source + row * sourceStride, destination + row * destinationStride)
        var column = 0
        while column + 2 * lanes <= columns {
            v_store(to + column / 2, v_pair_neighbours(v_load(from + column), v_load(from + column + lanes)))
            column += 2 * lanes
        }
        if column < columns {
            let second =
                column + lanes < columns ? loadUpTo16(from + column + lanes, columns - column - lanes) : v_splat(0)
            storePart(
                to + column / 2, v_pair_neighbours(loadUpTo16(from + column, columns - column), second),
                words - column / 2)
        }
        row += 1
    }
}
