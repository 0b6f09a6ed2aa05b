import Compression
import OuterSync
import PeerNet

/// One member as a commit lists it.
struct CommitMember: Hashable, Sendable {
    var peer: PeerID
    var share: TrainingShare
    var millistepsPerSecond: UInt32
    var rateClass: UInt32
    /// The digest of the body of the member's join.
    var join: Digest
}

/// One owner's payload as a commit lists it; its tiles follow from the members.
struct CommitPayload: Hashable, Sendable {
    /// The owner's position among the members.
    var owner: Int
    var contributors: MemberSet
    var blob: BlobReference
    /// The owner's error feedback, where the charter has any; nil where it has none.
    var feedback: Feedback?

    struct Feedback: Hashable, Sendable {
        /// Whether the result goes on from the state that the ledger knows (`LedgerTip.feedback`), or from nothing.
        var continues: Bool
        /// The state that it leaves.
        var after: Digest
    }
}

/// What a round decides: one value per round, ever, whatever the attempt that carries it.
struct CommitValue: Hashable, Sendable {
    static let version: UInt32 = 1

    var fragment: FragmentIndex
    var round: RoundIndex
    var base: Digest
    var previousCommit: Digest
    var closing: Bool
    /// Strictly ascending by peer id; the next round's voters.
    var members: [CommitMember]
    /// Strictly ascending by owner.
    var payloads: [CommitPayload]
    var head: Digest
    /// Which of the charter's result codecs the payloads have.
    var resultLevel = 0

    /// The one encoding of this value.
    func bytes(in context: BranchContext) -> [UInt8] {
        var message = WireCommitValue()
        message.version = Self.version
        message.swarmID = wire(context.swarmID.bytes)
        message.branch = context.branch
        message.fragment = UInt32(fragment.value)
        message.round = round.value
        message.base = wire(base.bytes)
        message.previousCommit = wire(previousCommit.bytes)
        message.closing = closing
        message.members = members.map { member in
            var entry = WireCommitMember()
            entry.peer = wire(member.peer.publicKey)
            entry.tokens = member.share.tokens
            entry.steps = member.share.steps
            entry.millistepsPerSecond = member.millistepsPerSecond
            entry.rateClass = member.rateClass
            entry.join = wire(member.join.bytes)
            return entry
        }
        message.payloads = payloads.map { payload in
            var entry = WireCommitPayload()
            entry.owner = UInt32(payload.owner)
            entry.contributors = wire(payload.contributors.bytes)
            entry.blob = payload.blob.message
            if let feedback = payload.feedback {
                entry.feedbackContinues = feedback.continues
                entry.feedbackAfter = wire(feedback.after.bytes)
            }
            return entry
        }
        message.head = wire(head.bytes)
        message.resultLevel = UInt32(resultLevel)
        return encode(message)
    }

    func digest(in context: BranchContext) -> Digest { Digest(hashing: bytes(in: context)) }

    /// Decodes and checks everything that the value alone decides.
    init(bytes: [UInt8], in context: BranchContext) throws(Refusal) {
        let message = try decode(WireCommitValue.self, bytes)
        guard message.version == Self.version else {
            throw Refusal("a commit has version \(message.version), not \(Self.version)")
        }
        guard message.swarmID.elementsEqual(context.swarmID.bytes), message.branch == context.branch else {
            throw Refusal("a commit is of another swarm or branch")
        }
        let id = try AttemptID(fragment: message.fragment, round: message.round, attempt: 0)
        fragment = id.fragment
        round = id.round
        base = try Swarm.digest(message.base, "a commit's base")
        previousCommit = try Swarm.digest(message.previousCommit, "a commit's predecessor")
        closing = message.closing
        head = try Swarm.digest(message.head, "a commit's head")
        guard message.resultLevel <= Limits.ladderMax else { throw Refusal("a commit's result level is out of range") }
        resultLevel = Int(message.resultLevel)
        guard (1...Limits.roundMembersMax).contains(message.members.count),
            message.payloads.count <= message.members.count
        else { throw Refusal("a commit has no members, or too many members or payloads") }
        members = []
        for member in message.members { members.append(try CommitMember(member)) }
        payloads = []
        for payload in message.payloads { payloads.append(try CommitPayload(payload)) }
        try checkOrder()
        guard self.bytes(in: context) == bytes else { throw Refusal("a commit is not in its one encoding") }
    }

    init(
        fragment: FragmentIndex, round: RoundIndex, base: Digest, previousCommit: Digest, closing: Bool,
        members: [CommitMember], payloads: [CommitPayload], head: Digest, resultLevel: Int = 0
    ) {
        self.resultLevel = resultLevel
        self.fragment = fragment
        self.round = round
        self.base = base
        self.previousCommit = previousCommit
        self.closing = closing
        self.members = members
        self.payloads = payloads
        self.head = head
    }

    private func checkOrder() throws(Refusal) {
        for (left, right) in zip(members, members.dropFirst()) where !(left.peer < right.peer) {
            throw Refusal("a commit's members are not in order")
        }
        for (left, right) in zip(payloads, payloads.dropFirst()) where left.owner >= right.owner {
            throw Refusal("a commit's payloads are not in order")
        }
        for payload in payloads {
            guard payload.owner < members.count, let last = payload.contributors.positions.last,
                last < members.count
            else { throw Refusal("a commit names a member that it does not list, or no contributor") }
            for position in payload.contributors.positions where members[position].share.tokens == 0 {
                throw Refusal("a commit counts a contributor that trained nothing")
            }
        }
    }
}

extension CommitValue {
    /// Positions of the members in at least one payload.
    var contributors: [Int] { Set(payloads.flatMap(\.contributors.positions)).sorted() }

    /// Tokens that the round commits; a contributor counts once, with no more than its share may claim.
    func tokens(most: UInt64) -> UInt64 {
        CommittedTokens.counted(contributors.map { members[$0].share.tokens }, most: most)
    }

    /// The voters of the next round.
    var voters: [PeerID] { members.map(\.peer) }

    func position(of peer: PeerID) -> Int? { members.firstIndex { $0.peer == peer } }
}

extension CommitMember {
    init(_ message: WireCommitMember) throws(Refusal) {
        guard let peer = PeerID(publicKey: message.peer) else { throw Refusal("a commit's member is no key") }
        self.init(
            peer: peer, share: try TrainingShare(checkedTokens: message.tokens, steps: message.steps),
            millistepsPerSecond: message.millistepsPerSecond, rateClass: try checkedRateClass(message.rateClass),
            join: try digest(message.join, "a commit's join"))
    }

    /// A roster's join as a commit lists it.
    init(_ join: Signed<Join>) {
        self.init(
            peer: join.signer, share: join.content.share, millistepsPerSecond: join.content.millistepsPerSecond,
            rateClass: join.content.rateClass, join: join.digest)
    }
}

extension CommitPayload {
    init(_ message: WireCommitPayload) throws(Refusal) {
        self.init(
            owner: Int(message.owner), contributors: try MemberSet(bytes: message.contributors),
            blob: try BlobReference(message.blob))
        if !message.feedbackAfter.isEmpty {
            feedback = Feedback(
                continues: message.feedbackContinues,
                after: try digest(message.feedbackAfter, "the feedback after a payload"))
        }
    }

    /// An owner's signed result as a commit lists it.
    init(owner: Int, contributors: MemberSet, blob: BlobReference, feedback: FeedbackDigests?) {
        self.init(owner: owner, contributors: contributors, blob: blob)
        self.feedback = feedback.map { Feedback(continues: $0.before != nil, after: $0.after) }
    }
}
