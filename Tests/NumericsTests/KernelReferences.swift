import Numerics

/// Sizes around the vector width, an empty one and a long odd one.
let oddCounts = [0, 1, 15, 16, 17, 4097]

/// Seeded floats in -1 ..< 1.
func randomFloats(_ count: Int, seed: UInt64) -> [Float] {
    var random = SeededRandom(seed: seed)
    return (0..<count).map { _ in 2 * random.nextUniform() - 1 }
}

/// The largest |a - b|, relative to `scale`.
func largestDifference(_ a: [Float], _ b: [Double], scale: Double = 1) -> Double {
    zip(a, b).reduce(a.count == b.count ? 0 : .infinity) { max($0, abs(Double($1.0) - $1.1) / scale) }
}

/// [rows, depth] times [depth, columns], given by two element functions, in float64.
func referenceProduct(
    _ rows: Int, _ columns: Int, _ depth: Int, _ a: (Int, Int) -> Float, _ b: (Int, Int) -> Float
) -> [Double] {
    var result = [Double](repeating: 0, count: rows * columns)
    for row in 0..<rows {
        for step in 0..<depth {
            let factor = Double(a(row, step))
            for column in 0..<columns { result[row * columns + column] += factor * Double(b(step, column)) }
        }
    }
    return result
}

/// Causal attention of one head-major token block, in float64: the plain textbook loops.
func referenceAttention(
    tokens: Int, heads: Int, groups: Int, width: Int, theta: Double, _ queryKeyValue: [Double]
) -> [Double] {
    let stride = (heads + 2 * groups) * width
    func rotated(_ token: Int, _ column: Int, _ index: Int) -> Double {
        let half = width / 2
        let angle = Double(token) * referencePower(theta, -2 * Double(index % half) / Double(width))
        let (own, other) = (
            queryKeyValue[token * stride + column + index],
            queryKeyValue[token * stride + column + (index + half) % width]
        )
        let (cosine, sine) = referenceCosineAndSine(angle)
        return index < half ? own * cosine - other * sine : own * cosine + other * sine
    }
    var out = [Double](repeating: 0, count: tokens * heads * width)
    for head in 0..<heads {
        let group = head / (heads / groups)
        let queries = (0..<tokens).map { token in (0..<width).map { rotated(token, head * width, $0) } }
        let keys = (0..<tokens).map { token in (0..<width).map { rotated(token, (heads + group) * width, $0) } }
        for token in 0..<tokens {
            let scores = (0...token).map { past in
                zip(queries[token], keys[past]).reduce(0) { $0 + $1.0 * $1.1 } / Double(width).squareRoot()
            }
            let largest = scores.max() ?? 0
            let weights = scores.map { referenceExponential($0 - largest) }
            let sum = weights.reduce(0, +)
            for past in 0...token {
                let value = past * stride + (heads + groups + group) * width
                for index in 0..<width {
                    out[(token * heads + head) * width + index] += weights[past] / sum * queryKeyValue[value + index]
                }
            }
        }
    }
    return out
}
