package import OuterSync

/// What encoding has left over of every fragment, kept with the live values: both move at the same step boundary and are
/// saved as one.
package struct FragmentResiduals: Sendable {
    private let layout: FragmentLayout
    /// Per fragment [parameterCount] float32; all empty without error feedback, or where residuals stay live.
    private var values: [[Float]]
    /// The decay of residuals that stay in the live values; nil: none do.
    private let liveDecay: Float?

    private static func name(_ index: Int) -> String { "residual.\(index)" }

    /// Starts at 0, or with what a local snapshot holds.
    ///
    /// - Parameter encoding: says whether the swarm has error feedback, and where its residuals are.
    package init(layout: FragmentLayout, encoding: PayloadEncoding, saved: [TrainerStateSection] = []) {
        self.layout = layout
        liveDecay = encoding.residualStaysLive ? encoding.feedback : nil
        values = layout.fragments.map { fragment in
            guard encoding.feedback > 0, !encoding.residualStaysLive else { return [] }
            let name = Self.name(fragment.index.value)
            return saved.first { $0.name == name }?.floats(fragment.parameterCount)
                ?? [Float](repeating: 0, count: fragment.parameterCount)
        }
    }

    /// From where the live value goes on under a head, once a commit has settled this of the residual.
    func resumption(under head: FragmentHead, _ settled: SettledResidual, of fragment: FragmentIndex) -> [Float] {
        guard let liveDecay else { return head.theta }
        return settled.resumption(under: head.theta, decay: liveDecay, of: layout.fragments[fragment.value])
    }

    /// A fragment's residual; empty where none is kept apart.
    package subscript(_ fragment: FragmentIndex) -> [Float] { values[fragment.value] }

    /// Takes over what a commit has settled.
    package mutating func settle(_ settled: SettledResidual, of fragment: FragmentIndex) {
        guard !values[fragment.value].isEmpty else { return }
        settled.write(into: &values[fragment.value], of: layout.fragments[fragment.value])
    }

    /// Forgets a fragment's residual: its live value was overwritten.
    package mutating func reset(_ fragment: FragmentIndex) {
        values[fragment.value] = [Float](repeating: 0, count: values[fragment.value].count)
    }

    /// The state's sections for the local snapshot.
    package var sections: [TrainerStateSection] {
        values.enumerated().filter { !$0.element.isEmpty }.map { index, values in
            TrainerStateSection(name: Self.name(index), bytes: values.withUnsafeBytes { Array($0) })
        }
    }
}
