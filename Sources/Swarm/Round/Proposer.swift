import Compression
import OuterSync
import PeerNet

/// The coordinator's part in one attempt (the Paxos proposer).
///
///     collecting --quorum of joins, all expected or deadline--> gathering
///     gathering  --every owner decided, or deadline-----------> stepping
///     gathering  --a join shows an accepted commit------------> proposing (that value, unchanged)
///     stepping   --candidate head known-----------------------> proposing
///     proposing  --quorum of acks-----------------------------> decided
struct Proposer: Sendable {
    enum Phase: Hashable, Sendable {
        case collecting
        case gathering
        case stepping
        case proposing(Signed<Commit>)
        case decided
    }

    let id: AttemptID
    let quorum: Quorum
    var phase = Phase.collecting
    /// When the phase began, for learning how long it takes.
    var phaseStart: Moment
    /// The phase's deadline has passed: go on with what is there.
    var isOverdue = false
    /// How often an empty selection has been given more time.
    var extensions = 0
    /// Nudges sent in this phase; the wait between them doubles.
    var nudges = 0
    private(set) var joins: [PeerID: Signed<Join>] = [:]
    private var acceptedCommits: [Digest: Signed<Commit>] = [:]
    /// Per payload the voters that hold it.
    private(set) var holders: [Digest: Set<PeerID>] = [:]
    private(set) var acks: [PeerID: [UInt8]] = [:]

    init(id: AttemptID, quorum: Quorum, at now: Moment) {
        self.id = id
        self.quorum = quorum
        phaseStart = now
    }

    mutating func enter(_ phase: Phase, at now: Moment) {
        self.phase = phase
        phaseStart = now
        isOverdue = false
        nudges = 0
    }

    /// Takes a join; false if the attempt has more members than a message can list.
    mutating func add(_ join: Signed<Join>, accepted: Signed<Commit>?) {
        // Twice the limit: voters are preferred when the roster is cut, whenever they come.
        guard joins.count < 2 * Limits.roundMembersMax || quorum.contains(join.signer) else { return }
        if joins[join.signer] == nil { joins[join.signer] = join }
        if let accepted { acceptedCommits[accepted.content.valueDigest] = accepted }
    }

    /// The joins of the roster, if it is time: a quorum of voters, and everybody expected or the deadline.
    func roster(expected: Set<PeerID>) -> [Signed<Join>]? {
        guard phase == .collecting, quorum.isReached(by: joins.keys) else { return nil }
        guard isOverdue || expected.isSubset(of: joins.keys) else { return nil }
        let ordered = joins.values.sorted {
            let (left, right) = (quorum.contains($0.signer), quorum.contains($1.signer))
            return left != right ? left : $0.signer < $1.signer
        }
        return ordered.prefix(Limits.roundMembersMax).sorted { $0.signer < $1.signer }
    }

    /// The commit that carries an accepted value, from the join that showed it.
    func acceptedCommit(_ value: Digest) -> Signed<Commit>? { acceptedCommits[value] }

    mutating func add(holder: PeerID, of blob: Digest) {
        guard quorum.contains(holder) else { return }
        // Voters x owners at most; a voter that names anything else is not looked up.
        guard holders[blob] != nil || holders.count < 2 * Limits.roundMembersMax else { return }
        holders[blob, default: []].insert(holder)
    }

    func isHeldByQuorum(_ blob: Digest) -> Bool {
        holders[blob].map { quorum.isReached(by: $0) } ?? false
    }

    /// Takes an ack; the final commit once a quorum has acked.
    mutating func add(_ ack: Signed<Ack>) -> Final? {
        guard case .proposing(let commit) = phase, ack.content.id == id,
            ack.content.value == commit.content.valueDigest, quorum.contains(ack.signer)
        else { return nil }
        acks[ack.signer] = ack.signature
        guard quorum.isReached(by: acks.keys) else { return nil }
        phase = .decided
        let acknowledgements = quorum.voters.enumerated().compactMap { index, voter in
            acks[voter].map { Final.Acknowledgement(voter: index, signature: $0) }
        }
        return Final(commit.content, acks: acknowledgements)
    }
}
