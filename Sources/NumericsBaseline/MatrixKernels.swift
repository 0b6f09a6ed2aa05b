import CVector

// Matrix products over packed operands. This file is compiled once per instruction set (the other kernel modules hold
// links to it), so it keeps to pointers, while loops and always-inlined helpers: nothing generic may be emitted that the
// linker could share between instruction sets.
//
// A packed B of K rows and N columns is cut into blocks of `packedBlockRows` rows; within a block into panels of 16
// columns (the last padded with zeros), each panel row by row. So block k0 starts at k0 * N16, N16 = N rounded up to 16.

/// Floats in a vector and columns of a register tile.
private let lanes = 16

/// Rows of B per block: a panel of 256 x 16 floats is 16 KiB, half of a small first-level cache.
private let packedBlockRows = 256

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
        let block = (rowOffset + row) / packedBlockRows * packedBlockRows
        let blockRows = min(packedBlockRows, totalRows - block)
        let first = rowOffset + row - block
        let count = min(rows - row, blockRows - first)
        var column = 0
        while column < columns {
            packPanel(
                count, min(lanes, columns - column), source + row * stride + column, stride,
                destination + block * padded + column * blockRows + first * lanes)
            column += lanes
        }
        row += count
    }
}

/// Copies `rows` rows of up to 16 columns into a panel.
@inline(__always)
private func packPanel(
    _ rows: Int, _ columns: Int, _ source: UnsafePointer<Float>, _ stride: Int, _ panel: UnsafeMutablePointer<Float>
) {
    var row = 0
    while row < rows {
        let (from, to) = (source + row * stride, panel + row * lanes)
        if columns == lanes {
            v_store(to, v_load(from))
        } else {
            var lane = 0
            while lane < lanes {
                to[lane] = lane < columns ? from[lane] : 0
                lane += 1
            }
        }
        row += 1
    }
}

/// Packs B given column by column, as a weight [N outputs, K inputs] is for y = W x: B[i][j] = source[j * stride + i].
package func packColumns(
    _ rows: Int, _ columns: Int, _ source: UnsafePointer<Float>, _ stride: Int,
    _ destination: UnsafeMutablePointer<Float>
) {
    let padded = (columns + lanes - 1) / lanes * lanes
    var block = 0
    while block < rows {
        let blockRows = min(packedBlockRows, rows - block)
        var panel = destination + block * padded
        var column = 0
        while column < columns {
            var lane = 0
            while lane < lanes {
                var row = 0
                if column + lane < columns {
                    let from = source + (column + lane) * stride + block
                    while row < blockRows {
                        panel[row * lanes + lane] = from[row]
                        row += 1
                    }
                } else {
                    while row < blockRows {
                        panel[row * lanes + lane] = 0
                        row += 1
                    }
                }
                lane += 1
            }
            panel += blockRows * lanes
            column += lanes
        }
        block += blockRows
    }
}

/// C (+)= A B with A row-major and B packed; C's rows may be any multiple of floats apart.
///
/// - Parameters:
///   - a: [rows, depth], rows `aStride` apart.
///   - b: [depth, columns], packed.
///   - c: [rows, columns], rows `cStride` apart; overwritten, or added to with `accumulate`.
package func multiplyPacked(
    _ rows: Int, _ columns: Int, _ depth: Int, _ a: UnsafePointer<Float>, _ aStride: Int, _ b: UnsafePointer<Float>,
    _ c: UnsafeMutablePointer<Float>, _ cStride: Int, _ accumulate: Bool
) {
    if depth == 0 && !accumulate { clearRows(rows, columns, c, cStride) }
    // Rows are taken in blocks that stay in the second-level cache beside the panels that pass by.
    let rowBlock = 16 * Int(vector_tile_rows)
    let padded = (columns + lanes - 1) / lanes * lanes
    var firstRow = 0
    while firstRow < rows {
        var blockRows = min(rowBlock, rows - firstRow)
        // A rest too short for a tile of its own joins this block.
        if rows - firstRow - blockRows < Int(vector_tile_rows) { blockRows = rows - firstRow }
        var block = 0
        while block < depth {
            let blockDepth = min(packedBlockRows, depth - block)
            multiplyBlock(
                blockRows, columns, blockDepth, a + firstRow * aStride + block, aStride, 1, b + block * padded,
                c + firstRow * cStride, cStride, accumulate || block > 0)
            block += blockDepth
        }
        firstRow += blockRows
    }
}

/// C (+)= Aᵀ B with A row-major and B packed, for gradients of weights: depth is the number of tokens.
///
/// - Parameters:
///   - a: [depth, rows], rows `aStride` apart.
///   - b: [depth, columns], packed.
///   - scratch: room for 256 x (rows rounded up to a tile) floats.
package func multiplyTransposedPacked(
    _ rows: Int, _ columns: Int, _ depth: Int, _ a: UnsafePointer<Float>, _ aStride: Int, _ b: UnsafePointer<Float>,
    _ c: UnsafeMutablePointer<Float>, _ cStride: Int, _ accumulate: Bool, _ scratch: UnsafeMutablePointer<Float>
) {
    if depth == 0 && !accumulate { clearRows(rows, columns, c, cStride) }
    let padded = (columns + lanes - 1) / lanes * lanes
    let tile = Int(vector_tile_rows)
    var block = 0
    while block < depth {
        let blockDepth = min(packedBlockRows, depth - block)
        if rows < tile {
            multiplyBlock(
                rows, columns, blockDepth, a + block * aStride, 1, aStride, b + block * padded, c, cStride,
                accumulate || block > 0)
        } else {
            // Tiles of A are copied so that a tile's column is contiguous: [tile][depth][rows of a tile].
            packTiles(rows, blockDepth, a + block * aStride, aStride, scratch)
            multiplyTiles(
                rows, columns, blockDepth, scratch, b + block * padded, c, cStride, accumulate || block > 0)
        }
        block += blockDepth
    }
}

/// Copies Aᵀ tile by tile; the last tile overlaps the one before where the rows do not fill it.
@inline(__always)
private func packTiles(
    _ rows: Int, _ depth: Int, _ a: UnsafePointer<Float>, _ aStride: Int, _ scratch: UnsafeMutablePointer<Float>
) {
    let tile = Int(vector_tile_rows)
    var out = scratch
    var row = 0
    while row < rows {
        var from = a + min(row, rows - tile)
        let end = out + depth * tile
        while out < end {
            var lane = 0
            while lane < tile {
                out[lane] = from[lane]
                lane += 1
            }
            out += tile
            from += aStride
        }
        row += tile
    }
}

/// One block of depth with A packed by `packTiles`.
@inline(__always)
private func multiplyTiles(
    _ rows: Int, _ columns: Int, _ depth: Int, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>,
    _ c: UnsafeMutablePointer<Float>, _ cStride: Int, _ accumulate: Bool
) {
    let tile = Int(vector_tile_rows)
    var column = 0
    while column < columns {
        let panel = b + column * depth
        var row = 0
        while row < rows {
            let start = min(row, rows - tile)
            tileInto(
                depth, a + row * depth, 1, tile, panel, c + start * cStride + column, cStride, accumulate, row - start,
                columns - column)
            row += tile
        }
        column += lanes
    }
}

/// One block of depth; `b` holds the block's panels.
@inline(__always)
private func multiplyBlock(
    _ rows: Int, _ columns: Int, _ depth: Int, _ a: UnsafePointer<Float>, _ rowStride: Int, _ columnStride: Int,
    _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>, _ cStride: Int, _ accumulate: Bool
) {
    let tile = Int(vector_tile_rows)
    var column = 0
    while column < columns {
        let panel = b + column * depth
        var row = 0
        if rows >= tile {
            while row < rows {
                let start = min(row, rows - tile)
                tileInto(
                    depth, a + start * rowStride, rowStride, columnStride, panel, c + start * cStride + column, cStride,
                    accumulate, row - start, columns - column)
                row += tile
            }
        } else {
            while row < rows {
                rowInto(
                    depth, a + row * rowStride, columnStride, panel, c + row * cStride + column, accumulate,
                    columns - column)
                row += 1
            }
        }
        column += lanes
    }
}

/// One register tile, with a detour for a last panel that is not full.
@inline(__always)
private func tileInto(
    _ depth: Int, _ a: UnsafePointer<Float>, _ rowStride: Int, _ columnStride: Int, _ b: UnsafePointer<Float>,
    _ c: UnsafeMutablePointer<Float>, _ cStride: Int, _ accumulate: Bool, _ skip: Int, _ columns: Int
) {
    if columns >= lanes {
        v_tile(depth, a, rowStride, columnStride, b, lanes, c, cStride, accumulate ? 1 : 0, skip)
        return
    }
    var row = skip
    while row < Int(vector_tile_rows) {
        rowInto(depth, a + row * rowStride, columnStride, b, c + row * cStride, accumulate, columns)
        row += 1
    }
}

/// One row of a panel.
@inline(__always)
private func rowInto(
    _ depth: Int, _ a: UnsafePointer<Float>, _ columnStride: Int, _ b: UnsafePointer<Float>,
    _ c: UnsafeMutablePointer<Float>, _ accumulate: Bool, _ columns: Int
) {
    if columns >= lanes {
        v_tile_row(depth, a, columnStride, b, lanes, c, accumulate ? 1 : 0)
        return
    }
    var sum = v_splat(0)
    withUnsafeMutableBytes(of: &sum) { bytes in
        guard let values = bytes.baseAddress?.assumingMemoryBound(to: Float.self) else { return }
        v_tile_row(depth, a, columnStride, b, lanes, values, 0)
        var lane = 0
        while lane < columns {
            c[lane] = accumulate ? c[lane] + values[lane] : values[lane]
            lane += 1
        }
    }
}

@inline(__always)
private func clearRows(_ rows: Int, _ columns: Int, _ c: UnsafeMutablePointer<Float>, _ cStride: Int) {
    var row = 0
    while row < rows {
        var column = 0
        while column < columns {
            c[row * cStride + column] = 0
            column += 1
        }
        row += 1
    }
}

/// y = W x for one token: W [rows, columns] row-major.
package func multiplyVector(
    _ rows: Int, _ columns: Int, _ w: UnsafePointer<Float>, _ x: UnsafePointer<Float>, _ y: UnsafeMutablePointer<Float>
) {
    var row = 0
    while row < rows {
        y[row] = dotProduct(columns, w + row * columns, x)
        row += 1
    }
}

/// The sum of a[i] * b[i], in 32 interleaved partial sums.
package func dotProduct(_ count: Int, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>) -> Float {
    var (first, second) = (v_splat(0), v_splat(0))
    var index = 0
    while index + 2 * lanes <= count {
        first = v_muladd(v_load(a + index), v_load(b + index), first)
        second = v_muladd(v_load(a + index + lanes), v_load(b + index + lanes), second)
        index += 2 * lanes
    }
    if index + lanes <= count {
        first = v_muladd(v_load(a + index), v_load(b + index), first)
        index += lanes
    }
    var sum = v_reduce_add(first + second)
    while index < count {
        sum += a[index] * b[index]
        index += 1
    }
    return sum
}
