import Compression
import OuterSync
import PeerNet

/// Where a fragment's ledger ends: all that the next round follows from.
struct LedgerTip: Hashable, Sendable {
    /// Final commits so far.
    var round: RoundIndex
    /// The digest of the last one's value; of the genesis text before any.
    var commit: Digest
    /// The head after it.
    var head: Digest
    /// Tokens behind that head.
    var tokens: UInt64
    /// The members that it lists.
    var members: [CommitMember]
    /// Those who decide the next round: its members, or the founder before any.
    var voters: [PeerID]
    /// No round follows.
    var closed: Bool
    /// The codec level of its results.
    var resultLevel = 0
    /// Per member the state of its error feedback as an owner, if it has one.
    var feedback: [PeerID: OwnerHistory] = [:]
}

/// The verified, hash-linked list of one fragment's final commits, from genesis on.
///
/// It holds whole histories in memory: some hundred bytes plus a hundred per member and round. Only links with a quorum
/// of acks by the previous voters can grow it, so no stranger decides how much.
struct Ledger: Sendable {
    let fragment: FragmentIndex
    private let shape: FragmentShape
    private let context: BranchContext
    private var links: [Link] = []
    private let genesis: LedgerTip
    private(set) var tip: LedgerTip

    /// A final commit as kept: its bytes, and what is asked for often.
    private struct Link: Sendable {
        let bytes: [UInt8]
        let head: Digest
        let tokens: UInt64
        /// Decoded, while it is one of the newest.
        var final: Final?
    }

    /// Finals kept decoded: rounds under way, replay and most requests ask for no others.
    private static let decodedMax = 2 * Int(Limits.replayRoundsMax)

    init(
        fragment: FragmentIndex, shape: FragmentShape, context: BranchContext, genesisHead: Digest, founder: PeerID
    ) {
        self.fragment = fragment
        self.shape = shape
        self.context = context
        var text = Array("atoll genesis 1\0".utf8) + context.swarmID.bytes + Array(context.branch.utf8)
        withUnsafeBytes(of: UInt32(fragment.value).littleEndian) { text.append(contentsOf: $0) }
        genesis = LedgerTip(
            round: RoundIndex(0), commit: Digest(hashing: text), head: genesisHead, tokens: 0, members: [],
            voters: [founder], closed: false)
        tip = genesis
    }

    /// Adds the next link, or says which rule it breaks. Nothing changes then.
    mutating func append(_ final: Final) throws(Refusal) {
        try check(final)
        append(unchecked: final)
    }

    /// Adds a link that this node checked before it wrote it to disk; only the chain is checked again.
    mutating func append(recorded final: Final) throws(Refusal) {
        try checkLink(final.value)
        append(unchecked: final)
    }

    private mutating func append(unchecked final: Final) {
        let value = final.value
        let tokens = tip.tokens &+ value.tokens(most: shape.countedTokensMax)
        links.append(Link(bytes: final.bytes, head: value.head, tokens: tokens, final: final))
        if links.count > Self.decodedMax { links[links.count - 1 - Self.decodedMax].final = nil }
        tip = LedgerTip(
            round: value.round, commit: final.digest, head: value.head, tokens: tokens, members: value.members,
            voters: value.voters, closed: value.closing, resultLevel: value.resultLevel,
            feedback: OwnerHistory.following(tip.feedback, value, shape: shape))
    }

    private func checkLink(_ value: CommitValue) throws(Refusal) {
        guard value.fragment == fragment else { throw Refusal("a final commit is of another fragment") }
        guard !tip.closed else { throw Refusal("a final commit follows the fragment's last round") }
        guard value.round == tip.round.next else { throw Refusal("a final commit leaves a gap in the ledger") }
        guard value.previousCommit == tip.commit else { throw Refusal("a final commit follows another history") }
        guard value.base == tip.head else { throw Refusal("a final commit starts from another head") }
        guard tip.tokens <= UInt64.max >> 1 else { throw Refusal("a ledger's tokens are out of range") }
        try CommitReview.checkSizes(value, shape: shape)
        try OwnerHistory.check(value, after: tip, shape: shape)
    }

    private func check(_ final: Final) throws(Refusal) {
        try checkLink(final.value)
        let statement = context.statement(Ack.kind, final.ack.body)
        var peers: [PeerID] = []
        for ack in final.acks {
            guard ack.voter < tip.voters.count else { throw Refusal("a final commit's ack is by no voter") }
            let peer = tip.voters[ack.voter]
            guard peer.verifies(signature: ack.signature, of: statement) else {
                throw Refusal("a final commit's ack has a wrong signature")
            }
            peers.append(peer)
        }
        guard Quorum(tip.voters).isReached(by: peers) else { throw Refusal("a final commit lacks a quorum of acks") }
    }

    /// The encoded final commit of a round, from 1 on; nil outside of the ledger.
    func bytes(of round: RoundIndex) -> [UInt8]? { link(round)?.bytes }

    /// The final commit of a round, from 1 on; older ones are decoded again.
    func final(of round: RoundIndex) -> Final? {
        link(round).flatMap { $0.final ?? (try? Final(bytes: $0.bytes, in: context)) }
    }

    /// The head after a round, genesis included; nil beyond the ledger.
    func head(after round: RoundIndex) -> Digest? {
        round.value == 0 ? genesis.head : link(round)?.head
    }

    /// Tokens behind the head after a round, genesis included; nil beyond the ledger.
    func tokens(after round: RoundIndex) -> UInt64? {
        round.value == 0 ? 0 : link(round)?.tokens
    }

    /// Finals from a round on, as many as fit into one message.
    func page(from round: RoundIndex) -> [Final] {
        var finals: [Final] = []
        var bytes = 1_024  // envelope, and a few bytes of framing per final are counted below
        var next = round
        while let link = link(next), let final = final(of: next) {
            bytes += link.bytes.count + 16
            if bytes > Limits.messageBytesMax { break }
            finals.append(final)
            next = next.next
        }
        return finals
    }

    private func link(_ round: RoundIndex) -> Link? {
        round.value >= 1 && round.value <= UInt64(links.count) ? links[Int(round.value) - 1] : nil
    }
}
