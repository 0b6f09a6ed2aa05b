import CVector

// Causal attention of one sequence, head by head, over copies of the head's rows that fit the second-level cache.
//
// T: tokens; H: query heads; K: key-value heads; D: head width. A head's queries, keys and values are gathered (and
// rotated) into rows of D16 = D rounded up to 16 floats; T is padded to whole tiles with zero rows. Scores are made for
// blocks of 24 queries against the keys that causality lets them see, so half of the square is never computed, and they
// are made again for the gradient instead of being kept.

/// Floats in a vector.
private let lanes = 16

/// Queries per block: a multiple of every tile height (3, 6, 12); small, since the diagonal block is half wasted.
private let queryBlock = 24

/// Where the parts of the scratch memory begin, for T tokens and heads of width D.
private struct Scratch {
    let paddedTokens: Int
    let paddedWidth: Int
    let queries, keys, values, keyPanels, valuePanels, outputs: UnsafeMutablePointer<Float>
    let dQueries, dKeys, dValues, scores, dScores, statistics: UnsafeMutablePointer<Float>

    @inline(__always)
    init(_ tokens: Int, _ width: Int, _ memory: UnsafeMutablePointer<Float>) {
        paddedTokens = (tokens + 47) / 48 * 48
        paddedWidth = (width + lanes - 1) / lanes * lanes
        let size = paddedTokens * paddedWidth
        queries = memory
        keys = queries + size
        values = keys + size
        keyPanels = values + size
        valuePanels = keyPanels + size
        outputs = valuePanels + size
        dQueries = outputs + size
        dKeys = dQueries + size
        dValues = dKeys + size
        scores = dValues + size
        dScores = scores + queryBlock * paddedTokens
        statistics = dScores + queryBlock * paddedTokens
    }
}

/// Floats of scratch memory that attention over `tokens` tokens with heads of `width` needs; it must start out as zeros.
package func attentionScratchCount(_ tokens: Int, _ width: Int) -> Int {
    let paddedTokens = (tokens + 47) / 48 * 48
    return paddedTokens * (9 * ((width + lanes - 1) / lanes * lanes) + 2 * queryBlock + 3)
}

/// Copies one head's rows, rotated by position and scaled: (x1, x2) -> (x1 cos - x2 sin, x2 cos + x1 sin) * factor.
///
/// cos, sin: [T, D / 2]; `direction` is 1, or -1 to rotate back (the gradient of the rotation).
package func rotate(
    _ tokens: Int, _ width: Int, _ source: UnsafePointer<Float>, _ sourceStride: Int, _ cosines: UnsafePointer<Float>,
    _ sines: UnsafePointer<Float>, _ direction: Float, _ factor: Float, _ destination: UnsafeMutablePointer<Float>,
    _ destinationStride: Int
) {
    let half = width / 2
    let sineFactor = direction * factor
    var token = 0
    while token < tokens {
        let from = source + token * sourceStride
        let to = destination + token * destinationStride
        let (cosine, sine) = (cosines + token * half, sines + token * half)
        var index = 0
        while index + lanes <= half {
            let (first, second) = (v_load(from + index), v_load(from + half + index))
            let c = v_load(cosine + index) * v_splat(factor)
            let s = v_load(sine + index) * v_splat(sineFactor)
            v_store(to + index, first * c - second * s)
            v_store(to + half + index, second * c + first * s)
            index += lanes
        }
        while index < half {
            let (first, second) = (from[index], from[half + index])
            let (c, s) = (cosine[index] * factor, sine[index] * sineFactor)
            to[index] = first * c - second * s
            to[half + index] = second * c + first * s
            index += 1
        }
        token += 1
    }
}

/// Copies rows of `width` floats.
@inline(__always)
private func copyRows(
    _ rows: Int, _ width: Int, _ source: UnsafePointer<Float>, _ sourceStride: Int,
    _ destination: UnsafeMutablePointer<Float>, _ destinationStride: Int
) {
    var row = 0
    while row < rows {
        let (from, to) = (source + row * sourceStride, destination + row * destinationStride)
        var index = 0
        while index + lanes <= width {
            v_store(to + index, v_load(from + index))
            index += lanes
        }
        while index < width {
            to[index] = from[index]
            index += 1
        }
        row += 1
    }
}

/// Turns rows [paddedTokens, D16] into panels of 16 tokens: [token / 16][d][token % 16].
@inline(__always)
private func transposePanels(
    _ paddedTokens: Int, _ width: Int, _ stride: Int, _ rows: UnsafePointer<Float>,
    _ panels: UnsafeMutablePointer<Float>
) {
    var token = 0
    while token < paddedTokens {
        let from = rows + token * stride
        let panel = panels + (token / lanes * width) * lanes + token % lanes
        var index = 0
        while index < width {
            panel[index * lanes] = from[index]
            index += 1
        }
        token += 1
    }
}

/// [24, columns] = rows of A (24 x D) times panels (D x columns); columns is a multiple of 16.
@inline(__always)
private func multiplyPanels(
    _ columns: Int, _ width: Int, _ a: UnsafePointer<Float>, _ aStride: Int, _ panels: UnsafePointer<Float>,
    _ out: UnsafeMutablePointer<Float>, _ outStride: Int
) {
    var column = 0
    while column < columns {
        var row = 0
        while row < queryBlock {
            v_tile(
                Int(vector_tile_rows), 0, width, a + row * aStride, aStride, 1, panels + column * width, lanes,
                out + row * outStride + column,
                outStride, 0, 0)
            row += Int(vector_tile_rows)
        }
        column += lanes
    }
}

/// [24, D16] = scores (24 x depth) times rows (depth x D16).
@inline(__always)
private func multiplyRows(
    _ depth: Int, _ paddedWidth: Int, _ a: UnsafePointer<Float>, _ aStride: Int, _ rows: UnsafePointer<Float>,
    _ out: UnsafeMutablePointer<Float>
) {
    var column = 0
    while column < paddedWidth {
        var row = 0
        while row < queryBlock {
            v_tile(
                Int(vector_tile_rows), 0, depth, a + row * aStride, aStride, 1, rows + column, paddedWidth,
                out + row * paddedWidth + column,
                paddedWidth, 0, 0)
            row += Int(vector_tile_rows)
        }
        column += lanes
    }
}

/// [columns, D16] += transposed scores (columns x 24) times rows (24 x D16).
@inline(__always)
private func addTransposed(
    _ columns: Int, _ paddedWidth: Int, _ a: UnsafePointer<Float>, _ aStride: Int, _ rows: UnsafePointer<Float>,
    _ out: UnsafeMutablePointer<Float>
) {
    var column = 0
    while column < paddedWidth {
        var row = 0
        while row < columns {
            v_tile(
                Int(vector_tile_rows), 0, queryBlock, a + row, 1, aStride, rows + column, paddedWidth,
                out + row * paddedWidth + column,
                paddedWidth, 1, 0)
            row += Int(vector_tile_rows)
        }
        column += lanes
    }
}

/// Exponentials of one row's visible scores, zeros behind them up to `limit`; returns the maximum and the sum.
@inline(__always)
private func softmaxRow(_ visible: Int, _ limit: Int, _ row: UnsafeMutablePointer<Float>) -> (Float, Float) {
    let whole = visible / lanes * lanes
    var largests = v_splat(-.infinity)
    var index = 0
    while index < whole {
        largests = v_max(v_load(row + index), largests)
        index += lanes
    }
    if whole < visible {
        let last = v_keep_first(v_load(row + whole), visible - whole, -.infinity)
        v_store(row + whole, last)
        largests = v_max(last, largests)
    }
    let largest = v_reduce_max(largests)
    let offset = v_splat(largest)
    var sums = v_splat(0)
    index = 0
    while index < whole {
        let value = v_exp_bounded(v_load(row + index) - offset)
        sums += value
        v_store(row + index, value)
        index += lanes
    }
    if whole < visible {
        let value = v_keep_first(v_exp_bounded(v_load(row + whole) - offset), visible - whole, 0)
        sums += value
        v_store(row + whole, value)
        index += lanes
    }
    while index < limit {
        v_store(row + index, v_splat(0))
        index += lanes
    }
    return (largest, v_reduce_add(sums))
}

/// The number of score columns that a query block computes, and the one up to which it keeps zeros (whole tiles).
@inline(__always)
private func reach(_ firstQuery: Int, _ paddedTokens: Int) -> (columns: Int, limit: Int) {
    let columns = (firstQuery + queryBlock + lanes - 1) / lanes * lanes
    let limit = (columns + 47) / 48 * 48
    return (columns < paddedTokens ? columns : paddedTokens, limit < paddedTokens ? limit : paddedTokens)
}

/// Causal grouped-query attention over one sequence.
///
/// - Parameters:
///   - qkv: [T, stride], each row the H queries, K keys and K values of a token, before rotation.
///   - out: [T, H * D].
///   - cosines, sines: [T, D / 2].
///   - statistics: [H, T, 2]: each query's largest score and the inverse of its sum, kept for the gradient.
///   - memory: `attentionScratchCount` floats, zero at first use and never touched by others.
package func attention(
    _ tokens: Int, _ heads: Int, _ groups: Int, _ width: Int, _ qkv: UnsafePointer<Float>,
    _ cosines: UnsafePointer<Float>, _ sines: UnsafePointer<Float>, _ out: UnsafeMutablePointer<Float>,
    _ statistics: UnsafeMutablePointer<Float>, _ memory: UnsafeMutablePointer<Float>
) {
    let scratch = Scratch(tokens, width, memory)
    let stride = (heads + 2 * groups) * width
    let factor = 1 / Float(width).squareRoot()
    var head = 0
    while head < heads {
        let group = head / (heads / groups)
        if head % (heads / groups) == 0 {
            gatherKeyValue(tokens, heads, groups, width, group, qkv, cosines, sines, scratch)
        }
        rotate(
            tokens, width, qkv + head * width, stride, cosines, sines, 1, factor, scratch.queries, scratch.paddedWidth)
        let kept = statistics + head * tokens * 2
        var first = 0
        while first < tokens {
            let (columns, limit) = reach(first, scratch.paddedTokens)
            multiplyPanels(
                columns, width, scratch.queries + first * scratch.paddedWidth, scratch.paddedWidth, scratch.keyPanels,
                scratch.scores, scratch.paddedTokens)
            let outputs = scratch.outputs + first * scratch.paddedWidth
            var row = 0
            while row < queryBlock && first + row < tokens {
                let (largest, sum) = softmaxRow(first + row + 1, limit, scratch.scores + row * scratch.paddedTokens)
                kept[(first + row) * 2] = largest
                kept[(first + row) * 2 + 1] = 1 / sum
                row += 1
            }
            multiplyRows(columns, scratch.paddedWidth, scratch.scores, scratch.paddedTokens, scratch.values, outputs)
            row = 0
            while row < queryBlock && first + row < tokens {
                let to = out + (first + row) * heads * width + head * width
                copyRows(1, width, outputs + row * scratch.paddedWidth, 0, to, 0)
                scale(width, kept[(first + row) * 2 + 1], to)
                row += 1
            }
            first += queryBlock
        }
        head += 1
    }
}

/// Gathers keys (rotated) and values of one group, as rows and the keys as panels.
@inline(__always)
private func gatherKeyValue(
    _ tokens: Int, _ heads: Int, _ groups: Int, _ width: Int, _ group: Int, _ qkv: UnsafePointer<Float>,
    _ cosines: UnsafePointer<Float>, _ sines: UnsafePointer<Float>, _ scratch: Scratch
) {
    let stride = (heads + 2 * groups) * width
    let padded = scratch.paddedWidth
    rotate(tokens, width, qkv + (heads + group) * width, stride, cosines, sines, 1, 1, scratch.keys, padded)
    copyRows(tokens, width, qkv + (heads + groups + group) * width, stride, scratch.values, padded)
    transposePanels(scratch.paddedTokens, width, padded, scratch.keys, scratch.keyPanels)
}

/// The gradient of `attention`: dQKV from dOut, with the forward's `out` and `statistics`.
package func attentionGradient(
    _ tokens: Int, _ heads: Int, _ groups: Int, _ width: Int, _ qkv: UnsafePointer<Float>,
    _ cosines: UnsafePointer<Float>, _ sines: UnsafePointer<Float>, _ out: UnsafePointer<Float>,
    _ statistics: UnsafePointer<Float>, _ dOut: UnsafePointer<Float>, _ dQKV: UnsafeMutablePointer<Float>,
    _ memory: UnsafeMutablePointer<Float>
) {
    let scratch = Scratch(tokens, width, memory)
    let stride = (heads + 2 * groups) * width
    let perGroup = heads / groups
    let padded = scratch.paddedWidth
    var group = 0
    while group < groups {
        gatherKeyValue(tokens, heads, groups, width, group, qkv, cosines, sines, scratch)
        transposePanels(scratch.paddedTokens, width, padded, scratch.values, scratch.valuePanels)
        clear(scratch.paddedTokens * padded, scratch.dKeys)
        clear(scratch.paddedTokens * padded, scratch.dValues)
        var head = group * perGroup
        while head < (group + 1) * perGroup {
            headGradient(
                tokens, heads, width, head, qkv, stride, cosines, sines, out, statistics + head * tokens * 2, dOut,
                dQKV,
                scratch)
            head += 1
        }
        rotate(tokens, width, scratch.dKeys, padded, cosines, sines, -1, 1, dQKV + (heads + group) * width, stride)
        copyRows(tokens, width, scratch.dValues, padded, dQKV + (heads + groups + group) * width, stride)
        group += 1
    }
}

/// One query head's part of `attentionGradient`: writes its dQ and adds to the group's dK and dV.
@inline(__always)
private func headGradient(
    _ tokens: Int, _ heads: Int, _ width: Int, _ head: Int, _ qkv: UnsafePointer<Float>, _ stride: Int,
    _ cosines: UnsafePointer<Float>, _ sines: UnsafePointer<Float>, _ out: UnsafePointer<Float>,
    _ statistics: UnsafePointer<Float>, _ dOut: UnsafePointer<Float>, _ dQKV: UnsafeMutablePointer<Float>,
    _ scratch: Scratch
) {
    let factor = 1 / Float(width).squareRoot()
    let padded = scratch.paddedWidth
    let outStride = heads * width
    rotate(tokens, width, qkv + head * width, stride, cosines, sines, 1, factor, scratch.queries, padded)
    copyRows(tokens, width, dOut + head * width, outStride, scratch.outputs, padded)
    clear((scratch.paddedTokens - tokens) * padded, scratch.outputs + tokens * padded)
    var first = 0
    while first < tokens {
        let (columns, limit) = reach(first, scratch.paddedTokens)
        let dRows = scratch.outputs + first * padded
        multiplyPanels(
            columns, width, scratch.queries + first * padded, padded, scratch.keyPanels, scratch.scores,
            scratch.paddedTokens)
        multiplyPanels(columns, width, dRows, padded, scratch.valuePanels, scratch.dScores, scratch.paddedTokens)
        var row = 0
        while row < queryBlock {
            let token = first + row
            let scores = scratch.scores + row * scratch.paddedTokens
            let dScores = scratch.dScores + row * scratch.paddedTokens
            if token < tokens {
                // The softmax's gradient pulls every score by the mean of dP under P, which is dO . O.
                let at = token * outStride + head * width
                let mean = dotProduct(width, out + at, dOut + at)
                softmaxGradientRow(
                    token + 1, limit, statistics[token * 2], statistics[token * 2 + 1], mean, scores, dScores)
            } else {
                clear(limit, scores)
                clear(limit, dScores)
            }
            row += 1
        }
        multiplyRows(
            columns, padded, scratch.dScores, scratch.paddedTokens, scratch.keys, scratch.dQueries + first * padded)
        addTransposed(columns, padded, scratch.scores, scratch.paddedTokens, dRows, scratch.dValues)
        addTransposed(
            columns, padded, scratch.dScores, scratch.paddedTokens, scratch.queries + first * padded, scratch.dKeys)
        first += queryBlock
    }
    rotate(tokens, width, scratch.dQueries, padded, cosines, sines, -1, factor, dQKV + head * width, stride)
}

/// Makes P from scores and dS = P * (dP - mean) from dP, for one row; zeros behind the visible part.
@inline(__always)
private func softmaxGradientRow(
    _ visible: Int, _ limit: Int, _ largest: Float, _ inverse: Float, _ mean: Float,
    _ scores: UnsafeMutablePointer<Float>, _ dScores: UnsafeMutablePointer<Float>
) {
    let (offset, factor, pull) = (v_splat(largest), v_splat(inverse), v_splat(mean))
    var index = 0
    while index + lanes <= visible {
        let p = v_exp_bounded(v_load(scores + index) - offset) * factor
        v_store(scores + index, p)
        v_store(dScores + index, p * (v_load(dScores + index) - pull))
        index += lanes
    }
    if index < visible {
        let p = v_keep_first(v_exp_bounded(v_load(scores + index) - offset) * factor, visible - index, 0)
        let d = v_keep_first(p * (v_load(dScores + index) - pull), visible - index, 0)
        v_store(scores + index, p)
        v_store(dScores + index, d)
        index += lanes
    }
    while index < limit {
        v_store(scores + index, v_splat(0))
        v_store(dScores + index, v_splat(0))
        index += lanes
    }
}

/// Zeros `count` floats, a multiple of 16.
@inline(__always)
private func clear(_ count: Int, _ values: UnsafeMutablePointer<Float>) {
    var index = 0
    while index < count {
        v_store(values + index, v_splat(0))
        index += lanes
    }
}
