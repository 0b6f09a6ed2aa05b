import CVector

// The gradient of causal attention (AttentionKernels.swift), block of queries by block of queries.

/// Floats in a vector.
private let lanes = 16

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

/// Two rows of P and dS as words: dS along the keys (`dScoreWords`), and both along the queries, over the first row.
///
/// They are zero from the visible part to `limit`; `columns` and `limit` are multiples of 16.
@inline(__always)
private func pairScores(
    _ columns: Int, _ limit: Int, _ scores: MutableWords, _ dScores: MutableWords, _ stride: Int,
    _ dScoreWords: MutableWords, _ wordStride: Int
) {
    var index = 0
    while index < columns {
        let isWhole = index + lanes < columns
        let first = v_pair_neighbours(
            v_load(dScores + index), isWhole ? v_load(dScores + index + lanes) : v_splat(0))
        let second = v_pair_neighbours(
            v_load(dScores + stride + index), isWhole ? v_load(dScores + stride + index + lanes) : v_splat(0))
        v_store(dScoreWords + index / 2, first)
        v_store(dScoreWords + wordStride + index / 2, second)
        index += 2 * lanes
    }
    index = 0
    while index < limit {
        v_store(scores + index, v_pair_rows(v_load(scores + index), v_load(scores + stride + index)))
        v_store(dScores + index, v_pair_rows(v_load(dScores + index), v_load(dScores + stride + index)))
        index += lanes
    }
}

/// [columns, D16] += transposed scores (columns x 24) times rows (24 x D16); in bfloat16 both in words along the queries.
@inline(__always)
private func addTransposed(
    _ columns: Int, _ scores: UnsafePointer<Float>, _ pairs: UnsafePointer<Float>,
    _ out: UnsafeMutablePointer<Float>, _ scratch: AttentionScratch, paired: Bool
) {
    let (depth, stride) =
        paired ? (queryBlock / 2, 2 * scratch.paddedTokens) : (queryBlock, scratch.paddedTokens)
    let width = scratch.paddedWidth
    var column = 0
    while column < width {
        var row = 0
        while row < columns {
            v_tile(
                Int(vector_tile_rows), paired ? 1 : 0, depth, scores + row, 1, stride, pairs + column, width,
                out + row * width + column, width, 1, 0)
            row += Int(vector_tile_rows)
        }
        column += lanes
    }
}

/// The gradient of `attention`: dQKV from dOut, with the forward's `out` and `statistics`.
package func attentionGradient(
    _ tokens: Int, _ heads: Int, _ groups: Int, _ width: Int, _ qkv: UnsafePointer<Float>,
    _ cosines: UnsafePointer<Float>, _ sines: UnsafePointer<Float>, _ out: UnsafePointer<Float>,
    _ statistics: UnsafePointer<Float>, _ dOut: UnsafePointer<Float>, _ dQKV: UnsafeMutablePointer<Float>,
    _ memory: UnsafeMutablePointer<Float>
) {
    addGradients(
        tokens, heads, groups, width, qkv, cosines, sines, out, statistics, dOut, dQKV, memory, paired: false)
}

/// The gradient of `attentionPairs`, with dOut and the scores' gradients rounded to bfloat16 where they are multiplied.
package func attentionGradientPairs(
    _ tokens: Int, _ heads: Int, _ groups: Int, _ width: Int, _ qkv: UnsafePointer<Float>,
    _ cosines: UnsafePointer<Float>, _ sines: UnsafePointer<Float>, _ out: UnsafePointer<Float>,
    _ statistics: UnsafePointer<Float>, _ dOut: UnsafePointer<Float>, _ dQKV: UnsafeMutablePointer<Float>,
    _ memory: UnsafeMutablePointer<Float>
) {
    addGradients(
        tokens, heads, groups, width, qkv, cosines, sines, out, statistics, dOut, dQKV, memory, paired: true)
}

@inline(__always)
private func addGradients(
    _ tokens: Int, _ heads: Int, _ groups: Int, _ width: Int, _ qkv: UnsafePointer<Float>,
    _ cosines: UnsafePointer<Float>, _ sines: UnsafePointer<Float>, _ out: UnsafePointer<Float>,
    _ statistics: UnsafePointer<Float>, _ dOut: UnsafePointer<Float>, _ dQKV: UnsafeMutablePointer<Float>,
    _ memory: UnsafeMutablePointer<Float>, paired: Bool
) {
    let scratch = AttentionScratch(tokens, width, memory, paired: paired)
    let stride = (heads + 2 * groups) * width
    let perGroup = heads / groups
    let factor = 1 / Float(width).squareRoot()
    let padded = scratch.paddedWidth
    var group = 0
    while group < groups {
        let keys = (heads + group) * width
        let values = keys + groups * width
        stageKeyValue(
            tokens, width, qkv + keys, qkv + values, stride, cosines, sines, scratch, paired: paired)
        transposePanels(width, scratch.valueRows, scratch.valuePanels, scratch, paired: paired)
        clear(scratch.paddedTokens * padded, scratch.dKeys)
        clear(scratch.paddedTokens * padded, scratch.dValues)
        var head = group * perGroup
        while head < (group + 1) * perGroup {
            stageRotatedHead(
                tokens, width, qkv + head * width, stride, cosines, sines, factor, rows: scratch.queryRows,
                pairs: scratch.queryPairs, scratch, paired: paired)
            stageHead(
                tokens, width, dOut + head * width, heads * width, rows: scratch.outputRows,
                pairs: scratch.outputPairs, scratch, paired: paired)
            headGradient(
                tokens, heads, width, out + head * width, statistics + head * tokens * 2, dOut + head * width,
                scratch, paired: paired)
            rotate(
                tokens, width, scratch.dQueries, padded, cosines, sines, -1, factor, dQKV + head * width, stride)
            head += 1
        }
        rotate(tokens, width, scratch.dKeys, padded, cosines, sines, -1, 1, dQKV + keys, stride)
        copyRows(tokens, width, scratch.dValues, padded, dQKV + values, stride)
        group += 1
    }
}

/// One query head's part of the gradient, whose rows are staged: makes its dQ and adds to the group's dK and dV.
@inline(__always)
private func headGradient(
    _ tokens: Int, _ heads: Int, _ width: Int, _ out: UnsafePointer<Float>, _ statistics: UnsafePointer<Float>,
    _ dOut: UnsafePointer<Float>, _ scratch: AttentionScratch, paired: Bool
) {
    let padded = scratch.paddedWidth
    let rowStride = paired ? padded / 2 : padded
    let scoreStride = scratch.paddedTokens
    var first = 0
    while first < tokens {
        let (columns, limit) = reach(first, scratch.paddedTokens)
        multiplyPanels(
            columns, width, scratch.queryRows + first * rowStride, scratch.keyPanels, scratch.scores, scratch,
            paired: paired)
        multiplyPanels(
            columns, width, scratch.outputRows + first * rowStride, scratch.valuePanels, scratch.dScores, scratch,
            paired: paired)
        var row = 0
        while row < queryBlock {
            let token = first + row
            let scores = scratch.scores + row * scoreStride
            let dScores = scratch.dScores + row * scoreStride
            if token < tokens {
                // The softmax's gradient pulls every score by the mean of dP under P, which is dO . O.
                let at = token * heads * width
                let mean = dotProduct(width, out + at, dOut + at)
                softmaxGradientRow(
                    token + 1, limit, statistics[token * 2], statistics[token * 2 + 1], mean, scores, dScores)
            } else {
                clear(limit, scores)
                clear(limit, dScores)
            }
            if paired && row % 2 == 1 {
                pairScores(
                    columns, limit, scores - scoreStride, dScores - scoreStride, scoreStride,
                    scratch.dScoreWords + (row - 1) * scratch.dScoreWordStride, scratch.dScoreWordStride)
            }
            row += 1
        }
        multiplyPairs(
            columns, paired ? scratch.dScoreWords : scratch.dScores, paired ? scratch.dScoreWordStride : scoreStride,
            scratch.keyPairs, scratch.dQueries + first * padded, scratch, paired: paired)
        // A row of pairs holds two tokens.
        let start = paired ? first / 2 * padded : first * padded
        addTransposed(columns, scratch.scores, scratch.outputPairs + start, scratch.dValues, scratch, paired: paired)
        addTransposed(columns, scratch.dScores, scratch.queryPairs + start, scratch.dKeys, scratch, paired: paired)
        first += queryBlock
    }
}
