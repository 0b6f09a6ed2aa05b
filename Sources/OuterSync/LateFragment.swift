/// How a node goes on with its live value while the mean of a round is under way: the charter's choice.
package enum SyncMode: UInt32, Hashable, Sendable, CaseIterable {
    /// It trains on; the head is blended in some steps after the snapshot (Streaming DiLoCo).
    case windowed = 0
    /// At each snapshot it is overwritten with the newest head, in which the round that begins is not yet (CO2).
    case fullOverlap = 1
    /// The same, with the node's own share of the round that begins on top of the head (eager updates).
    case eager = 2

    /// Whether every mean is applied a whole round late.
    package var isLate: Bool { self != .windowed }

    /// The round of the head from which the contributions of a round are measured, and which their headers name.
    ///
    /// Where means come late, a live value was overwritten at the snapshot before, with the head that was newest then. Under
    /// full overlap the first head is waited for and overwrites at once, or the second round would start where the first did.
    package func measuredFrom(_ round: RoundIndex) -> RoundIndex {
        switch (self, round.value) {
        case (_, 0), (_, 1): RoundIndex(0)
        case (.windowed, _): RoundIndex(round.value - 1)
        case (.fullOverlap, 2): RoundIndex(1)
        case (.fullOverlap, _), (.eager, _): RoundIndex(round.value - 2)
        }
    }
}

/// What a node keeps of one fragment beside its live value where means come a whole round late: from where the next outer
/// gradient is measured. Local; no head depends on it.
package struct LateFragment: Hashable, Sendable {
    /// What the live value was last overwritten with, [parameterCount] float32.
    package private(set) var start: [Float]
    /// Under the eager rule the momentum of this node's own outer gradients, of the same shape; else empty.
    package private(set) var momentum: [Float]

    /// Starts where the live value is a head.
    package init(start: [Float], mode: SyncMode) {
        self.start = start
        momentum = mode == .eager ? [Float](repeating: 0, count: start.count) : []
    }

    /// Goes on with what was saved.
    package init(start: [Float], momentum: [Float]) {
        precondition(momentum.isEmpty || momentum.count == start.count, "a momentum has its fragment's shape")
        self.start = start
        self.momentum = momentum
    }

    /// The live value has been overwritten with a head, outside of a snapshot.
    package mutating func reset(to theta: [Float]) {
        precondition(theta.count == start.count, "a head has its fragment's shape")
        start = theta
        momentum = [Float](repeating: 0, count: momentum.count)
    }

    /// At a snapshot: what the live value is overwritten with, [parameterCount] float32.
    ///
    /// Eager updates step a copy of their own by Delta_(k-1) + share (own_k - own_(k-1)). Nesterov SGD is linear, so that copy
    /// is the head of all means so far less eta share (own + mu w), with w = mu w + own of this node's gradients alone.
    /// In this form it follows the head exactly, whatever a commit leaves out. The node's own gradient is taken as it is,
    /// not as its bytes decode: they are not made yet.
    /// - Parameters:
    ///   - live: the live values at the snapshot.
    ///   - theta: the newest head's parameters.
    ///   - share: this node's share of a mean, 1 / M among equals; only the eager rule asks for it.
    /// - SeeAlso: Kale, Douillard, Donchev: Eager Updates for Overlapped Communication in DiLoCo (arXiv:2502.12996);
    ///   CO2 (arXiv:2401.16265), where the head alone overwrites.
    package mutating func turn(live: [Float], theta: [Float], share: Float, rule: OuterRule) -> [Float] {
        precondition(live.count == start.count && theta.count == start.count, "shapes must agree")
        guard !momentum.isEmpty else {
            start = theta
            return theta
        }
        let factor = rule.learningRate * share
        for index in start.indices {
            let own = start[index] - live[index]
            momentum[index] = rule.momentum * momentum[index] + own
            start[index] = theta[index] - factor * (own + rule.momentum * momentum[index])
        }
        return start
    }
}
