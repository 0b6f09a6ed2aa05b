import Compression
import PeerNet

/// Everything that a node knows about who may take part, and what follows from it.
///
/// A set of signed records that only grows, apart from what the rules make meaningless; who is admitted is a pure function
/// of it. So two nodes that hold the same records agree, in whatever order they learnt them. Described in
/// protocols/admission.md.
struct AdmissionBook: Sendable {
    let rule: Charter.Admission
    let context: AdmissionContext
    /// By capability, then peer; each with its welcome.
    private var vouchers: [Digest: [PeerID: Voucher]] = [:]
    private(set) var voucherCount = 0
    private var revocations: [Revocation.Target: [PeerID: Signed<Revocation>]] = [:]
    private var revocationCounts: [PeerID: Int] = [:]
    private(set) var delegations: [CapabilitySerial: Signed<Delegation>] = [:]
    /// The encodings of the vouchers held, so that one that comes again costs no signature check.
    private var heldEncodings: Set<Digest> = []

    // What follows from the records.
    private var admitted: Set<PeerID> = []
    private var reasons: [PeerID: AdmissionRefusal] = [:]
    /// Per bucket the sum of its records' keys: equal summaries, equal records.
    private(set) var summary = AdmissionSummary()

    init(rule: Charter.Admission, context: AdmissionContext) {
        self.rule = rule
        self.context = context
        conclude()
    }

    // MARK: Questions

    /// Whether a peer may use anything of the swarm; O(1).
    func admits(_ peer: PeerID) -> Bool {
        switch rule {
        case .open: !isRevokedByFounder(peer)
        case .allowList, .invite: admitted.contains(peer)
        }
    }

    /// Why a peer that is not admitted is not, as far as the records tell.
    func reason(against peer: PeerID) -> AdmissionRefusal {
        if isRevokedByFounder(peer) { return .revoked }
        switch rule {
        case .open, .allowList: return .notListed
        case .invite: return reasons[peer] ?? .noInvite
        }
    }

    /// Whether the founder ended a peer's membership for good, whatever it may show.
    func isRevokedByFounder(_ peer: PeerID) -> Bool {
        revocations[.peer(peer)]?[context.founder] != nil && peer != context.founder
    }

    /// The delegation by which a peer may issue capabilities at `time`, the one that lasts longest.
    func delegation(of peer: PeerID, at time: UInt64) -> Signed<Delegation>? {
        delegations.values.filter {
            $0.content.delegate == peer && time <= $0.content.expires && !isRevoked($0) && !isRevokedByFounder(peer)
        }.max { ($0.content.expires, $0.serial) < ($1.content.expires, $1.serial) }
    }

    /// The voucher that admits a peer, the earliest one.
    func voucher(of peer: PeerID) -> Voucher? {
        guard admitted.contains(peer) else { return nil }
        return vouchers.values.compactMap { $0[peer] }.filter { !isRevoked($0) }.min { isBefore($0, $1) }
    }

    /// The vouchers by which others can see that a peer is a member: its own last, before it that of the member which
    /// let it in, and so on back to the founder, as far as a presentation has room with one more.
    func chain(for peer: PeerID) -> [Voucher] {
        var chain: [Voucher] = []
        var next = peer
        while chain.count < Limits.presentedVouchersMax - 1, let voucher = voucher(of: next), !chain.contains(voucher) {
            chain.append(voucher)
            guard let member = voucher.welcome?.signer, member != context.founder else { break }
            next = member
        }
        return chain.reversed()
    }

    func holds(encoding: Digest) -> Bool { heldEncodings.contains(encoding) }

    // MARK: Revocation

    private func isRevoked(_ target: Revocation.Target, by issuer: PeerID) -> Bool {
        guard let signed = revocations[target] else { return false }
        return signed[context.founder] != nil || signed[issuer] != nil
    }

    private func isRevoked(_ delegation: Signed<Delegation>) -> Bool {
        isRevoked(.serial(delegation.serial), by: context.founder)
    }

    /// A revoked delegate's capabilities are no better than the delegate.
    private func isRevoked(_ voucher: Voucher) -> Bool {
        let issuer = voucher.capability.signer
        return isRevoked(.serial(voucher.serial), by: issuer) || isRevoked(.peer(voucher.peer), by: issuer)
            || isRevokedByFounder(issuer) || voucher.delegation.map { isRevoked($0) } ?? false
    }

    /// What ended a peer's membership: the revocations of the peer, of what it came in by, and of who issued that.
    func revocations(against peer: PeerID) -> [Signed<Revocation>] {
        var issuers: [Revocation.Target: Set<PeerID>] = [.peer(peer): [context.founder]]
        for voucher in vouchers.values.compactMap({ $0[peer] }) {
            let issuer = voucher.capability.signer
            issuers[.peer(peer), default: []].insert(issuer)
            issuers[.serial(voucher.serial), default: []].formUnion([context.founder, issuer])
            issuers[.peer(issuer), default: []].insert(context.founder)
            if let delegation = voucher.delegation { issuers[.serial(delegation.serial)] = [context.founder] }
        }
        return issuers.flatMap { target, issuers in
            issuers.compactMap { revocations[target]?[$0] }
        }.sorted { AdmissionRecord.revocation($0).key < AdmissionRecord.revocation($1).key }
    }

    // MARK: Records

    /// What taking a record changed.
    struct Change: Sendable {
        /// Records that are new, to be kept on disk.
        var added: [AdmissionRecord] = []
        /// Keys of records that have lost their meaning.
        var removed: [Digest] = []

        var isEmpty: Bool { added.isEmpty && removed.isEmpty }
    }

    /// Takes vouchers that are good by the word of a member, in whatever order they come.
    mutating func take(_ candidates: [Voucher]) -> Change {
        var change = Change()
        guard rule == .invite else { return change }
        var rest = candidates
        while true {
            var isNews = false
            var waiting: [Voucher] = []
            for voucher in rest {
                guard let member = voucher.welcome?.signer, admitted.contains(member) else {
                    waiting.append(voucher)
                    continue
                }
                if insert(voucher, into: &change) { isNews = true }
            }
            guard isNews else { return change }
            conclude()
            rest = waiting
        }
    }

    /// Takes back records that this node has checked in an earlier start.
    mutating func restore(_ records: [AdmissionRecord]) {
        var change = Change()
        // A delegate's revocations count once its delegation is known.
        for case .delegation(let delegation) in records { _ = take(delegation) }
        for record in records {
            switch record {
            case .voucher(let voucher): _ = insert(voucher, into: &change)
            case .revocation(let revocation): _ = insert(revocation)
            case .delegation: break
            }
        }
        conclude()
    }

    /// Puts a voucher in its place; false if it changes nothing.
    private mutating func insert(_ voucher: Voucher, into change: inout Change) -> Bool {
        let capability = voucher.capability.digest
        var uses = vouchers[capability] ?? [:]
        if let held = uses[voucher.peer] {
            guard isBefore(voucher, held) else { return false }
            remember(held, false)
        } else {
            guard voucherCount < Limits.vouchersMax || uses.count >= voucher.capability.content.uses else {
                return false
            }
            voucherCount += 1
        }
        uses[voucher.peer] = voucher
        remember(voucher, true)
        if uses.count > voucher.capability.content.uses, let last = uses.values.max(by: isBefore) {
            // Only the first uses can ever count, whatever else is learnt.
            uses[last.peer] = nil
            voucherCount -= 1
            remember(last, false)
            vouchers[capability] = uses
            guard last.peer != voucher.peer else { return false }
            change.removed.append(AdmissionRecord.voucher(last).key)
        }
        vouchers[capability] = uses
        change.added.append(.voucher(voucher))
        return true
    }

    /// Of two vouchers of one peer and capability the earlier counts; at one time, that by a member in good standing.
    private func isBefore(_ left: Voucher, _ right: Voucher) -> Bool {
        guard let leftRank = left.rank, let rightRank = right.rank, let leftMember = left.welcome?.signer,
            let rightMember = right.welcome?.signer
        else { return false }
        return leftRank != rightRank ? leftRank < rightRank : admits(leftMember) && !admits(rightMember)
    }

    private mutating func remember(_ voucher: Voucher, _ isHeld: Bool) {
        let encoding = Digest(hashing: voucher.bytes)
        if isHeld { heldEncodings.insert(encoding) } else { heldEncodings.remove(encoding) }
        if let rank = voucher.rank { summary.toggle(AdmissionSummary.key(of: rank)) }
    }

    /// Takes a revocation; false if it is no news or its signer has no right to any.
    mutating func take(_ revocation: Signed<Revocation>) -> Bool {
        guard revocation.content.target != .peer(context.founder), insert(revocation) else { return false }
        conclude()
        return true
    }

    private mutating func insert(_ revocation: Signed<Revocation>) -> Bool {
        let signer = revocation.signer
        let count = revocationCounts[signer, default: 0]
        if signer != context.founder {
            let isDelegate = delegations.values.contains { $0.content.delegate == signer }
            guard isDelegate, count < Limits.revocationsPerDelegateMax else { return false }
        }
        guard revocationCounts.values.reduce(0, +) < Limits.revocationsMax,
            revocations[revocation.content.target]?[signer] == nil
        else { return false }
        revocations[revocation.content.target, default: [:]][signer] = revocation
        revocationCounts[signer] = count + 1
        summary.toggle(AdmissionRecord.revocation(revocation).key)
        return true
    }

    /// Takes a delegation; false if it is no news or not by the founder.
    mutating func take(_ delegation: Signed<Delegation>) -> Bool {
        guard delegation.signer == context.founder, delegations[delegation.serial] == nil,
            delegations.count < Limits.delegationsMax
        else { return false }
        delegations[delegation.serial] = delegation
        summary.toggle(AdmissionRecord.delegation(delegation).key)
        return true
    }

    /// All records of the buckets in which another node's summary differs: what it may be lacking. A voucher by a member
    /// that was revoked since goes out by this node's word, because others cannot rely on that member any more.
    func records(unlike other: AdmissionSummary, by me: Identity) -> [AdmissionRecord] {
        let buckets = summary.differences(from: other)
        guard !buckets.isEmpty else { return [] }
        var records: [AdmissionRecord] = delegations.values.map { .delegation($0) }
        records += revocations.values.flatMap { $0.values.map { .revocation($0) } }
        records = records.filter { buckets.contains(AdmissionSummary.bucket(of: $0.key)) }
        records.sort { $0.key < $1.key }
        let ranked = vouchers.values.flatMap(\.values).sorted(by: isBefore)
        return records
            + ranked.compactMap { voucher -> AdmissionRecord? in
                guard let rank = voucher.rank, let member = voucher.welcome?.signer,
                    buckets.contains(AdmissionSummary.bucket(of: AdmissionSummary.key(of: rank)))
                else { return nil }
                guard !admits(member), voucher.peer != me.peerID else { return .voucher(voucher) }
                return (try? voucher.welcomed(by: me, at: rank.time, in: context)).map { .voucher($0) }
            }
    }

    // MARK: Presentation

    /// Judges what a peer shows of itself, its own voucher last. A capability that is still good is used here and now, by
    /// `me` at `time`. Nothing of a peer that is refused is kept.
    mutating func judge(
        _ presented: [Voucher], by peer: PeerID, me: Identity, at time: UInt64
    ) -> Result<Change, AdmissionRefusal> {
        if rule != .invite { return admits(peer) ? .success(Change()) : .failure(reason(against: peer)) }
        var book = self
        var change = book.take(presented.filter { $0.welcome != nil })
        if !book.admits(peer) {
            switch book.use(presented.last { $0.peer == peer }, by: peer, me: me, at: time) {
            case .success(let more):
                change.added += more.added
                change.removed += more.removed
            case .failure(let refusal): return .failure(refusal)
            }
        }
        self = book
        return .success(change)
    }

    private mutating func use(
        _ voucher: Voucher?, by peer: PeerID, me: Identity, at time: UInt64
    ) -> Result<Change, AdmissionRefusal> {
        guard let voucher else { return .failure(reason(against: peer)) }
        guard !isRevoked(voucher), !isRevokedByFounder(peer) else { return .failure(.revoked) }
        guard voucher.isGood(at: time) else { return .failure(voucher.welcome == nil ? .expired : .notYet) }
        guard admits(me.peerID) else { return .failure(.notYet) }
        let uses = vouchers[voucher.capability.digest]?.count ?? 0
        guard uses < voucher.capability.content.uses, hasRoom(voucher.delegation) else {
            // Let in by a member that is not known here, it may have come before those that are.
            return .failure(voucher.welcome.map { admits($0.signer) } ?? true ? .overused : .notYet)
        }
        guard voucherCount < Limits.vouchersMax else { return .failure(.full) }
        guard let welcomed = try? voucher.welcomed(by: me, at: time, in: context) else { return .failure(.invalid) }
        let change = take([welcomed])
        return admits(peer) ? .success(change) : .failure(reason(against: peer))
    }

    private func hasRoom(_ delegation: Signed<Delegation>?) -> Bool {
        guard let delegation else { return true }
        let uses = vouchers.values.flatMap(\.values).count { $0.delegation?.serial == delegation.serial }
        return uses < delegation.content.uses
    }

    // MARK: Conclusions

    /// Works out who is admitted: the founder, whom the charter lists, and by each capability and delegation the first
    /// peers that used it, but nobody who or whose way in was revoked. A use that was revoked stays used.
    private mutating func conclude() {
        admitted = [context.founder]
        if case .allowList(let peers) = rule { admitted.formUnion(peers.filter { !isRevokedByFounder($0) }) }
        guard rule == .invite else { return }
        var delegated: [CapabilitySerial: Int] = [:]
        let ranked = vouchers.values.flatMap(\.values).sorted(by: isBefore)
        reasons = [:]
        for voucher in ranked {
            var isOver = false
            if let delegation = voucher.delegation {
                delegated[delegation.serial, default: 0] += 1
                isOver = delegated[delegation.serial, default: 0] > delegation.content.uses
            }
            if isRevoked(voucher) {
                reasons[voucher.peer] = .revoked
            } else if isOver {
                reasons[voucher.peer] = .overused
            } else if !isRevokedByFounder(voucher.peer) {
                admitted.insert(voucher.peer)
            }
        }
    }
}
