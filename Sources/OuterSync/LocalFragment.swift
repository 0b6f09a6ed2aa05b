import NumericsBaseline

/// One node's own side of one fragment: from where its outer gradient is measured, and what encoding has left over.
///
/// Error feedback (Seide et al. 2014; with decay, SparseLoCo, arXiv:2508.15706): what is encoded is a = decay e + (base - live),
/// and e becomes a - decode(a's bytes) for the tiles whose final commit lists this node; elsewhere e stays as it was,
/// because the untaken step is still in the live value and would otherwise be sent twice.
package struct LocalFragment: Sendable {
    /// What was encoded and is not yet decided, to be settled by a final commit.
    package struct Pending: Sendable {
        /// a, [parameterCount] float32.
        package var accumulated: [Float]
        /// What the bytes decode to; where a tile was not encoded, 0.
        package var decoded: [Float]

        /// Wraps the two.
        package init(accumulated: [Float], decoded: [Float]) {
            self.accumulated = accumulated
            self.decoded = decoded
        }
    }

    /// From where the outer gradient is measured: the head's Theta, or what the live value was last overwritten with.
    package var base: [Float]
    /// What encoding has left over (e).
    package private(set) var residual: [Float]
    /// How much of the residual is added to the next outer gradient; 0: no error feedback.
    package let decay: Float
    /// Whether what is left over stays in the live value instead: training goes on from `resumption` and so does not
    /// learn again what the others have not been told yet.
    package let staysLive: Bool

    /// Starts without residual.
    package init(base: [Float], decay: Float, staysLive: Bool = false) {
        precondition(decay >= 0 && decay <= 1, "the charter has been checked")
        self.base = base
        self.decay = decay
        self.staysLive = staysLive
        residual = [Float](repeating: 0, count: base.count)
    }

    /// From where the live value goes on under the base: the base, or base - decay e where the residual stays live.
    package var resumption: [Float] {
        guard staysLive else { return base }
        var start = base
        subtract(residual[...], decay: decay, from: &start[...])
        return start
    }

    /// a = decay e + (base - live); base - live where the residual is in the live value.
    package func accumulated(live: [Float]) -> [Float] {
        precondition(live.count == base.count, "a live copy must have its fragment's shape")
        let residual = staysLive ? [Float](repeating: 0, count: base.count) : self.residual
        return [Float](unsafeUninitializedCapacity: base.count) { output, count in
            base.withUnsafeBufferPointer { base in
                live.withUnsafeBufferPointer { live in
                    residual.withUnsafeBufferPointer { residual in
                        guard let base = base.baseAddress, let live = live.baseAddress,
                            let residual = residual.baseAddress, let output = output.baseAddress
                        else { return }
                        commitAccumulated(
                            base, live, residual: residual, decay: decay, count: self.base.count, into: output)
                    }
                }
            }
            count = base.count
        }
    }

    /// A final commit lists this node for these tiles: what was sent is taken off.
    package mutating func settle(_ pending: Pending, tiles: [FragmentLayout.Tile]) {
        guard decay > 0 else { return }
        for tile in tiles {
            for index in tile.range { residual[index] = pending.accumulated[index] - pending.decoded[index] }
        }
    }

    /// Goes on with a residual that was kept elsewhere.
    package mutating func restore(_ residual: [Float]) {
        precondition(residual.count == base.count, "a residual must have its fragment's shape")
        self.residual = residual
    }

    /// Forgets what encoding has left over: after rounds were missed, when the live value is overwritten.
    package mutating func reset() {
        residual = [Float](repeating: 0, count: base.count)
    }
}

/// values -= decay residual, element by element.
private func subtract(_ residual: ArraySlice<Float>, decay: Float, from values: inout ArraySlice<Float>) {
    precondition(residual.count == values.count, "a residual must have its values' shape")
    for (index, rest) in zip(values.indices, residual) { values[index] -= decay * rest }
}

/// New values of a node's residual for some tiles, to be put in place together with the head of the commit that settled them.
package struct SettledResidual: Hashable, Sendable {
    /// Per tile its residual.
    package var tiles: [TileIndex: [Float]]

    /// No tiles.
    package init() { tiles = [:] }

    /// Values of all tiles together.
    var valueCount: Int { tiles.values.reduce(0) { $0 + $1.count } }

    /// Takes over another one's tiles; later ones replace earlier ones.
    package mutating func merge(_ later: SettledResidual) { tiles.merge(later.tiles) { $1 } }

    /// From where the live value goes on where the residual stays in it: Theta - decay e in these tiles.
    package func resumption(under theta: [Float], decay: Float, of fragment: FragmentLayout.Fragment) -> [Float] {
        var start = theta
        for (index, residual) in tiles where fragment.tiles.indices.contains(index.value) {
            subtract(residual[...], decay: decay, from: &start[fragment.tiles[index.value].range])
        }
        return start
    }

    /// Puts the tiles in their places.
    package func write(into residual: inout [Float], of fragment: FragmentLayout.Fragment) {
        for (index, values) in tiles where fragment.tiles.indices.contains(index.value) {
            let range = fragment.tiles[index.value].range
            precondition(values.count == range.count && residual.count == fragment.parameterCount, "shapes must agree")
            residual.replaceSubrange(range, with: values)
        }
    }
}

/// The eager rule's own copy of a fragment: Theta and v as this node would have them if the others had repeated their last
/// outer gradient, with its own fresh one.
///
/// Delta~ = Delta_(k-1) + (own_k - own_(k-1)) share, where share is this node's coefficient in a mean of M; before the first round
/// all terms are 0, so that the sum of all steps is that of the means and of one fresh share: the canonical head, which
/// follows the means alone, stays one round behind and nothing else away. Both own terms are what their bytes decode to,
/// as the others see them.
/// - SeeAlso: Kale, Douillard, Donchev: Eager Updates for Overlapped Communication in DiLoCo (arXiv:2502.12996), section 3.
package struct EagerFragment: Sendable {
    /// The parameters with which this node goes on.
    package private(set) var theta: [Float]
    private var velocity: [Float]
    private var lastOwn: [Float]?

    /// Starts from a head.
    package init(_ head: FragmentHead) {
        theta = head.theta
        velocity = head.velocity
    }

    /// One eager step at the end of a round.
    ///
    /// - Parameters:
    ///   - own: what this round's own message decodes to.
    ///   - lateMean: the decoded mean of the round before; nil in the first round.
    ///   - share: this node's share of a mean, 1 / M among equals.
    package mutating func step(own: [Float], lateMean: [Float]?, share: Float, rule: OuterRule) {
        precondition(own.count == theta.count, "a message must have its fragment's shape")
        var gradient = own
        for index in gradient.indices {
            let fresh = share * (own[index] - (lastOwn.map { $0[index] } ?? 0))
            gradient[index] = (lateMean.map { $0[index] } ?? 0) + fresh
        }
        lastOwn = own
        theta.withUnsafeMutableBufferPointer { theta in
            velocity.withUnsafeMutableBufferPointer { velocity in
                guard let theta = theta.baseAddress, let velocity = velocity.baseAddress else { return }
                gradient.withUnsafeBufferPointer { gradient in
                    guard let gradient = gradient.baseAddress else { return }
                    commitOuterStep(
                        theta: theta, velocity: velocity, delta: gradient, count: own.count,
                        learningRate: rule.learningRate, momentum: rule.momentum)
                }
            }
        }
    }
}
