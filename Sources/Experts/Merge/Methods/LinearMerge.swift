/// sum(w x), divided by sum(w) unless told otherwise.
///
/// Where all inputs that have a weight hold the same bits and the sum divides, these are the result; so one-hot weights
/// give that input.
struct LinearMerge {
    private let weights: [Double]
    /// The inputs whose weight is not 0.
    private let used: [Int]
    private let isNormalized: Bool

    init(_ merge: TensorMerge) {
        let weights = merge.inputs.indices.map { merge.value(.weight, of: $0) }
        self.weights = weights
        isNormalized = merge.isSet(.normalize)
        used = merge.inputs.indices.filter { weights[$0] != 0 }
    }

    func run(
        _ pass: TensorPass, _ output: (UnsafeBufferPointer<Float>) throws(MergeError) -> Void
    ) throws(MergeError) {
        let divisor = isNormalized ? weights.reduce(0, +) : 1
        if isNormalized, !Self.divides(divisor, weights) { throw .weightsSumToZero }
        let keepsEqual = isNormalized || used.count == 1 && weights[used[0]] == 1
        try pass.map(reading: used, output) { piece, target in
            let sums = piece.scratch(0)
            let differences = piece.words
            for (place, input) in used.enumerated() {
                let values = piece[input]
                let weight = weights[input]
                if place == 0 {
                    for index in 0..<piece.count { sums[index] = weight * Double(values[index]) }
                    for index in 0..<piece.count { differences[index] = 0 }
                } else {
                    for index in 0..<piece.count { sums[index] += weight * Double(values[index]) }
                    let first = piece[used[0]]
                    for index in 0..<piece.count {
                        differences[index] |= values[index].bitPattern ^ first[index].bitPattern
                    }
                }
            }
            guard let first = used.first.map({ piece[$0] }) else {
                for index in 0..<piece.count { target[index] = 0 }
                return
            }
            for index in 0..<piece.count {
                let average = Float(sums[index] / divisor)
                target[index] = keepsEqual && differences[index] == 0 ? first[index] : average
            }
        }
    }

    /// Whether a sum of weights is more than the rounding of weights that cancel out.
    static func divides(_ sum: Double, _ weights: [Double]) -> Bool {
        sum.isFinite && abs(sum) > 1e-9 * weights.reduce(0) { $0 + abs($1) }
    }
}

/// The input, times its scale.
struct PassthroughMerge {
    private let scale: Double

    init(_ merge: TensorMerge) { scale = merge.value(.scale, of: 0) }

    func run(
        _ pass: TensorPass, _ output: (UnsafeBufferPointer<Float>) throws(MergeError) -> Void
    ) throws(MergeError) {
        try pass.map(reading: [0], output) { piece, target in
            let values = piece[0]
            for index in 0..<piece.count { target[index] = Float(scale * Double(values[index])) }
        }
    }
}

/// A sum of the inputs with one coefficient for each, in float64.
func combine(
    _ coefficients: [Double], _ pass: TensorPass,
    _ output: (UnsafeBufferPointer<Float>) throws(MergeError) -> Void
) throws(MergeError) {
    let used = coefficients.indices.filter { coefficients[$0] != 0 }
    try pass.map(reading: used, output) { piece, target in
        let sums = piece.scratch(0)
        for index in 0..<piece.count { sums[index] = 0 }
        for input in used {
            let (values, coefficient) = (piece[input], coefficients[input])
            for index in 0..<piece.count { sums[index] += coefficient * Double(values[index]) }
        }
        for index in 0..<piece.count { target[index] = Float(sums[index]) }
    }
}
