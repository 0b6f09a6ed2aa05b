import Compression
import OuterSync
import PeerNet

// The link to each peer: what it can decode, what was measured, and what a round may take on it. protocols/link.md.

extension NodeCore {
    /// Whether the charter lets members choose coarser codecs.
    var negotiates: Bool { !charter.encoding.ladder.isEmpty }

    /// The families that this program decodes.
    static let families: Set<UInt8> = [0, 1, 2, 3, 4, 5, 6]

    // MARK: Messages

    mutating func sendLink(_ message: LinkMessage, to peer: PeerID) {
        out.append(.sendLink(to: peer, message: message.bytes(in: context)))
    }

    /// The first message on a new connection to a member; the same again once it is known to hear this node.
    mutating func greetLink(_ peer: PeerID) {
        links.connected(peer)
        let payloadBytesMax = fragments.map(\.shape.payloadBytesMax).max() ?? 1
        sendLink(.hello(LinkHello(families: Self.families, payloadBytesMax: payloadBytesMax)), to: peer)
    }

    mutating func linkReceived(_ bytes: [UInt8], from peer: PeerID) {
        guard isStarted, peer != me, mayServe(peer), peers[peer]?.isConnected == true, peers[peer]?.branch == nil else {
            return
        }
        guard takeAllowance(peer) else { return violation(peer, signer: peer, "it sends link messages too often") }
        do {
            switch try LinkMessage(bytes: bytes, from: peer, in: context) {
            case .hello(let hello): links.greeted(hello, by: peer)
            case .report(let report):
                links.update(peer) { link in
                    link.sentKilobits = report.receivedKilobits
                    link.reportedRoundTrip = report.roundTrip
                }
            case .table(let table): try take(table.content, from: peer)
            }
        } catch { violation(peer, signer: peer, error.reason) }
    }

    /// Counts a message of a peer; false if it is one too many.
    private mutating func takeAllowance(_ peer: PeerID) -> Bool {
        let most = Double(Limits.linkMessagesBurst + 2 * fragments.count)
        let last = links[peer]?.allowance ?? (most, now)
        let earned = Double(Limits.linkMessagesPerSecond) * (now - last.at).inSeconds
        let messages = min(most, last.messages + earned) - 1
        links.update(peer) { $0.allowance = (max(0, messages), now) }
        // A book that is full remembers nobody new, so nothing would bound them.
        return messages >= 0 && links[peer] != nil
    }

    private mutating func take(_ table: LinkTable, from peer: PeerID) throws(Refusal) {
        guard table.receiver == me else { throw Refusal("a table is for another receiver") }
        guard has(table.fragment) else { throw Refusal("there is no fragment \(table.fragment.value)") }
        let state = fragments[table.fragment.value]
        guard table.codecs.count <= state.shape.tileCount, table.predictedBytes <= state.shape.payloadBytesMax else {
            throw Refusal("a table is for more tiles or bytes than the fragment has")
        }
        let allowed = Set(charter.encoding.contributionCodecs + [.e3m0])
        guard table.codecs.allSatisfy(allowed.contains) else {
            throw Refusal("a table has a codec that is not allowed")
        }
        if let known = links[peer]?.theirs[table.fragment] {
            // Told twice, after a lost answer, it must be the same.
            if known == table { return }
            guard table.version > known.version, table.fromRound >= known.fromRound else {
                throw Refusal("a table does not follow the one before it")
            }
        }
        links.update(peer) { $0.theirs[table.fragment] = table }
    }

    /// Tells members what has changed of what was measured: a rate by a tenth, or the first of anything.
    mutating func reportLinks() {
        for peer in peers.members {
            guard let link = links[peer] else { continue }
            let report = LinkReport(receivedKilobits: link.received.kilobits, roundTrip: link.roundTrip)
            let old = link.reported
            let change = abs(Int(report.receivedKilobits) - Int(old.receivedKilobits))
            guard 10 * change > Int(old.receivedKilobits) || (old.roundTrip == nil) != (report.roundTrip == nil) else {
                continue
            }
            links.update(peer) { $0.reported = report }
            sendLink(.report(report), to: peer)
        }
        set(.links, after: limits.linkReportInterval)
    }

    // MARK: Rounds

    /// The rate class for a join: measured where the charter has a ladder.
    mutating func rateClass() -> UInt32 {
        negotiates ? links.currentClass(unmeasured: configuration.rateClass) : configuration.rateClass
    }

    /// The codec level of an attempt's results, from its roster and the last final commit alone.
    func resultLevel(of roster: Roster, after tip: LedgerTip, _ shape: FragmentShape) -> Int {
        let needed = ResultLevel.level(
            joins: roster.joins.map(\.content), byteCounts: shape.resultBytes,
            innerStepsPerRound: charter.innerStepsPerRound, fragmentCount: Self.slots(fragments.count))
        let isComplete = Set(tip.voters).isSubset(of: roster.joins.map(\.signer))
        return ResultLevel.following(tip.resultLevel, needed: needed, isComplete: isComplete)
    }

    /// Contributions and results of one round take a slot each, so there are two at least in H steps.
    private static func slots(_ fragmentCount: Int) -> Int { max(2, fragmentCount) }

    /// How long a contribution may be on its way where members fit theirs to their links: a fragment's part of H steps, at
    /// this node's pace. Nil where nobody does, or before the pace is known.
    var slot: Duration? {
        let pace = pace.stepsPerSecond
        guard negotiates, pace > 0, !budgetKnown else { return nil }
        let seconds = Double(charter.innerStepsPerRound) / Double(Self.slots(fragments.count)) / pace
        return .seconds(min(seconds, limits.deadlineMax.inSeconds))
    }

    /// Of the slot, what a contribution's bytes may take; the rest is for encoding, messages and errors of measurement.
    private static let slotShare = 0.6

    /// What the contributions to some owners may take: this node's own link, and the link to each of them.
    func contributionRoom(for members: [CommitMember]) -> ContributionRoom {
        guard negotiates else { return ContributionRoom() }
        func byteCount(_ kilobits: UInt32) -> Int? {
            guard kilobits > 0, let slot else { return nil }
            return Int(min(Double(kilobits) * 125 * slot.inSeconds * Self.slotShare, 1e12))
        }
        return ContributionRoom(
            byteCountMax: byteCount(links.ownRates.up),
            owners: members.map { member in
                guard member.peer != me else { return nil }
                let link = links[member.peer]
                // Until it has said hello nothing but the charter's own codec is sent to it.
                let families = link?.hello?.families ?? [charter.encoding.contribution.family]
                let limits = [byteCount(link?.sentKilobits ?? 0), link?.hello?.payloadBytesMax]
                return .init(byteCountMax: limits.compactMap { $0 }.min(), families: families)
            })
    }

    /// Notes what was encoded for whom, and tells owners of new tables.
    mutating func noteContributions(
        _ fragment: FragmentIndex, _ round: RoundIndex, _ targets: [Contributor.Target?], _ blobs: [BlobReference?],
        _ tables: [CodecTable?]
    ) {
        for (position, target) in targets.enumerated() {
            guard let target, target.owner != me, let blob = blobs[position] else { continue }
            let table = tables.indices.contains(position) ? tables[position] : nil
            // Told on the next connection otherwise, and shown until then.
            guard peers.isMember(target.owner),
                let news = links.sent(fragment, round, table, realBytes: blob.byteCount, to: target.owner)
            else { continue }
            sendLink(.table(Signed(news, by: configuration.identity, in: context)), to: target.owner)
        }
    }

    /// The links of connected members, for people.
    package var linkStatuses: [LinkStatus] {
        peers.members.map { peer in
            let link = links[peer]
            let last = link?.last
            let ours = last.flatMap { link?.ours[$0.fragment]?.table }
            let theirs = link?.theirs.max { $0.value.fromRound < $1.value.fromRound }?.value
            return LinkStatus(
                peer: peer, sentKilobits: link?.sentKilobits ?? 0, receivedKilobits: link?.received.kilobits ?? 0,
                roundTrip: link?.roundTrip ?? link?.reportedRoundTrip,
                table: ours.map { .init(version: $0.version, codecs: Set($0.codecs).sorted()) },
                theirTable: theirs.map { .init(version: $0.version, codecs: Set($0.codecs).sorted()) },
                round: last?.round, predictedBytes: last?.predictedBytes, realBytes: last?.realBytes)
        }
    }
}
