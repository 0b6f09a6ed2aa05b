import Compression
import OuterSync
import PeerNet

/// One undecided round of one fragment, as this node sees it: what it follows from, and this node's roles in it.
struct Round: Sendable {
    /// How far this node's snapshot for the round is; one per round, whatever the attempt.
    enum Snapshot: Hashable, Sendable {
        case none
        /// An earlier head must be applied first.
        case waiting
        case requested
        case taken(TrainingShare, at: TrainingProgress)
        /// Nothing to contribute: joins carry share 0.
        case unavailable
    }

    let index: RoundIndex
    /// What the round follows from.
    let tip: LedgerTip
    let quorum: Quorum
    let rank: Rank
    var voter = Voter()
    var snapshot = Snapshot.none
    /// When the snapshot was taken: the next round's H steps count from here, for this node's and for others' steps.
    var snapshotAt: Moment?
    /// When the round became due here, or was first planned.
    var dueSince: Moment?
    /// When anything last moved it.
    var lastProgress: Moment
    /// The highest attempt seen.
    var highestAttempt: UInt32?
    /// The plan to join once the snapshot is there.
    var pendingPlan: Signed<Plan>?
    /// The roster of the highest attempt, and what follows from it.
    private(set) var roster: Signed<Roster>?
    private(set) var members: [CommitMember] = []
    private(set) var exchange: Exchange?
    /// Which of the charter's result codecs the roster's results have.
    private(set) var resultLevel = 0
    /// Payloads that have been looked at, whatever the attempt.
    var checks: [PayloadCheck: PayloadCheck.State] = [:]
    /// Per owner's position its result for the roster.
    var results: [Int: Signed<OwnerResult>] = [:]
    var contributor = Contributor()
    var owner: Owner?
    var proposer: Proposer?
    /// The commit being checked.
    var review: Signed<Commit>?
    /// Messages that came before their roster.
    private(set) var early: [Early] = []

    struct Early: Sendable {
        let from: PeerID
        let message: Message
        let attempt: UInt32
    }

    init(after tip: LedgerTip, at now: Moment) {
        index = tip.round.next
        self.tip = tip
        quorum = Quorum(tip.voters)
        rank = Rank(voters: tip.voters, after: tip.commit)
        lastProgress = now
    }

    /// Takes a roster, dropping what belonged to an earlier one.
    mutating func set(_ roster: Signed<Roster>, shape: FragmentShape, resultLevel: Int) {
        self.roster = roster
        self.resultLevel = resultLevel
        members = roster.content.joins.map(CommitMember.init)
        exchange = Exchange(members, fragment: roster.content.id.fragment, shape: shape)
        results = [:]
        owner = nil
        review = nil
    }

    func position(of peer: PeerID) -> Int? { members.firstIndex { $0.peer == peer } }

    /// Positions of the members with something to contribute.
    var contributing: [Int] { members.indices.filter { members[$0].share.tokens > 0 } }

    /// Keeps a message for when its roster comes, once; a nudge brings again what is dropped.
    ///
    /// At the limit the sender with the most loses its newest, so nobody pushes out a sender that has less.
    mutating func stash(_ message: Message, attempt: UInt32, from peer: PeerID) {
        guard attempt >= highestAttempt ?? 0,
            !early.contains(where: { $0.from == peer && $0.attempt == attempt && $0.message == message })
        else { return }
        early.append(Early(from: peer, message: message, attempt: attempt))
        guard early.count > Self.earlyMax else { return }
        let counts = early.reduce(into: [PeerID: Int]()) { $0[$1.from, default: 0] += 1 }
        let most = counts.values.max() ?? 0
        // Of several the last that came: it may be the one that has just come up to the others.
        if let victim = early.lastIndex(where: { counts[$0.from] == most }) { early.remove(at: victim) }
    }

    /// The messages that waited for this attempt; those of earlier ones are forgotten.
    mutating func takeEarly(attempt: UInt32) -> [Early] {
        let ready = early.filter { $0.attempt == attempt }
        early.removeAll { $0.attempt <= attempt }
        return ready
    }

    static let earlyMax = 3 * Limits.roundMembersMax
}
