package import Compression
package import OuterSync

/// From where outer gradients are measured in swarms whose means come a whole round late, kept and saved with the live
/// values; nothing in other swarms.
package struct LateFragments: Sendable {
    private let rule: OuterRule
    /// Per fragment; empty where means do not come late.
    private var fragments: [LateFragment]

    private static func name(_ index: Int) -> String { "start.\(index)" }
    private static func momentumName(_ index: Int) -> String { "own_momentum.\(index)" }

    /// Starts where the live values are the heads, or goes on with what a local snapshot holds; nil if that holds less than
    /// the swarm's mode needs.
    ///
    /// - Parameter saved: the local snapshot's sections; nil: there is none.
    package init?(mode: SyncMode, rule: OuterRule, heads: [FragmentHead], saved: [TrainerStateSection]?) {
        self.rule = rule
        fragments = []
        guard mode.isLate else { return }
        for (index, head) in heads.enumerated() {
            guard let saved else {
                fragments.append(LateFragment(start: head.theta, mode: mode))
                continue
            }
            func floats(_ name: String) -> [Float]? {
                saved.first { $0.name == name }?.floats(head.theta.count)
            }
            guard let start = floats(Self.name(index)) else { return nil }
            guard let momentum = mode == .eager ? floats(Self.momentumName(index)) : [] else { return nil }
            fragments.append(LateFragment(start: start, momentum: momentum))
        }
    }

    /// What a fragment's live value was last overwritten with, [parameterCount] float32; nil where means do not come late.
    package func start(of fragment: FragmentIndex) -> [Float]? {
        fragments.isEmpty ? nil : fragments[fragment.value].start
    }

    /// A head has been put in place.
    package mutating func reset(_ fragment: FragmentIndex, to theta: [Float]) {
        if !fragments.isEmpty { fragments[fragment.value].reset(to: theta) }
    }

    /// What a live value that has just been copied is overwritten with.
    package mutating func turn(_ fragment: FragmentIndex, live: [Float], by turn: SnapshotTurn) -> [Float] {
        guard !fragments.isEmpty else { return live }
        return fragments[fragment.value].turn(live: live, theta: turn.head.theta, share: turn.share, rule: rule)
    }

    /// The state's sections for the local snapshot.
    package var sections: [TrainerStateSection] {
        fragments.enumerated().flatMap { index, fragment in
            let start = TrainerStateSection(
                name: Self.name(index), bytes: fragment.start.withUnsafeBytes { Array($0) })
            guard !fragment.momentum.isEmpty else { return [start] }
            return [
                start,
                TrainerStateSection(
                    name: Self.momentumName(index), bytes: fragment.momentum.withUnsafeBytes { Array($0) }),
            ]
        }
    }
}

/// What happens to a live fragment behind its copy, where means come late.
package struct SnapshotTurn: Sendable {
    /// The head that replaces it.
    package var head: FragmentHead
    /// This node's share of a mean.
    package var share: Float
    /// What commits have settled of the residual: put in place before the copy.
    package var settled: SettledResidual

    /// Wraps the three.
    package init(head: FragmentHead, share: Float, settled: SettledResidual) {
        self.head = head
        self.share = share
        self.settled = settled
    }
}

/// What a copy of a live fragment is measured from, where that is not the current head.
package struct SnapshotStart: Sendable {
    /// [parameterCount] float32.
    package var values: [Float]
    /// The digest of the head that it rests on.
    package var head: Digest
}
