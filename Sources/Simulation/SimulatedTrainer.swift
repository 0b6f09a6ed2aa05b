package import Compression
package import OuterSync
package import Swarm

/// What a node saves every few steps, as one atomic unit.
package struct LocalSnapshot: Hashable, Sendable {
    /// Per fragment the live values.
    package var live: [[Float]]
    /// Per fragment what encoding has left over.
    package var residuals: [[Float]]
    /// Per fragment the digest of the head that the live values belong to.
    package var bases: [Digest]
    /// Per fragment, where means come late, from where the next outer gradient is measured; else empty.
    package var late: [LateFragment] = []
    /// Steps and tokens so far.
    package var progress: TrainingProgress
}

/// A cheap stand-in for training: every step moves the live values a little towards the node's own target.
///
/// The pull is linear, so many steps are one multiplication: a step costs nothing until somebody looks.
package struct SimulatedTrainer {
    /// The share of the way to the target that one step goes.
    static let pull: Float = 0.02

    private let layout: FragmentLayout
    private let targets: [[Float]]
    private let tokensPerStep: UInt64
    private var live: [[Float]]
    private var residuals: [[Float]]
    private var bases: [Digest]
    private let encoding: PayloadEncoding
    private var late: [LateFragment]
    /// Per fragment the step up to which `live` has been moved.
    private var movedTo: [UInt64]
    /// Steps and tokens so far.
    package private(set) var progress: TrainingProgress

    /// Starts from a local snapshot, or from genesis values with nothing trained.
    package init(
        layout: FragmentLayout, encoding: PayloadEncoding, tokensPerStep: UInt64, targetSeed: UInt64,
        start: LocalSnapshot
    ) {
        var generator = SeededGenerator(seed: targetSeed)
        targets = layout.fragments.map { fragment in
            (0..<fragment.parameterCount).map { _ in Float(generator.nextUnit() * 2 - 1) }
        }
        self.layout = layout
        self.encoding = encoding
        self.tokensPerStep = tokensPerStep
        live = start.live
        residuals = start.residuals
        bases = start.bases
        late = start.late
        progress = start.progress
        movedTo = Array(repeating: start.progress.steps, count: live.count)
    }

    /// Trains one step.
    package mutating func step() {
        progress.steps += 1
        progress.tokens += tokensPerStep
    }

    /// The live values of a fragment now.
    package mutating func values(of fragment: FragmentIndex) -> [Float] {
        let index = fragment.value
        var rest: Float = 1
        for _ in 0..<(progress.steps - movedTo[index]) { rest *= 1 - Self.pull }
        movedTo[index] = progress.steps
        guard rest != 1 else { return live[index] }
        live[index].withUnsafeMutableBufferPointer { live in
            targets[index].withUnsafeBufferPointer { target in
                for position in live.indices {
                    live[position] = target[position] + rest * (live[position] - target[position])
                }
            }
        }
        return live[index]
    }

    /// What encoding has left over of a fragment.
    package func residual(of fragment: FragmentIndex) -> [Float] { residuals[fragment.value] }

    /// What outer gradients of a fragment are measured from, and the head that this rests on; nil where that is the current head.
    package func start(of fragment: FragmentIndex) -> (values: [Float], head: Digest)? {
        late.isEmpty ? nil : (late[fragment.value].start, bases[fragment.value])
    }

    /// Puts in place what commits have settled of a residual.
    package mutating func settle(_ settled: SettledResidual, of fragment: FragmentIndex) {
        settled.write(into: &residuals[fragment.value], of: layout.fragments[fragment.value])
    }

    /// Replaces the live values by a head, as the late modes do behind a copy; gives the new ones.
    package mutating func turn(
        _ fragment: FragmentIndex, head: FragmentHead, share: Float, rule: OuterRule
    ) -> [Float] {
        let values = values(of: fragment)
        live[fragment.value] = late[fragment.value].turn(live: values, theta: head.theta, share: share, rule: rule)
        bases[fragment.value] = head.digest
        return live[fragment.value]
    }

    /// Blends some tiles of a head into the live values, or replaces them all, and settles the residual.
    package mutating func apply(_ application: HeadApplication, head: FragmentHead, settled: SettledResidual) {
        let index = application.fragment.value
        var start = head.theta
        if application.overwrite, !application.keepsResidual {
            residuals[index] = Array(repeating: 0, count: residuals[index].count)
        } else if encoding.residualStaysLive {
            start = settled.resumption(under: start, decay: encoding.feedback, of: layout.fragments[index])
        } else {
            settled.write(into: &residuals[index], of: layout.fragments[index])
        }
        if application.overwrite {
            live[index] = head.theta
            if !late.isEmpty { late[index].reset(to: head.theta) }
            movedTo[index] = progress.steps
        } else {
            var values = values(of: application.fragment)
            for tile in application.blendedTiles {
                for position in layout.fragments[index].tiles[tile.value].range {
                    values[position] =
                        application.alpha * values[position] + (1 - application.alpha) * start[position]
                }
            }
            live[index] = values
        }
        bases[index] = head.digest
    }

    /// The whole state, to be saved.
    package mutating func snapshot() -> LocalSnapshot {
        for fragment in layout.fragments { _ = values(of: fragment.index) }
        return LocalSnapshot(live: live, residuals: residuals, bases: bases, late: late, progress: progress)
    }
}
