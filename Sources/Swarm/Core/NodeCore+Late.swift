import Compression
import OuterSync
import PeerNet

// Full overlap and eager updates: every mean is applied a whole round late, at the next snapshot.

extension NodeCore {
    /// The head that the contributions of a round are measured from; nil in the windowed mode: the one before the round.
    func measuredFrom(_ round: RoundIndex, _ fragment: FragmentIndex) -> Digest? {
        guard charter.syncMode.isLate else { return nil }
        return fragments[fragment.value].ledger.head(after: charter.syncMode.measuredFrom(round))
    }

    /// What the outer step of a value reads; `tokensBefore` are those behind its base.
    func step(of value: CommitValue, tokensBefore: UInt64) -> OuterStepDescription {
        var step = value.step(tokensBefore: tokensBefore, shape: fragments[value.fragment.value].shape)
        step.measuredFrom = measuredFrom(value.round, value.fragment)
        return step
    }

    /// Whether base minus live value is a contribution to the open round.
    func canContribute(_ fragment: FragmentIndex, to round: RoundIndex) -> Bool {
        let live = fragments[fragment.value].live
        guard live.isUsable, progress.tokens > live.shareStart.tokens else { return false }
        return !charter.syncMode.isLate || live.start == charter.syncMode.measuredFrom(round)
    }

    /// What becomes of the live value at a snapshot.
    func sequel(_ fragment: FragmentIndex, of round: RoundIndex) -> SnapshotSequel {
        switch charter.syncMode {
        case .windowed: return .none
        case .fullOverlap: return round.value == 1 ? .none : .turn(share: 1)
        case .eager:
            let contributors = fragments[fragment.value].ledger.tip.members.count { $0.share.tokens > 0 }
            return .turn(share: 1 / Float(max(1, contributors)))
        }
    }

    /// The live value was copied for the open round, and overwritten with the head before it, if the mode says so.
    mutating func turned(_ fragment: FragmentIndex, _ round: RoundIndex, at progress: TrainingProgress) {
        guard case .turn = sequel(fragment, of: round) else { return }
        fragments[fragment.value].live.start = RoundIndex(round.value - 1)
        fragments[fragment.value].live.shareStart = progress
    }

    /// What the newest head means for a live value that is overwritten at every snapshot: nothing before the next one. A
    /// value that has missed its turn can contribute to neither this head's successor nor the one after that; from the
    /// newest head it can, soonest.
    mutating func takeLateOutcome(_ fragment: FragmentIndex, _ round: RoundIndex, _ outcome: FragmentState.Outcome?) {
        let live = fragments[fragment.value].live
        let isListed = !(outcome?.blended.isEmpty ?? true)
        if !isListed, outcome?.snapshot != nil {
            fragments[fragment.value].live.leftOut += 1
            event(.leftOut(fragment, round, inARow: live.leftOut + 1))
        } else if isListed {
            fragments[fragment.value].live.leftOut = 0
        }
        if charter.syncMode == .fullOverlap, round.value == 1 {
            return overwrite(fragment, with: round, keepsResidual: isListed)
        }
        if isListed, outcome?.snapshot == nil {
            return mustOverwrite(fragment, "its contribution was committed without its snapshot")
        }
        if live.start.next < round { mustOverwrite(fragment, "its live value rests on head \(live.start.value)") }
    }
}
