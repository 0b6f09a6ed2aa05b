package import Compression
import NumericsBaseline

extension FragmentHead {
    /// Why a commit gives no head.
    package enum StepError: Error, Hashable, Sendable, CustomStringConvertible {
        /// A payload is not here.
        case missingPayload(Digest)
        /// A payload is not what the commit says.
        case badPayload(Digest, PayloadError)
        /// Two payloads of the commit hold the same tile.
        case tileTwice(TileIndex)
        /// A gathered contribution cannot be averaged.
        case unfitContribution(Digest, reason: String)

        /// The rule that was broken, in words.
        package var description: String {
            switch self {
            case .missingPayload(let digest): "payload \(digest.short) is not here"
            case .badPayload(let digest, let error): "payload \(digest.short): \(error)"
            case .tileTwice(let tile): "tile \(tile.value) is in two payloads of one commit"
            case .unfitContribution(let digest, let reason): "contribution \(digest.short): \(reason)"
            }
        }
    }

    /// The head after one final commit: every tile in a payload moves by the rule, and its version advances; every other
    /// tile keeps its bits.
    ///
    /// - Parameters:
    ///   - step: what the commit says.
    ///   - base: the digest of the head that contributions were measured from; nil: this head. Under full overlap it is the
    ///     head before this one.
    ///   - payload: the bytes of a payload, or nil if they are not here.
    /// - Complexity: O(parameters); allocates the new head, and leaves of untouched tiles are not hashed again.
    /// - SeeAlso: Sutskever et al. 2013 as PyTorch's SGD writes Nesterov; Douillard et al., DiLoCo (arXiv:2311.08105).
    package func advanced(
        by step: OuterStepDescription, rule: OuterRule, codec: Codec, fragment: FragmentLayout.Fragment,
        base: Digest? = nil, payload: (Digest) -> [UInt8]?
    ) throws(StepError) -> FragmentHead {
        var state = OuterState(theta: theta, velocity: velocity, drift: drift)
        var versions = self.versions
        var leaves: [Digest?] = self.leaves
        let means = try TileMeans(
            step, rule: rule, codec: codec, fragment: fragment, base: base ?? self.digest, payload: payload)
        switch rule.method {
        case .nesterov: try means.forEach { state.stepNesterov($0, $1, rule) }
        case .staleHeavyBall(let penalty, let clip):
            var squares = 0.0
            try means.forEach { _, mean in squares += sumOfSquares(mean) }
            state.drift.largestGradient = max(state.drift.largestGradient, squares.squareRoot())
            let scale = Float(1 / penalty.divisor(state.drift))
            try means.forEach { state.accumulateHeavyBall($0, $1, momentum: rule.momentum, scale: scale) }
            state.stepHeavyBall(means.tiles.map(\.tile), learningRate: rule.learningRate, clip: clip)
        }
        for (index, _) in means.tiles {
            versions[index.value] &+= 1
            leaves[index.value] = nil
        }
        return FragmentHead(
            theta: state.theta, velocity: state.velocity, versions: versions, scalars: step.scalars,
            drift: state.drift, fragment: fragment, knownLeaves: leaves)
    }
}

/// The moving parts of a head while a commit is applied.
private struct OuterState {
    var theta: [Float]
    var velocity: [Float]
    var drift: OuterDrift

    /// One Nesterov step of a tile.
    mutating func stepNesterov(
        _ tile: FragmentLayout.Tile, _ mean: UnsafeBufferPointer<Float>, _ rule: OuterRule
    ) {
        precondition(mean.count == tile.count, "a mean must have its tile's size")
        withTile(tile) { theta, velocity in
            guard let mean = mean.baseAddress else { return }
            commitOuterStep(
                theta: theta, velocity: velocity, delta: mean, count: tile.count, learningRate: rule.learningRate,
                momentum: rule.momentum)
        }
    }

    /// v = mu v + scale Delta on a tile.
    mutating func accumulateHeavyBall(
        _ tile: FragmentLayout.Tile, _ mean: UnsafeBufferPointer<Float>, momentum: Float, scale: Float
    ) {
        precondition(mean.count == tile.count, "a mean must have its tile's size")
        withTile(tile) { _, velocity in
            guard let mean = mean.baseAddress else { return }
            commitHeavyBallAccumulate(
                velocity: velocity, delta: mean, count: tile.count, momentum: momentum, scale: scale)
        }
    }

    /// Clips v on all tiles that move, then Theta = Theta - eta v there.
    mutating func stepHeavyBall(_ tiles: [FragmentLayout.Tile], learningRate: Float, clip: MomentumClip) {
        var bound = Float.greatestFiniteMagnitude
        if case .rootMeanSquares(let factor) = clip {
            let count = tiles.reduce(0) { $0 + $1.count }
            let squares = tiles.reduce(0.0) { $0 + self.squares(of: $1) }
            if count > 0 { bound = Float(Double(factor) * (squares / Double(count)).squareRoot()) }
        }
        for tile in tiles {
            withTile(tile) { theta, velocity in
                commitHeavyBallStep(
                    theta: theta, velocity: velocity, count: tile.count, learningRate: learningRate, bound: bound)
            }
        }
        let squares = tiles.reduce(0.0) { $0 + self.squares(of: $1) }
        drift.lastStep = Double(learningRate) * squares.squareRoot()
    }

    private func squares(of tile: FragmentLayout.Tile) -> Double {
        velocity.withUnsafeBufferPointer { sumOfSquares(UnsafeBufferPointer(rebasing: $0[tile.range])) }
    }

    private mutating func withTile(
        _ tile: FragmentLayout.Tile, _ body: (UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>) -> Void
    ) {
        precondition(
            tile.offset >= 0 && tile.offset + tile.count <= theta.count && velocity.count == theta.count,
            "a tile must lie inside its fragment")
        theta.withUnsafeMutableBufferPointer { theta in
            velocity.withUnsafeMutableBufferPointer { velocity in
                guard let theta = theta.baseAddress, let velocity = velocity.baseAddress else { return }
                body(theta + tile.offset, velocity + tile.offset)
            }
        }
    }
}

/// The sum of squares of some values, in the order of `commitMeasure`.
private func sumOfSquares(_ values: UnsafeBufferPointer<Float>) -> Double {
    guard let start = values.baseAddress else { return 0 }
    return commitMeasure(start, count: values.count).squares
}
