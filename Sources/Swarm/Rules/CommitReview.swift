import Compression
import OuterSync
import PeerNet

/// What a voter checks before it looks at a single payload: whether the commit is the only one that its roster and the
/// owners' results allow. Pure; the outer step then checks the head.
enum CommitReview {
    /// Throws the first rule that the commit breaks.
    static func check(
        _ commit: Commit, signer: PeerID, roster: Signed<Roster>, tip: LedgerTip, shape: FragmentShape,
        resultLevel: Int
    ) throws(Refusal) {
        let value = commit.value
        guard roster.content.id == commit.id else { throw Refusal("the commit is not of its roster's attempt") }
        guard signer == roster.signer else { throw Refusal("the commit is not by its roster's coordinator") }
        guard value.round == tip.round.next, value.base == tip.head, value.previousCommit == tip.commit else {
            throw Refusal("the commit does not follow the last final one")
        }
        try checkSizes(value, shape: shape)
        try OwnerHistory.check(value, after: tip, shape: shape)
        let keepsFeedback =
            shape.keepsFeedback && !Exchange(value.members, fragment: value.fragment, shape: shape).isGather
        for result in commit.results
        where !OwnerHistory.allows(
            result.content, of: result.signer, after: tip, keepsFeedback: keepsFeedback)
        {
            throw Refusal("an owner has changed the history of its feedback")
        }
        if let accepted = roster.content.accepted {
            guard commit.valueDigest == accepted.value else {
                throw Refusal("another commit was accepted before and must be proposed again")
            }
            return
        }
        guard value.closing == roster.content.closing else {
            throw Refusal("the commit closes the fragment and its plan does not, or the reverse")
        }
        guard value.members == roster.content.joins.map(CommitMember.init) else {
            throw Refusal("the commit's members are not the roster's")
        }
        guard value.resultLevel == resultLevel else {
            throw Refusal("the commit's results have another codec than its roster's rates allow")
        }
        for result in commit.results
        where result.content.roster != roster.digest || result.content.id != commit.id {
            throw Refusal("a payload was made for another roster")
        }
    }

    /// Refuses payloads for no tiles, and sizes that no honest encoder can reach.
    static func checkSizes(_ value: CommitValue, shape: FragmentShape) throws(Refusal) {
        guard value.resultLevel < max(1, shape.resultBytes.count) else {
            throw Refusal("the charter has no such result codec")
        }
        let exchange = Exchange(value.members, fragment: value.fragment, shape: shape)
        let owners = Set(exchange.positions)
        guard Set(value.payloads.map(\.blob.digest)).count == value.payloads.count else {
            throw Refusal("two members claim the same payload")
        }
        for payload in value.payloads {
            guard owners.contains(payload.owner) else { throw Refusal("a payload is by a member that owns no tile") }
            guard exchange.allows(payload.contributors, of: payload.owner) else {
                throw Refusal("a gathered payload is not its maker's own contribution")
            }
            guard payload.blob.byteCount <= shape.payloadBytesMax else { throw Refusal("a payload is too large") }
        }
    }
}
