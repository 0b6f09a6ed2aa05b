import CVector

// Matrix products over packed operands (MatrixPacking.swift), in float32 or over bfloat16 words with float32 sums.

/// Floats in a vector and columns of a register tile.
private let lanes = 16

/// Rows of C per register tile, and per tile for rows left over.
private let tileRows = Int(vector_tile_rows)
private let smallTileRows = Int(vector_small_tile_rows)

/// C (+)= A B with A row-major and B packed; C's rows may be any multiple of floats apart.
///
/// - Parameters:
///   - a: [rows, depth], rows `aStride` apart. A stride that is a multiple of 256 floats makes the rows of a tile fight for
///     the same cache lines: stage A with a padded stride first.
///   - b: [depth, columns], packed.
///   - c: [rows, columns], rows `cStride` apart; overwritten, or added to with `accumulate`.
package func multiplyPacked(
    _ rows: Int, _ columns: Int, _ depth: Int, _ a: UnsafePointer<Float>, _ aStride: Int, _ b: UnsafePointer<Float>,
    _ c: UnsafeMutablePointer<Float>, _ cStride: Int, _ accumulate: Bool
) {
    multiplyBlocks(rows, columns, depth, a, aStride, b, c, cStride, accumulate, paired: false)
}

/// `multiplyPacked` over words: `depth` counts values (its last pair may be half), `aStride` words.
package func multiplyPackedPairs(
    _ rows: Int, _ columns: Int, _ depth: Int, _ a: UnsafePointer<Float>, _ aStride: Int, _ b: UnsafePointer<Float>,
    _ c: UnsafeMutablePointer<Float>, _ cStride: Int, _ accumulate: Bool
) {
    multiplyBlocks(rows, columns, (depth + 1) / 2, a, aStride, b, c, cStride, accumulate, paired: true)
}

@inline(__always)
private func multiplyBlocks(
    _ rows: Int, _ columns: Int, _ depth: Int, _ a: UnsafePointer<Float>, _ aStride: Int, _ b: UnsafePointer<Float>,
    _ c: UnsafeMutablePointer<Float>, _ cStride: Int, _ accumulate: Bool, paired: Bool
) {
    if depth == 0 && !accumulate { clearRows(rows, columns, c, cStride) }
    // Rows are taken in blocks that stay in the second-level cache beside the panels that pass by.
    let rowBlock = 16 * tileRows
    let padded = (columns + lanes - 1) / lanes * lanes
    var firstRow = 0
    while firstRow < rows {
        var blockRows = min(rowBlock, rows - firstRow)
        // A rest too short to be worth another pass over B joins this block.
        if rows - firstRow - blockRows < rowBlock / 2 { blockRows = rows - firstRow }
        var block = 0
        while block < depth {
            let blockDepth = min(packedBlockRows, depth - block)
            multiplyBlock(
                blockRows, columns, blockDepth, a + firstRow * aStride + block, aStride, b + block * padded,
                c + firstRow * cStride, cStride, accumulate || block > 0, paired: paired)
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
///   - scratch: room for a tile of 256 x rows of a tile + 16 floats for each tile of rows, and 16 more.
package func multiplyTransposedPacked(
    _ rows: Int, _ columns: Int, _ depth: Int, _ a: UnsafePointer<Float>, _ aStride: Int, _ b: UnsafePointer<Float>,
    _ c: UnsafeMutablePointer<Float>, _ cStride: Int, _ accumulate: Bool, _ scratch: UnsafeMutablePointer<Float>
) {
    multiplyTransposedBlocks(
        rows, columns, depth, a, aStride, b, c, cStride, accumulate, scratch, paired: false)
}

/// `multiplyTransposedPacked` with B packed as words; A is given in float32 and rounded here.
package func multiplyTransposedPackedPairs(
    _ rows: Int, _ columns: Int, _ depth: Int, _ a: UnsafePointer<Float>, _ aStride: Int, _ b: UnsafePointer<Float>,
    _ c: UnsafeMutablePointer<Float>, _ cStride: Int, _ accumulate: Bool, _ scratch: UnsafeMutablePointer<Float>
) {
    multiplyTransposedBlocks(rows, columns, depth, a, aStride, b, c, cStride, accumulate, scratch, paired: true)
}

@inline(__always)
private func multiplyTransposedBlocks(
    _ rows: Int, _ columns: Int, _ depth: Int, _ a: UnsafePointer<Float>, _ aStride: Int, _ b: UnsafePointer<Float>,
    _ c: UnsafeMutablePointer<Float>, _ cStride: Int, _ accumulate: Bool, _ scratch: UnsafeMutablePointer<Float>,
    paired: Bool
) {
    if depth == 0 && !accumulate { clearRows(rows, columns, c, cStride) }
    let padded = (columns + lanes - 1) / lanes * lanes
    let floatsPerWord = paired ? 2 : 1
    let words = (depth + floatsPerWord - 1) / floatsPerWord
    var block = 0
    while block < words {
        let blockDepth = min(packedBlockRows, words - block)
        let first = block * floatsPerWord
        packTiles(
            rows, min(blockDepth * floatsPerWord, depth - first), a + first * aStride, aStride, scratch, paired: paired)
        multiplyTiles(
            rows, columns, blockDepth, scratch, b + block * padded, c, cStride, accumulate || block > 0, paired: paired)
        block += blockDepth
    }
}

/// Words from one packed tile of A to the next: padded, so that the tiles' streams do not fight for the same cache lines.
@inline(__always)
private func tileStride(_ depth: Int) -> Int { depth * tileRows + lanes }

/// Rows of A that `packTiles` fetches ahead: they lie pages apart, where the processor's own prefetching does not reach.
private let prefetchDistance = 8

/// Copies Aᵀ so that a tile's column is contiguous: [tile][depth][rows of a tile]. A row of A is read once, from end to
/// end, since the next one may lie pages away.
///
/// The last tile overlaps the one before where the rows do not fill it; a matrix of less than a tile is filled up with
/// zeros.
@inline(__always)
private func packTiles(
    _ rows: Int, _ depth: Int, _ a: UnsafePointer<Float>, _ aStride: Int, _ scratch: UnsafeMutablePointer<Float>,
    paired: Bool
) {
    let floatsPerWord = paired ? 2 : 1
    let stride = tileStride((depth + floatsPerWord - 1) / floatsPerWord)
    var index = 0
    while index < depth {
        let from = a + index * aStride
        let isOddThere = index + 1 < depth
        var out = scratch + index / floatsPerWord * tileRows
        var row = 0
        while row < rows {
            // Whole vectors are written, each over the tail of the last; only beside the matrix must nothing be read.
            let start = max(0, min(row, rows - tileRows))
            let count = min(lanes, rows - start)
            let even = loadUpTo16(from + start, count)
            v_prefetch(from + (start + prefetchDistance * aStride))
            if paired { v_prefetch(from + (start + (prefetchDistance + 1) * aStride)) }
            if paired {
                v_store(out, v_pair_rows(even, isOddThere ? loadUpTo16(from + aStride + start, count) : v_splat(0)))
            } else {
                v_store(out, even)
            }
            out += stride
            row += tileRows
        }
        index += floatsPerWord
    }
}

/// One block of depth with A packed by `packTiles`.
@inline(__always)
private func multiplyTiles(
    _ rows: Int, _ columns: Int, _ depth: Int, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>,
    _ c: UnsafeMutablePointer<Float>, _ cStride: Int, _ accumulate: Bool, paired: Bool
) {
    var column = 0
    while column < columns {
        let panel = b + column * depth
        var row = 0
        while row < rows {
            let start = max(0, min(row, rows - tileRows))
            let tile = a + row / tileRows * tileStride(depth)
            let to = c + start * cStride + column
            if columns - column >= lanes && rows >= tileRows {
                v_tile(
                    Int(vector_tile_rows), paired ? 1 : 0, depth, tile, 1, tileRows, panel, lanes, to, cStride,
                    accumulate ? 1 : 0, row - start)
            } else {
                var index = row - start
                while index < min(tileRows, rows) {
                    rowInto(
                        depth, tile + index, tileRows, panel, to + index * cStride, accumulate, columns - column,
                        paired: paired)
                    index += 1
                }
            }
            row += tileRows
        }
        column += lanes
    }
}

/// One block of depth; `b` holds the block's panels.
@inline(__always)
private func multiplyBlock(
    _ rows: Int, _ columns: Int, _ depth: Int, _ a: UnsafePointer<Float>, _ aStride: Int, _ b: UnsafePointer<Float>,
    _ c: UnsafeMutablePointer<Float>, _ cStride: Int, _ accumulate: Bool, paired: Bool
) {
    // Rows of the last, partial tile: one or two small tiles where they fit exactly, else a tile that overlaps.
    let rest = rows % tileRows
    var smallTiles = 0
    if rest == smallTileRows { smallTiles = 1 }
    if rest == 2 * smallTileRows - tileRows && rows >= 2 * smallTileRows { smallTiles = 2 }
    let large = rows - smallTiles * smallTileRows
    var column = 0
    while column < columns {
        let panel = b + column * depth
        let to = c + column
        var row = 0
        if columns - column < lanes || rows < tileRows {
            while row < rows {
                rowInto(
                    depth, a + row * aStride, 1, panel, to + row * cStride, accumulate, columns - column, paired: paired
                )
                row += 1
            }
        } else {
            while row < large {
                let start = min(row, rows - tileRows)
                v_tile(
                    Int(vector_tile_rows), paired ? 1 : 0, depth, a + start * aStride, aStride, 1, panel, lanes,
                    to + start * cStride, cStride, accumulate ? 1 : 0, row - start)
                row += tileRows
            }
            row = large
            while row < rows {
                v_tile(
                    Int(vector_small_tile_rows), paired ? 1 : 0, depth, a + row * aStride, aStride, 1, panel, lanes,
                    to + row * cStride, cStride, accumulate ? 1 : 0, 0)
                row += smallTileRows
            }
        }
        column += lanes
    }
}

/// One row of a panel.
@inline(__always)
private func rowInto(
    _ depth: Int, _ a: UnsafePointer<Float>, _ columnStride: Int, _ b: UnsafePointer<Float>,
    _ c: UnsafeMutablePointer<Float>, _ accumulate: Bool, _ columns: Int, paired: Bool
) {
    if columns >= lanes {
        v_tile_row(paired ? 1 : 0, depth, a, columnStride, b, lanes, c, accumulate ? 1 : 0)
        return
    }
    var sum = v_splat(0)
    withUnsafeMutableBytes(of: &sum) { bytes in
        guard let values = bytes.baseAddress?.assumingMemoryBound(to: Float.self) else { return }
        v_tile_row(paired ? 1 : 0, depth, a, columnStride, b, lanes, values, 0)
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
