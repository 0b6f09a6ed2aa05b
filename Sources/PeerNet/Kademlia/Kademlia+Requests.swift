extension Kademlia {
    /// A request whose end has not come.
    struct PendingRequest: Sendable {
        /// Who waits for it.
        enum Purpose: Hashable, Sendable {
            /// A step of a search.
            case search(LookupID)
            /// Puts a record where a search led.
            case spread(LookupID)
            /// Gives the best value to a peer that had none or an older one; nobody waits.
            case repair
            /// Asks whether the peer is there.
            case check
        }

        let peer: PeerID
        let kind: KademliaMessage.Kind
        let purpose: Purpose
        /// What a peer that takes a value sends back.
        let record: KademliaMessage.Record?
        let deadline: Moment
    }

    /// Sends `message` and waits for its end.
    mutating func send(
        _ message: KademliaMessage, to contact: PeerContact, for purpose: PendingRequest.Purpose, at now: Moment
    ) {
        tokenCount += 1
        let token = RequestToken(number: tokenCount)
        requests[token] = PendingRequest(
            peer: contact.peer, kind: message.kind, purpose: purpose, record: message.record,
            deadline: now + KademliaLimits.requestTimeout)
        outputs.append(
            .send(
                Request(
                    token: token, contact: contact, bytes: message.encoded(),
                    awaitsAnswer: message.kind != .addProvider)))
    }

    /// Asks a peer whether it is there, by a look-up step that costs it least to answer usefully.
    mutating func check(_ contact: PeerContact, at now: Moment) {
        let pending = requests.values.filter { $0.purpose == .check }
        guard pending.count < KademliaLimits.checksMax, !pending.contains(where: { $0.peer == contact.peer })
        else { return }
        send(KademliaMessage(.findNode, key: configuration.peer.bytes), to: contact, for: .check, at: now)
    }

    /// Gives up the requests of a finished search.
    mutating func abandonRequests(of id: LookupID) {
        for token in requests.filter({ $0.value.purpose == .search(id) }).keys.sorted() {
            requests[token] = nil
            outputs.append(.abandon(token))
        }
    }

    /// A well-formed answer of the right kind came.
    mutating func answered(_ request: PendingRequest, _ message: KademliaMessage, at now: Moment) {
        lastAnswerAt = now
        var isUseful = false
        switch request.purpose {
        case .search(let id): isUseful = searchAnswered(id, by: request.peer, message)
        case .spread, .repair, .check: break
        }
        table.answered(request.peer, isUseful: isUseful, at: now)
        noteAnswer(of: request.peer, at: now)
        switch request.purpose {
        case .search(let id): step(id, at: now)
        case .spread(let id): spreadEnded(id, succeeded: message.record == request.record, at: now)
        case .repair, .check: break
        }
    }

    /// No answer came, or nonsense did.
    mutating func failed(_ request: PendingRequest, blamesPeer: Bool, at now: Moment) {
        let hasUplink = lastAnswerAt.map { now - $0 < KademliaLimits.silenceTimeout } ?? false
        // A refused record says nothing about the peer's place in the table.
        if blamesPeer, request.kind != .putValue { table.failed(request.peer, mayEvict: hasUplink) }
        switch request.purpose {
        case .search(let id):
            operations[id]?.lookup.failed(request.peer)
            step(id, at: now)
        case .spread(let id): spreadEnded(id, succeeded: false, at: now)
        case .repair, .check: break
        }
    }

    /// Remembers that a peer works, and lists it if it also serves the protocol.
    private mutating func noteAnswer(of peer: PeerID, at now: Moment) {
        guard acquaintances[peer] != nil || acquaintances.count < KademliaLimits.acquaintancesMax else { return }
        acquaintances[peer, default: Acquaintance()].hasAnswered = true
        consider(peer, at: now)
    }

    /// Lists a connected server that has answered; asks one that has not, if there is room for it. For a full bucket's
    /// sake the member most likely gone is asked.
    mutating func consider(_ peer: PeerID, at now: Moment) {
        guard let acquaintance = acquaintances[peer], acquaintance.isServer == true else { return }
        // Nobody could be told of a peer without addresses.
        guard !acquaintance.addresses.isEmpty else { return table.remove(peer) }
        let contact = PeerContact(peer: peer, addresses: acquaintance.addresses)
        if acquaintance.hasAnswered || table[peer] != nil {
            let verdict = table.insert(contact, groups: acquaintance.groups, at: now)
            if verdict == .bucketFull { checkDoubtful(inBucketOf: peer, at: now) }
        } else {
            switch table.verdict(on: peer, groups: acquaintance.groups) {
            case .added: check(contact, at: now)
            case .bucketFull: checkDoubtful(inBucketOf: peer, at: now)
            case .updated, .groupFull, .own: break
            }
        }
    }

    private mutating func checkDoubtful(inBucketOf peer: PeerID, at now: Moment) {
        let moment = now + (.zero - KademliaLimits.checkAfter)
        guard let entry = table.doubtful(inBucketOf: peer, notSince: moment) else { return }
        check(PeerContact(peer: entry.peer, addresses: entry.addresses), at: now)
    }

    /// Addresses that this node has of a peer by itself.
    func knownAddresses(of peer: PeerID) -> [Multiaddr]? {
        let known = table[peer]?.addresses ?? acquaintances[peer]?.addresses ?? []
        return known.isEmpty ? nil : known
    }
}
