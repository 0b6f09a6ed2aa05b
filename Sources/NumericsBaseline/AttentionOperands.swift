import CVector

// What attention and its gradient share: the scratch memory of one head, and how its rows become operands of products.
//
// T: tokens; H: query heads; K: key-value heads; D: head width. A head's queries, keys and values are gathered (and
// rotated) into rows of D16 = D rounded up to 16 floats; T is padded to whole tiles with zero rows. In bfloat16 every
// product reads words of two values that follow each other along its depth (MatrixTiles.h): along D for scores, along
// keys or queries for sums over tokens.

/// Floats in a vector.
private let lanes = 16

/// Queries per block: a multiple of every tile height (3, 6, 12) and even; small, since the diagonal block is half wasted.
let queryBlock = 24

/// Where the parts of the scratch memory begin, for T tokens and heads of width D.
struct AttentionScratch {
    /// T and D, padded.
    let paddedTokens, paddedWidth: Int
    /// [T, D16]: one head's rows, as the left side of products over D (`rows`; words in bfloat16) and as the right side of
    /// products over tokens (`pairs`: two tokens' rows in one row of words; in float32 the rows themselves).
    let queryRows, queryPairs, keyRows, keyPairs, valueRows, valuePairs, outputRows, outputPairs: MutableWords
    /// Keys and values as panels of 16 tokens, the right side of products over D.
    let keyPanels, valuePanels: MutableWords
    /// [T, D16] in float32. `dQueries` holds rows on their way to words, and a block's output, where it is not in use.
    let dQueries, dKeys, dValues: MutableWords
    /// [24, T] each.
    let scores, dScores: MutableWords
    /// [24, dScoreWordStride]: dScores as words along the keys.
    let dScoreWords: MutableWords
    /// Words per row: whole vectors of 16.
    let dScoreWordStride: Int

    @inline(__always)
    init(_ tokens: Int, _ width: Int, _ memory: MutableWords, paired: Bool) {
        paddedTokens = (tokens + 47) / 48 * 48
        paddedWidth = (width + lanes - 1) / lanes * lanes
        let size = paddedTokens * paddedWidth
        let second = paired ? size / 2 : 0
        queryRows = memory
        queryPairs = queryRows + second
        keyRows = memory + size
        keyPairs = keyRows + second
        valueRows = memory + 2 * size
        valuePairs = valueRows + second
        outputRows = memory + 3 * size
        outputPairs = outputRows + second
        keyPanels = memory + 4 * size
        valuePanels = memory + 5 * size
        dQueries = memory + 6 * size
        dKeys = memory + 7 * size
        dValues = memory + 8 * size
        scores = memory + 9 * size
        dScores = scores + queryBlock * paddedTokens
        dScoreWords = dScores + queryBlock * paddedTokens
        dScoreWordStride = (paddedTokens + 2 * lanes - 1) / (2 * lanes) * lanes
    }
}

/// Floats, or words of two bfloat16 values.
typealias MutableWords = UnsafeMutablePointer<Float>

/// Floats of scratch memory that attention over `tokens` tokens with heads of `width` needs; it must start out as zeros
/// and serve one precision, token count and width.
package func attentionScratchCount(_ tokens: Int, _ width: Int) -> Int {
    let paddedTokens = (tokens + 47) / 48 * 48
    let wordStride = (paddedTokens + 2 * lanes - 1) / (2 * lanes) * lanes
    return paddedTokens * (9 * ((width + lanes - 1) / lanes * lanes) + 2 * queryBlock) + queryBlock * wordStride
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
func copyRows(
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

/// Two rows in one row of words: rows [T, D] to words [T / 2, D16].
@inline(__always)
private func pairRows(
    _ tokens: Int, _ width: Int, _ source: UnsafePointer<Float>, _ sourceStride: Int, _ words: MutableWords,
    _ wordsStride: Int
) {
    var token = 0
    while token < tokens {
        let from = source + token * sourceStride
        let to = words + token / 2 * wordsStride
        var index = 0
        while index < width {
            let even = loadUpTo16(from + index, width - index)
            let odd = token + 1 < tokens ? loadUpTo16(from + sourceStride + index, width - index) : v_splat(0)
            v_store(to + index, v_pair_rows(even, odd))
            index += lanes
        }
        token += 2
    }
}

/// Makes operands of one head's rows: `rows` for products over D, `pairs` for products over tokens (the same in float32).
@inline(__always)
func stageHead(
    _ tokens: Int, _ width: Int, _ source: UnsafePointer<Float>, _ sourceStride: Int, rows: MutableWords,
    pairs: MutableWords, _ scratch: AttentionScratch, paired: Bool
) {
    if paired {
        stageRowPairs(tokens, width, source, sourceStride, rows, scratch.paddedWidth / 2)
        pairRows(tokens, width, source, sourceStride, pairs, scratch.paddedWidth)
    } else {
        copyRows(tokens, width, source, sourceStride, rows, scratch.paddedWidth)
    }
}

/// `stageHead` of rows that are rotated and scaled on the way.
@inline(__always)
func stageRotatedHead(
    _ tokens: Int, _ width: Int, _ source: UnsafePointer<Float>, _ sourceStride: Int, _ cosines: UnsafePointer<Float>,
    _ sines: UnsafePointer<Float>, _ factor: Float, rows: MutableWords, pairs: MutableWords,
    _ scratch: AttentionScratch, paired: Bool
) {
    let rotated = paired ? scratch.dQueries : rows
    rotate(
        tokens, width, source, sourceStride, cosines, sines, 1, factor, rotated, scratch.paddedWidth)
    if paired {
        stageHead(
            tokens, width, rotated, scratch.paddedWidth, rows: rows, pairs: pairs, scratch, paired: paired)
    }
}

/// Turns `rows` of a staged head into panels of 16 tokens: [token / 16][d][token % 16], d counting words.
@inline(__always)
func transposePanels(
    _ width: Int, _ rows: MutableWords, _ panels: MutableWords, _ scratch: AttentionScratch, paired: Bool
) {
    let (words, stride) = paired ? (width / 2, scratch.paddedWidth / 2) : (width, scratch.paddedWidth)
    var token = 0
    while token < scratch.paddedTokens {
        let from = rows + token * stride
        let panel = panels + (token / lanes * words) * lanes + token % lanes
        var index = 0
        while index < words {
            panel[index * lanes] = from[index]
            index += 1
        }
        token += 1
    }
}

/// Stages keys (rotated) and values of one group, and the keys as panels.
///
/// keys, values: where the group's lie in the first token's row.
@inline(__always)
func stageKeyValue(
    _ tokens: Int, _ width: Int, _ keys: UnsafePointer<Float>, _ values: UnsafePointer<Float>, _ stride: Int,
    _ cosines: UnsafePointer<Float>, _ sines: UnsafePointer<Float>, _ scratch: AttentionScratch, paired: Bool
) {
    stageRotatedHead(
        tokens, width, keys, stride, cosines, sines, 1, rows: scratch.keyRows, pairs: scratch.keyPairs, scratch,
        paired: paired)
    transposePanels(width, scratch.keyRows, scratch.keyPanels, scratch, paired: paired)
    stageHead(
        tokens, width, values, stride, rows: scratch.valueRows, pairs: scratch.valuePairs, scratch, paired: paired)
}

/// [24, columns] = 24 staged rows (of D) times panels (D x columns); columns is a multiple of 16.
@inline(__always)
func multiplyPanels(
    _ columns: Int, _ width: Int, _ rows: UnsafePointer<Float>, _ panels: UnsafePointer<Float>,
    _ out: UnsafeMutablePointer<Float>, _ scratch: AttentionScratch, paired: Bool
) {
    let (words, stride) = paired ? (width / 2, scratch.paddedWidth / 2) : (width, scratch.paddedWidth)
    var column = 0
    while column < columns {
        var row = 0
        while row < queryBlock {
            v_tile(
                Int(vector_tile_rows), paired ? 1 : 0, words, rows + row * stride, stride, 1, panels + column * words,
                lanes, out + row * scratch.paddedTokens + column, scratch.paddedTokens, 0, 0)
            row += Int(vector_tile_rows)
        }
        column += lanes
    }
}

/// [24, D16] = scores (24 x tokens, as words along the tokens in bfloat16) times pairs (tokens x D16).
@inline(__always)
func multiplyPairs(
    _ tokens: Int, _ scores: UnsafePointer<Float>, _ scoreStride: Int, _ pairs: UnsafePointer<Float>,
    _ out: UnsafeMutablePointer<Float>, _ scratch: AttentionScratch, paired: Bool
) {
    let width = scratch.paddedWidth
    var column = 0
    while column < width {
        var row = 0
        while row < queryBlock {
            v_tile(
                Int(vector_tile_rows), paired ? 1 : 0, paired ? tokens / 2 : tokens, scores + row * scoreStride,
                scoreStride, 1, pairs + column, width, out + row * width + column, width, 0, 0)
            row += Int(vector_tile_rows)
        }
        column += lanes
    }
}

/// Zeros `count` floats, a multiple of 16.
@inline(__always)
func clear(_ count: Int, _ values: UnsafeMutablePointer<Float>) {
    var index = 0
    while index < count {
        v_store(values + index, v_splat(0))
        index += lanes
    }
}
