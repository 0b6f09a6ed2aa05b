import NumericsBaseline

extension FragmentLayout.Fragment {
    /// Copies the fragment's live values out of the model's flat parameter buffer.
    ///
    /// - Parameter model: the whole flat parameter buffer.
    /// - Returns: [parameterCount] float32 in the fragment's order.
    package func gather(from model: UnsafeBufferPointer<Float>) -> [Float] {
        [Float](unsafeUninitializedCapacity: parameterCount) { values, count in
            for tensor in tensors {
                let source = UnsafeBufferPointer(
                    rebasing: model[tensor.modelOffset..<tensor.modelOffset + tensor.count])
                _ = UnsafeMutableBufferPointer(rebasing: values[tensor.offset...]).update(fromContentsOf: source)
            }
            count = parameterCount
        }
    }

    /// Replaces the fragment's live values in the model by `theta`.
    package func overwrite(_ model: UnsafeMutableBufferPointer<Float>, with theta: [Float]) {
        blend(tiles.indices.map(TileIndex.init), of: theta, into: model, alpha: 0)
    }

    /// Blends some tiles of a head into the live model: live = alpha * live + (1 - alpha) * Theta.
    ///
    /// - Parameters:
    ///   - tiles: the tiles whose commit lists this node.
    ///   - theta: [parameterCount] float32, the head's parameters.
    ///   - model: the whole flat parameter buffer; only the tiles' ranges are touched.
    ///   - alpha: the weight that the live value keeps, in [0, 1); 0 copies Theta's bits.
    package func blend(
        _ tiles: [TileIndex], of theta: [Float], into model: UnsafeMutableBufferPointer<Float>, alpha: Float
    ) {
        precondition(theta.count == parameterCount, "the head must be this fragment's")
        theta.withUnsafeBufferPointer { theta in
            for index in tiles {
                let tile = self.tiles[index.value]
                let live = UnsafeMutableBufferPointer(rebasing: model[tile.modelOffset..<tile.modelOffset + tile.count])
                let shared = UnsafeBufferPointer(rebasing: theta[tile.range])
                if alpha == 0 {
                    _ = live.update(fromContentsOf: shared)
                } else if let live = live.baseAddress, let shared = shared.baseAddress {
                    commitBlend(live: live, theta: shared, count: tile.count, alpha: alpha)
                }
            }
        }
    }
}
