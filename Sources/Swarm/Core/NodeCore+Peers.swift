import Compression
import OuterSync
import PeerNet

// Who is there, where they stand, and what they send.

extension NodeCore {
    mutating func connected(_ peer: PeerID, _ addresses: [Multiaddr]) {
        guard peer != me else { return }
        if charter.admission != .open { present(to: peer) }
        guard mayServe(peer) else { return strangerConnected(peer, addresses) }
        welcome(peer, addresses)
    }

    /// Begins to deal with a connected peer that may take part.
    mutating func welcome(_ peer: PeerID, _ addresses: [Multiaddr]) {
        peers.update(peer) { entry in
            entry.isConnected = true
            entry.isLeaving = false
            entry.incarnation = nil
            entry.reports = []
            entry.wasUseless = false
            entry.branch = nil
            entry.recordsTold = nil
            for address in addresses where !entry.addresses.contains(address) {
                if entry.addresses.count < Limits.addressesPerPeerMax { entry.addresses.append(address) }
            }
        }
        send(
            .hello(
                Hello(
                    incarnation: configuration.incarnation,
                    addresses: Array(configuration.listenAddresses.prefix(Limits.addressesPerPeerMax)),
                    report: report())), to: peer)
        greetLink(peer)
    }

    mutating func disconnected(_ peer: PeerID) {
        strangers[peer] = nil
        links.disconnected(peer)
        guard peers[peer] != nil else { return }
        let wasMember = peers.isMember(peer)
        if !wasMember, peers.elsewhere.contains(peer) { event(.memberDisconnected(peer)) }
        peers.update(peer) { entry in
            entry.isConnected = false
            entry.reports = []
        }
        guard wasMember else { return }
        event(.memberDisconnected(peer))
        for index in fragments.indices {
            let fragment = FragmentIndex(index)
            if fragments[index].pageRequest?.from == peer { fragments[index].pageRequest = nil }
            if case .seekingSnapshot(_, peer) = fragments[index].following { catchUpAgain(fragment) }
            follow(fragment)
            tryRoster(fragment)
            checkDue(fragment)
        }
    }

    /// Where this node stands, and some members that it knows.
    func report() -> Report {
        var random = random
        let told = peers.known.filter { mayServe($0) && !(peers[$0]?.addresses.isEmpty ?? true) }.shuffled(
            using: &random)
        return Report(
            fragments: fragments.map { state in
                FragmentReport(
                    ledgerRound: state.ledger.tip.round, headRound: state.head, head: state.ledger.tip.head,
                    closed: state.ledger.tip.closed)
            },
            members: told.prefix(Limits.toldMembersMax).map { peer in
                PeerAddresses(peer: peer, addresses: peers[peer]?.addresses ?? [])
            }, admission: admissions.summary)
    }

    mutating func tellStatus() {
        if let peer = peers.members.randomElement(using: &random) { send(.status(report()), to: peer) }
        tellRecords()
        for peer in peers.known { dial(peer) }
        dismissStrangers()
        set(.status, after: limits.statusInterval)
    }

    mutating func dial(_ peer: PeerID) {
        guard !isStopping, let entry = peers[peer], !entry.isConnected, !entry.addresses.isEmpty else { return }
        guard strangers[peer] == nil, !admissions.isRevokedByFounder(peer), entry.restsUntil.map({ $0 <= now }) ?? true
        else {
            return
        }
        guard peers.members.count < Limits.dialedPeersMax else { return }
        guard entry.branch == nil || peers.elsewhere.count < Limits.dialedElsewhereMax else { return }
        out.append(.dial(peer, entry.addresses))
    }

    private mutating func helloReceived(_ hello: Hello, from peer: PeerID) {
        guard hello.report.fragments.count == fragments.count else {
            return violation(peer, signer: peer, "a hello tells of another number of fragments")
        }
        refusal = nil
        let isNews = peers[peer]?.incarnation == nil
        takeAddresses(of: hello, from: peer)
        guard peers[peer] != nil else { return }  // the table is full
        peers.update(peer) { $0.branch = nil }
        take(hello.report, from: peer)
        if isNews, peers.isMember(peer) {
            event(.memberConnected(peer))
            // Where not everybody is let in, the greeting may have come before the peer knew this node for a member; it does
            // now that it says hello.
            if charter.admission != .open { greetLink(peer) }
            // The hello to it may have been sent before others were known: it dials whom it does not know.
            var answer = report()
            answer.isAnswer = true
            send(.status(answer), to: peer)
        }
        tellRecords(to: peer)
        for index in fragments.indices { checkDue(FragmentIndex(index)) }
    }

    /// Notes a peer's start and where it says that it can be reached.
    mutating func takeAddresses(of hello: Hello, from peer: PeerID) {
        let known = peers[peer]?.addresses
        peers.update(peer) { entry in
            entry.incarnation = hello.incarnation
            // What a peer says of itself goes before what others said.
            let others = entry.addresses.filter { !hello.addresses.contains($0) }
            entry.addresses = Array((hello.addresses + others).prefix(Limits.addressesPerPeerMax))
        }
        guard let addresses = peers[peer]?.addresses else { return }
        if addresses != known, !addresses.isEmpty { persist(.peer(peer, addresses), .peer) }
    }

    private mutating func statusReceived(_ report: Report, from peer: PeerID) {
        guard report.fragments.count == fragments.count else {
            return violation(peer, signer: peer, "a status tells of another number of fragments")
        }
        take(report, from: peer)
        let isBehind = zip(report.fragments, fragments).contains { $0.ledgerRound < $1.ledger.tip.round }
        guard isBehind, !report.isAnswer else { return }
        var answer = self.report()
        answer.isAnswer = true
        send(.status(answer), to: peer)
    }

    private mutating func take(_ report: Report, from peer: PeerID) {
        for (fragment, state) in zip(report.fragments, fragments)
        where state.ledger.head(after: fragment.ledgerRound).map({ $0 != fragment.head }) ?? false {
            return violation(peer, signer: peer, "it has another head for round \(fragment.ledgerRound.value)")
        }
        peers.update(peer) { entry in
            guard entry.isConnected else { return }
            entry.reports = report.fragments
            entry.wasUseless = false
        }
        exchangeAdmissions(with: peer, that: report.admission)
        meet(report.members)
        for index in fragments.indices { follow(FragmentIndex(index)) }
        checkCaughtUp()
    }

    /// Dials members that others told of.
    mutating func meet(_ members: [PeerAddresses]) {
        for member in members where member.peer != me && !member.addresses.isEmpty {
            guard peers[member.peer]?.addresses.isEmpty ?? true else { continue }
            peers.update(member.peer) { $0.addresses = member.addresses }
            dial(member.peer)
        }
    }

    // MARK: Messages

    mutating func received(_ bytes: [UInt8], from peer: PeerID) {
        guard isStarted, peer != me else { return }
        guard mayServe(peer) else { return strangerSent(bytes, peer) }
        do {
            switch try Message.arrival(bytes, in: context) {
            case .own(let message): handle(message, from: peer)
            case .swarmWide(let message, let branch): otherBranchSent(message, of: branch, peer)
            case .othersRound: break
            }
        } catch {
            violation(peer, signer: peer, error.reason)
        }
    }

    /// Handles a message of a peer, or one of this node's own that is on disk.
    mutating func handle(_ message: Message, from peer: PeerID) {
        if let fragment = message.fragment, !has(fragment) {
            return violation(peer, signer: peer, "there is no fragment \(fragment.value)")
        }
        switch message {
        case .hello(let hello): helloReceived(hello, from: peer)
        case .status(let report): statusReceived(report, from: peer)
        case .plan(let plan): planReceived(plan, from: peer)
        case .join(let join, let accepted): joinReceived(join, accepted: accepted, from: peer)
        case .roster(let roster): rosterReceived(roster, from: peer)
        case .offer(let offer): offerReceived(offer, from: peer)
        case .result(let result): resultReceived(result, from: peer)
        case .hold(let hold): holdReceived(hold, from: peer)
        case .commit(let commit): commitReceived(commit, from: peer)
        case .ack(let ack): ackReceived(ack, from: peer)
        case .final(let final): finalReceived(final, from: peer)
        case .ledgerRequest(let fragment, let round): sendFinals(fragment, from: round, to: peer)
        case .ledgerPage(let fragment, let finals): ledgerReceived(fragment, finals, from: peer)
        case .snapshotRequest(let fragment): snapshotRequested(fragment, from: peer)
        case .snapshot(let offer): snapshotReceived(offer, from: peer)
        case .goodbye: goodbyeReceived(from: peer)
        case .admission(let notice): admissionReceived(notice, from: peer)
        case .admissionRefused(let refusal): refused(refusal, by: peer)
        case .records(let notice): recordsReceived(notice, from: peer)
        }
    }

    private mutating func goodbyeReceived(from peer: PeerID) {
        peers.update(peer) { $0.isLeaving = true }
        for index in fragments.indices {
            tryRoster(FragmentIndex(index))
            checkDue(FragmentIndex(index))
        }
    }

    /// A rule was broken. Only who signed the offence is dropped: others may pass it on in good faith.
    mutating func violation(_ peer: PeerID, signer: PeerID, _ reason: String) {
        event(.violation(signer, reason: reason))
        if peer == signer, peer != me { out.append(.disconnect(peer, reason: reason)) }
    }
}

extension Message {
    /// The fragment that the message is about, if it is about one.
    var fragment: FragmentIndex? {
        switch self {
        case .hello, .status, .goodbye, .admission, .admissionRefused, .records: nil
        case .plan(let plan): plan.content.id.fragment
        case .join(let join, _): join.content.id.fragment
        case .roster(let roster): roster.content.id.fragment
        case .offer(let offer): offer.id.fragment
        case .result(let result): result.content.id.fragment
        case .hold(let hold): hold.id.fragment
        case .commit(let commit): commit.content.id.fragment
        case .ack(let ack): ack.content.id.fragment
        case .final(let final): final.value.fragment
        case .ledgerRequest(let fragment, _): fragment
        case .ledgerPage(let fragment, _): fragment
        case .snapshotRequest(let fragment): fragment
        case .snapshot(let offer): offer.fragment
        }
    }
}
