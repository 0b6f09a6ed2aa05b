/// When fragments are due, in inner steps.
package struct SyncSchedule: Hashable, Sendable {
    /// Inner steps between two snapshots of the same fragment (H), at least 1.
    package let innerStepsPerRound: UInt64
    /// The number of fragments (P), at least 1.
    package let fragmentCount: Int

    /// Wraps H and P.
    package init(innerStepsPerRound: UInt64, fragmentCount: Int) {
        precondition(innerStepsPerRound >= 1 && fragmentCount >= 1, "a schedule needs steps and fragments")
        self.innerStepsPerRound = innerStepsPerRound
        self.fragmentCount = fragmentCount
    }

    /// Steps after which a fragment is due for the first time: H (k + 1) / P, rounded down and at least 1, so that the
    /// fragments' rounds are spread evenly over H; the first interval is shorter than H for all but the last fragment.
    package func firstDue(_ fragment: FragmentIndex) -> UInt64 {
        let (product, overflow) = innerStepsPerRound.multipliedReportingOverflow(by: UInt64(fragment.value) + 1)
        return overflow ? innerStepsPerRound : max(1, product / UInt64(fragmentCount))
    }

    /// Steps, counted since the snapshot whose contribution was committed, after which a fragment is due again.
    package func due(_ fragment: FragmentIndex, nextRound: RoundIndex, closing: Bool) -> UInt64 {
        if closing { return 0 }
        return nextRound.value <= 1 ? firstDue(fragment) : innerStepsPerRound
    }
}
