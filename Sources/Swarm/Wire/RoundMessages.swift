import Compression
import OuterSync
import PeerNet

/// One attempt at one round of one fragment.
struct AttemptID: Hashable, Sendable {
    let fragment: FragmentIndex
    let round: RoundIndex
    let attempt: UInt32

    init(_ fragment: FragmentIndex, _ round: RoundIndex, _ attempt: UInt32) {
        self.fragment = fragment
        self.round = round
        self.attempt = attempt
    }

    init(fragment: UInt32, round: UInt64, attempt: UInt32) throws(Refusal) {
        guard fragment < Limits.fragmentsMax else { throw Refusal("a fragment index is out of range") }
        guard round >= 1 else { throw Refusal("no round comes before the first") }
        guard attempt <= Limits.attemptsMax else { throw Refusal("an attempt is out of range") }
        self.init(FragmentIndex(Int(fragment)), RoundIndex(round), attempt)
    }
}

/// A coordinator's proposal to run a round (Paxos: prepare).
struct Plan: SignedContent {
    static let kind = SignedKind.plan
    var id: AttemptID
    var base: Digest
    var previousCommit: Digest
    var closing: Bool

    init(id: AttemptID, base: Digest, previousCommit: Digest, closing: Bool) {
        self.id = id
        self.base = base
        self.previousCommit = previousCommit
        self.closing = closing
    }

    init(body: [UInt8], in context: BranchContext) throws(Refusal) {
        let message = try decode(WirePlan.self, body)
        id = try AttemptID(fragment: message.fragment, round: message.round, attempt: message.attempt)
        base = try digest(message.base, "a plan's base")
        previousCommit = try digest(message.previousCommit, "a plan's previous commit")
        closing = message.closing
    }

    var body: [UInt8] {
        var message = WirePlan()
        message.fragment = UInt32(id.fragment.value)
        message.round = id.round.value
        message.attempt = id.attempt
        message.base = wire(base.bytes)
        message.previousCommit = wire(previousCommit.bytes)
        message.closing = closing
        return encode(message)
    }
}

/// A commit that a voter acked.
struct AcceptedValue: Hashable, Sendable {
    var attempt: UInt32
    var value: Digest
}

/// A member's durable promise to take part in an attempt (Paxos: promise).
struct Join: SignedContent {
    static let kind = SignedKind.join
    var id: AttemptID
    var base: Digest
    var share: TrainingShare
    var millistepsPerSecond: UInt32
    var rateClass: UInt32
    /// What the member's link carries, in kbit/s; 0: not known.
    var rates = LinkRates()
    var accepted: AcceptedValue?

    init(
        id: AttemptID, base: Digest, share: TrainingShare, millistepsPerSecond: UInt32, rateClass: UInt32,
        rates: LinkRates = LinkRates(), accepted: AcceptedValue?
    ) {
        self.rates = rates
        self.id = id
        self.base = base
        self.share = share
        self.millistepsPerSecond = millistepsPerSecond
        self.rateClass = rateClass
        self.accepted = accepted
    }

    init(body: [UInt8], in context: BranchContext) throws(Refusal) {
        let message = try decode(WireJoin.self, body)
        id = try AttemptID(fragment: message.fragment, round: message.round, attempt: message.attempt)
        base = try digest(message.base, "a join's base")
        share = try TrainingShare(checkedTokens: message.tokens, steps: message.steps)
        millistepsPerSecond = message.millistepsPerSecond
        rateClass = try checkedRateClass(message.rateClass)
        guard message.upKbits <= Limits.kilobitsMax, message.downKbits <= Limits.kilobitsMax else {
            throw Refusal("a join's rate is out of range")
        }
        rates = LinkRates(up: message.upKbits, down: message.downKbits)
        if message.hasAccepted {
            guard message.accepted.attempt < id.attempt else {
                throw Refusal("a join names an accepted attempt that is not before its own")
            }
            accepted = AcceptedValue(
                attempt: message.accepted.attempt, value: try digest(message.accepted.value, "an accepted value"))
        }
    }

    var body: [UInt8] {
        var message = WireJoin()
        message.fragment = UInt32(id.fragment.value)
        message.round = id.round.value
        message.attempt = id.attempt
        message.base = wire(base.bytes)
        message.tokens = share.tokens
        message.steps = share.steps
        message.millistepsPerSecond = millistepsPerSecond
        message.rateClass = rateClass
        message.upKbits = rates.up
        message.downKbits = rates.down
        if let accepted {
            message.accepted.attempt = accepted.attempt
            message.accepted.value = wire(accepted.value.bytes)
        }
        return encode(message)
    }

    /// Whether the member has something to contribute.
    var contributes: Bool { share.tokens > 0 }
}

/// The joins of one attempt, from which everybody derives members, owners and coefficients.
struct Roster: SignedContent {
    static let kind = SignedKind.roster
    var id: AttemptID
    var base: Digest
    var previousCommit: Digest
    var closing: Bool
    /// Strictly ascending by signer, all for this attempt and base.
    var joins: [Signed<Join>]

    init(id: AttemptID, base: Digest, previousCommit: Digest, closing: Bool, joins: [Signed<Join>]) {
        self.id = id
        self.base = base
        self.previousCommit = previousCommit
        self.closing = closing
        self.joins = joins
    }

    init(body: [UInt8], in context: BranchContext) throws(Refusal) {
        let message = try decode(WireRoster.self, body)
        id = try AttemptID(fragment: message.fragment, round: message.round, attempt: message.attempt)
        base = try digest(message.base, "a roster's base")
        previousCommit = try digest(message.previousCommit, "a roster's previous commit")
        closing = message.closing
        guard (1...Limits.roundMembersMax).contains(message.joins.count) else {
            throw Refusal("a roster has no joins or too many")
        }
        joins = []
        for join in message.joins { joins.append(try Signed<Join>(join, in: context)) }
        for join in joins where join.content.id != id || join.content.base != base {
            throw Refusal("a roster holds a join of another attempt or base")
        }
        for (left, right) in zip(joins, joins.dropFirst()) where !(left.signer < right.signer) {
            throw Refusal("a roster's joins are not in order")
        }
    }

    var body: [UInt8] {
        var message = WireRoster()
        message.fragment = UInt32(id.fragment.value)
        message.round = id.round.value
        message.attempt = id.attempt
        message.base = wire(base.bytes)
        message.previousCommit = wire(previousCommit.bytes)
        message.closing = closing
        message.joins = joins.map(\.message)
        return encode(message)
    }

    /// The highest-attempt commit that any member accepted: if there is one, only it may be proposed.
    var accepted: AcceptedValue? {
        joins.compactMap(\.content.accepted).max { $0.attempt < $1.attempt }
    }
}

/// An owner's aggregate over its tiles of one attempt.
struct OwnerResult: SignedContent {
    static let kind = SignedKind.result
    var id: AttemptID
    /// The digest of the roster's body: the tiles and members that the result means.
    var roster: Digest
    var contributors: MemberSet
    /// nil: nothing usable arrived.
    var blob: BlobReference?
    /// The error feedback behind the mean, where the charter has owners keep any; with a blob only.
    var feedback: FeedbackDigests?

    init(
        id: AttemptID, roster: Digest, contributors: MemberSet, blob: BlobReference?, feedback: FeedbackDigests? = nil
    ) {
        self.id = id
        self.roster = roster
        self.contributors = contributors
        self.blob = blob
        self.feedback = feedback
    }

    init(body: [UInt8], in context: BranchContext) throws(Refusal) {
        let message = try decode(WireResult.self, body)
        id = try AttemptID(fragment: message.fragment, round: message.round, attempt: message.attempt)
        roster = try digest(message.roster, "a result's roster")
        contributors = try MemberSet(bytes: message.contributors)
        if message.hasBlob { blob = try BlobReference(message.blob) }
        guard contributors.positions.isEmpty == (blob == nil) else {
            throw Refusal("a result has contributors without a blob, or a blob without contributors")
        }
        if message.feedbackAfter.isEmpty {
            guard message.feedbackBefore.isEmpty else { throw Refusal("a result ends its owner's feedback") }
            return
        }
        guard blob != nil else { throw Refusal("a result without a blob has feedback") }
        feedback = FeedbackDigests(
            before: message.feedbackBefore.isEmpty
                ? nil : try digest(message.feedbackBefore, "the feedback before a result"),
            after: try digest(message.feedbackAfter, "the feedback after a result"))
    }

    var body: [UInt8] {
        var message = WireResult()
        message.fragment = UInt32(id.fragment.value)
        message.round = id.round.value
        message.attempt = id.attempt
        message.roster = wire(roster.bytes)
        message.contributors = wire(contributors.bytes)
        if let blob { message.blob = blob.message }
        if let feedback {
            message.feedbackBefore = wire(feedback.before?.bytes ?? [])
            message.feedbackAfter = wire(feedback.after.bytes)
        }
        return encode(message)
    }
}

/// A voter's durable statement that it holds and has checked everything that a value names (Paxos: accepted).
struct Ack: SignedContent {
    static let kind = SignedKind.ack
    var id: AttemptID
    var value: Digest

    init(id: AttemptID, value: Digest) {
        self.id = id
        self.value = value
    }

    init(body: [UInt8], in context: BranchContext) throws(Refusal) {
        let message = try decode(WireAck.self, body)
        id = try AttemptID(fragment: message.fragment, round: message.round, attempt: message.attempt)
        value = try digest(message.value, "an ack's value")
    }

    var body: [UInt8] {
        var message = WireAck()
        message.fragment = UInt32(id.fragment.value)
        message.round = id.round.value
        message.attempt = id.attempt
        message.value = wire(value.bytes)
        return encode(message)
    }
}

extension TrainingShare {
    /// Refuses claims that could overflow a sum or divide by zero.
    init(checkedTokens tokens: UInt64, steps: UInt64) throws(Refusal) {
        guard tokens <= Limits.shareMax, steps <= Limits.shareMax else { throw Refusal("a share is out of range") }
        guard (tokens == 0) == (steps == 0) else {
            throw Refusal("a share has tokens without steps or steps without")
        }
        self.init(tokens: tokens, steps: steps)
    }
}

extension BlobReference {
    init(_ message: WireBlob) throws(Refusal) {
        guard message.byteCount >= 1 else { throw Refusal("a blob has no bytes") }
        self.init(digest: try Swarm.digest(message.digest, "a blob"), byteCount: Int(message.byteCount))
    }

    var message: WireBlob {
        var message = WireBlob()
        message.digest = wire(digest.bytes)
        message.byteCount = UInt32(clamping: byteCount)
        return message
    }
}

func checkedRateClass(_ value: UInt32) throws(Refusal) -> UInt32 {
    guard (1...Limits.rateClassMax).contains(value) else { throw Refusal("a rate class is out of range") }
    return value
}
