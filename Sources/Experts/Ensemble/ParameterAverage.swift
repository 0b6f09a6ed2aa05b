package import Numerics

/// The weighted average of models in memory, to the bits of `WeightedAverage` for files.
package enum ParameterAverage {
    /// sum(w x) / sum(w) in float64, rounded once; where all models with a weight hold the same bits, these.
    ///
    /// - Parameters:
    ///   - models: of one layout, at least one.
    ///   - weights: one per model, with a sum other than zero.
    package static func of(_ models: [FloatBuffer], weights: [Double]) -> FloatBuffer {
        precondition(!models.isEmpty && models.count == weights.count, "there is a weight per model")
        let used = models.indices.filter { weights[$0] != 0 }
        let divisor = used.reduce(0) { $0 + weights[$1] }
        let average = FloatBuffer(count: models[0].count)
        for element in 0..<average.count {
            let first = models[used[0]].pointer[element]
            var (sum, isEqual) = (0.0, true)
            for model in used {
                let value = models[model].pointer[element]
                sum += weights[model] * Double(value)
                if value.bitPattern != first.bitPattern { isEqual = false }
            }
            average.pointer[element] = isEqual ? first : Float(sum / divisor)
        }
        return average
    }
}
