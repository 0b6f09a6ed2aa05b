import CVector

// Causal attention of one sequence, head by head, over copies of the head's rows that fit the second-level cache
// (AttentionOperands.swift). Scores are made for blocks of 24 queries against the keys that causality lets them see, so
// half of the square is never computed, and they are made again for the gradient instead of being kept.

/// Floats in a vector.
private let lanes = 16

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

/// One row of exponentials as words along the keys, in place; `columns` is a multiple of 16.
@inline(__always)
private func pairNeighbours(_ columns: Int, _ row: UnsafeMutablePointer<Float>) {
    var index = 0
    while index < columns {
        let second = index + lanes < columns ? v_load(row + index + lanes) : v_splat(0)
        v_store(row + index / 2, v_pair_neighbours(v_load(row + index), second))
        index += 2 * lanes
    }
}

/// The number of score columns that a query block computes, and the one up to which it keeps zeros (whole tiles).
@inline(__always)
func reach(_ firstQuery: Int, _ paddedTokens: Int) -> (columns: Int, limit: Int) {
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
    attend(tokens, heads, groups, width, qkv, cosines, sines, out, statistics, memory, paired: false)
}

/// `attention` with rotated queries and keys, values and exponentials rounded to bfloat16; sums are float32.
package func attentionPairs(
    _ tokens: Int, _ heads: Int, _ groups: Int, _ width: Int, _ qkv: UnsafePointer<Float>,
    _ cosines: UnsafePointer<Float>, _ sines: UnsafePointer<Float>, _ out: UnsafeMutablePointer<Float>,
    _ statistics: UnsafeMutablePointer<Float>, _ memory: UnsafeMutablePointer<Float>
) {
    attend(tokens, heads, groups, width, qkv, cosines, sines, out, statistics, memory, paired: true)
}

@inline(__always)
private func attend(
    _ tokens: Int, _ heads: Int, _ groups: Int, _ width: Int, _ qkv: UnsafePointer<Float>,
    _ cosines: UnsafePointer<Float>, _ sines: UnsafePointer<Float>, _ out: UnsafeMutablePointer<Float>,
    _ statistics: UnsafeMutablePointer<Float>, _ memory: UnsafeMutablePointer<Float>, paired: Bool
) {
    let scratch = AttentionScratch(tokens, width, memory, paired: paired)
    let stride = (heads + 2 * groups) * width
    let factor = 1 / Float(width).squareRoot()
    var head = 0
    while head < heads {
        let group = head / (heads / groups)
        if head % (heads / groups) == 0 {
            let keys = qkv + (heads + group) * width
            stageKeyValue(
                tokens, width, keys, keys + groups * width, stride, cosines, sines, scratch, paired: paired)
        }
        stageRotatedHead(
            tokens, width, qkv + head * width, stride, cosines, sines, factor, rows: scratch.queryRows,
            pairs: scratch.queryPairs, scratch, paired: paired)
        attendHead(
            tokens, heads, width, out + head * width, statistics + head * tokens * 2, scratch, paired: paired)
        head += 1
    }
}

/// One query head of `attend`, whose rows are staged.
@inline(__always)
private func attendHead(
    _ tokens: Int, _ heads: Int, _ width: Int, _ out: UnsafeMutablePointer<Float>,
    _ statistics: UnsafeMutablePointer<Float>, _ scratch: AttentionScratch, paired: Bool
) {
    let rowStride = paired ? scratch.paddedWidth / 2 : scratch.paddedWidth
    let outputs = scratch.dQueries
    var first = 0
    while first < tokens {
        let (columns, limit) = reach(first, scratch.paddedTokens)
        multiplyPanels(
            columns, width, scratch.queryRows + first * rowStride, scratch.keyPanels, scratch.scores, scratch,
            paired: paired)
        let rows = tokens - first < queryBlock ? tokens - first : queryBlock
        var row = 0
        while row < rows {
            let scores = scratch.scores + row * scratch.paddedTokens
            let (largest, sum) = softmaxRow(first + row + 1, limit, scores)
            if paired { pairNeighbours(columns, scores) }
            statistics[(first + row) * 2] = largest
            statistics[(first + row) * 2 + 1] = 1 / sum
            row += 1
        }
        multiplyPairs(
            columns, scratch.scores, scratch.paddedTokens, scratch.valuePairs, outputs, scratch, paired: paired)
        row = 0
        while row < rows {
            let to = out + (first + row) * heads * width
            copyRows(1, width, outputs + row * scratch.paddedWidth, 0, to, 0)
            scale(width, statistics[(first + row) * 2 + 1], to)
            row += 1
        }
        first += queryBlock
    }
}
