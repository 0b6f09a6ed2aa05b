package import Numerics

extension ParameterLayout {
    /// Initial parameters with identical bits on every machine.
    ///
    /// Matrices are approximately normal with mean 0: standard deviation 0.02, except that the two projections that end in
    /// the residual stream (o, down) have 0.02 / sqrt(2 * layers), so that the stream's variance does not grow with depth;
    /// norm weights are 1. Each tensor has its own random sequence (seed, index), so the layout's order does not matter.
    /// The normal is a sum of twelve 16-bit uniforms in integers (`SeededRandom.nextNormal`); only + - * / and sqrt touch
    /// floats, each correctly rounded.
    /// - SeeAlso: Radford et al., "Language models are unsupervised multitask learners" (2019), section 2.3.
    package func initialParameters(seed: UInt64) -> FloatBuffer {
        let parameters = FloatBuffer(count: count)
        let residualScale = 1 / Float(2 * configuration.layerCount).squareRoot()
        for (index, tensor) in tensors.enumerated() {
            let values = parameters.pointer + tensor.offset
            guard tensor.isMatrix else {
                values.update(repeating: 1, count: tensor.count)
                continue
            }
            let endsInResidual = tensor.name.hasSuffix("o_proj.weight") || tensor.name.hasSuffix("down_proj.weight")
            let deviation: Float = endsInResidual ? 0.02 * residualScale : 0.02
            var random = SeededRandom(seed: seed, stream: UInt64(index))
            for position in 0..<tensor.count { values[position] = random.nextNormal() * deviation }
        }
        return parameters
    }
}
