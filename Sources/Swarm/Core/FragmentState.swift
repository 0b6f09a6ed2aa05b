import Compression
import OuterSync
import PeerNet

/// Everything that one node knows about one fragment.
struct FragmentState: Sendable {
    /// How the head follows the ledger.
    enum Following: Hashable, Sendable {
        case idle
        /// The next round's payloads are being fetched.
        case fetching(RoundIndex)
        case stepping(RoundIndex)
        case adopting(RoundIndex)
        case seekingSnapshot(asked: Set<PeerID>, current: PeerID?)
        case fetchingSnapshot(RoundIndex, SnapshotManifest)
        case installing(RoundIndex, SnapshotManifest)
        /// The last try failed; the catch-up timer starts the next one.
        case resting
    }

    /// How the live value relates to the head.
    struct Live: Hashable, Sendable {
        /// Base minus live value is a contribution; else the head must overwrite the live value first.
        var isUsable: Bool
        /// Where means come late: the round of the head that the live value was last overwritten with.
        var start = RoundIndex(0)
        /// The application that the trainer has not confirmed yet.
        var applying: RoundIndex?
        var isOverwriting = false
        /// The counters at the snapshot whose contribution was last committed, or at the last overwrite.
        var shareStart: TrainingProgress
        /// Final commits in a row that do not list this node though it had trained.
        var leftOut = 0
    }

    /// What a final commit means for this node's live value.
    struct Outcome: Hashable, Sendable {
        /// Tiles whose payload counts this node's contribution.
        var blended: [TileIndex]
        /// The counters at the round's snapshot, if there was one.
        var snapshot: TrainingProgress?
    }

    /// A computed head that no final commit has chosen yet.
    struct Candidate: Hashable, Sendable {
        let step: OuterStepDescription
        let head: Digest
    }

    struct StoredSnapshot: Hashable, Sendable {
        let round: RoundIndex
        let manifest: SnapshotManifest
    }

    /// Learnt durations of the phases of a round.
    struct Delays: Hashable, Sendable {
        var join = LearntDeadline()
        var contribution = LearntDeadline()
        var result = LearntDeadline()
        var round = LearntDeadline()
    }

    let index: FragmentIndex
    let shape: FragmentShape
    var ledger: Ledger
    /// Finals up to here are on disk.
    var durableRound: RoundIndex
    /// The final that is being written.
    var finalOnItsWay: RoundIndex?
    var head: RoundIndex
    var headDigest: Digest
    var following = Following.idle
    /// Failed tries to follow the ledger, since the last success.
    var failures = 0
    var live: Live
    var round: Round?
    /// A plan for the next round that came before this node could follow it.
    var deferredPlan: (from: PeerID, plan: Signed<Plan>)?
    /// Per final commit that the head has not reached; older ones count as not listing this node.
    var outcomes: [RoundIndex: Outcome] = [:]
    var candidates: [Candidate] = []
    var delays = Delays()
    var snapshots: [StoredSnapshot] = []
    /// Whom a ledger page was asked from, and when.
    var pageRequest: (from: PeerID, at: Moment)?
    /// Local steps and time at the last round's snapshot, for telling when the next one is due.
    var cycleStart: (steps: UInt64, at: Moment)

    /// Candidates kept; further ones are forgotten by the workshop and computed again if chosen.
    static let candidatesMax = 4

    /// The head has every final commit of the ledger.
    var isAtTip: Bool { head == ledger.tip.round }

    func candidate(for step: OuterStepDescription) -> Digest? { candidates.first { $0.step == step }?.head }
}
