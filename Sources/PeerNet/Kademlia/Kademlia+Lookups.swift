extension Kademlia {
    /// A command under way: a search, and for records the placing that follows it.
    struct Operation: Sendable {
        enum Purpose: Hashable, Sendable {
            /// Looks this node up, so that the table fills.
            case bootstrap
            /// Looks a random key of one bucket up.
            case refresh
            case findClosest
            case findPeer(PeerID)
            case findProviders(wanted: Int)
            case provide
            case getValue
            case putValue([UInt8])
        }

        let purpose: Purpose
        /// What is sought, as sent.
        let key: [UInt8]
        /// Whether the driver waits for the outcome.
        let isCommand: Bool
        var lookup: Lookup
        /// Providers found, in the order of their finding, and how many peers told of each.
        var providers: [(contact: PeerContact, tellers: Int)] = []
        /// The best value so far, and who gave which valid one.
        var best: [UInt8]?
        var votes: [(peer: PeerID, value: [UInt8])] = []
        /// Once records are placed: requests under way, and peers that took one.
        var placing: (pending: Int, done: Int)?
    }

    // MARK: Commands

    /// Joins by some contacts, which are also kept for when the table is empty; nil if too many look-ups are under way.
    package mutating func bootstrap(_ contacts: [PeerContact], at now: Moment) -> LookupID? {
        for contact in contacts where contact.peer != configuration.peer && !contact.addresses.isEmpty {
            seeds.removeAll { $0.peer == contact.peer }
            guard seeds.count < KademliaLimits.seedsMax else { break }
            seeds.append(contact)
        }
        return start(.bootstrap, key: configuration.peer.bytes, isCommand: true, at: now)
    }

    /// The key under which nodes that share a name provide it, to find each other: the name's SHA-256 multihash.
    package static func rendezvousKey(_ name: String) -> [UInt8] {
        [0x12, 0x20] + KademliaKey(hashing: Array(name.utf8)).bytes
    }

    /// Seeks the peers closest to a key; nil if the key is empty or too long, or too many look-ups are under way.
    package mutating func findClosest(to key: [UInt8], at now: Moment) -> LookupID? {
        start(.findClosest, key: key, isCommand: true, at: now)
    }

    /// Seeks a peer's addresses; nil if too many look-ups are under way.
    package mutating func findPeer(_ peer: PeerID, at now: Moment) -> LookupID? {
        start(.findPeer(peer), key: peer.bytes, isCommand: true, at: now)
    }

    /// Seeks up to `wanted` providers of a key (a multihash), those that most peers tell of first and never this node;
    /// nil if the key is empty or too long, or too many look-ups are under way.
    package mutating func findProviders(of key: [UInt8], wanted: Int, at now: Moment) -> LookupID? {
        let wanted = min(max(wanted, 1), KademliaLimits.providersWantedMax)
        return start(.findProviders(wanted: wanted), key: key, isCommand: true, at: now)
    }

    /// Tells the closest peers that this node provides a key (a multihash), now and again; nil if the
    /// key is empty or too long, or too much is published or under way.
    package mutating func provide(_ key: [UInt8], at now: Moment) -> LookupID? {
        publish(.provide, value: nil, key: key, at: now)
    }

    /// Seeks the best value of a key; nil if the key is empty or too long, or too many look-ups are under way.
    package mutating func getValue(of key: [UInt8], at now: Moment) -> LookupID? {
        start(.getValue, key: key, isCommand: true, at: now)
    }

    /// Gives a value to the closest peers, now and again; nil if the validator refuses it, a limit
    /// does, or too much is published or under way.
    package mutating func putValue(_ value: [UInt8], for key: [UInt8], at now: Moment) -> LookupID? {
        guard value.count <= KademliaLimits.valueBytesMax, configuration.validator.accepts(value, for: key)
        else { return nil }
        return publish(.putValue(value), value: value, key: key, at: now)
    }

    private mutating func publish(
        _ purpose: Operation.Purpose, value: [UInt8]?, key: [UInt8], at now: Moment
    ) -> LookupID? {
        guard publications[key] != nil || publications.count < KademliaLimits.publicationsMax,
            let id = start(purpose, key: key, isCommand: true, at: now)
        else { return nil }
        publications[key] = Publication(value: value, dueAt: now + jittered(KademliaLimits.republishInterval))
        return id
    }

    // MARK: Searching

    /// Starts a search from the closest peers that this node knows.
    mutating func start(
        _ purpose: Operation.Purpose, key: [UInt8], isCommand: Bool, at now: Moment
    ) -> LookupID? {
        guard operations.count < KademliaLimits.lookupsMax, (1...KademliaLimits.keyBytesMax).contains(key.count)
        else { return nil }
        lookupCount += 1
        let id = LookupID(number: lookupCount)
        let target = KademliaKey(hashing: key)
        let contacts = startingContacts(for: target, isBootstrap: purpose == .bootstrap)
        var operation = Operation(
            purpose: purpose, key: key, isCommand: isCommand,
            lookup: Lookup(target: target, from: contacts, concurrency: configuration.concurrency))
        var isDone = false
        switch purpose {
        case .findPeer(let peer): isDone = acquaintances[peer].map { !$0.addresses.isEmpty } ?? false
        case .findProviders(let wanted):
            // These told this node themselves.
            let held = providers.providers(of: key, at: now).filter { $0.peer != configuration.peer }
            operation.providers = held.map { ($0, KademliaLimits.providerTellersMin) }
            if !held.isEmpty { outputs.append(.providersFound(id, held)) }
            isDone = held.count >= wanted
        case .getValue: operation.best = values.value(of: key, at: now)
        case .bootstrap, .refresh, .findClosest, .provide, .putValue: break
        }
        operations[id] = operation
        if isDone { finish(id, at: now) } else { step(id, at: now) }
        return id
    }

    /// Listed peers and, while they are few, connected servers. Only to fill the table, or where there is nobody else,
    /// also those that failed last time and the first contacts: a dead one holds a search up.
    private func startingContacts(for target: KademliaKey, isBootstrap: Bool) -> [PeerContact] {
        let size = KademliaLimits.bucketSize
        var contacts = table.closest(to: target, count: size).map {
            PeerContact(peer: $0.peer, addresses: $0.addresses)
        }
        guard contacts.count < size else { return contacts }
        for peer in acquaintances.filter({ $0.value.isServer == true }).keys.sorted().prefix(size) {
            contacts.append(PeerContact(peer: peer, addresses: acquaintances[peer]?.addresses ?? []))
        }
        guard isBootstrap || contacts.isEmpty else { return contacts }
        let listed = table.closest(to: target, count: size, includesFailing: true)
        return contacts + listed.map { PeerContact(peer: $0.peer, addresses: $0.addresses) } + seeds
    }

    /// Asks whom the search wants asked, and ends it when it is over.
    mutating func step(_ id: LookupID, at now: Moment) {
        guard let operation = operations[id], operation.placing == nil else { return }
        if isSatisfied(operation) { return finish(id, at: now) }
        let request: KademliaMessage
        switch operation.purpose {
        case .bootstrap, .refresh, .findClosest, .findPeer, .provide, .putValue:
            request = KademliaMessage(.findNode, key: operation.key)
        case .findProviders: request = KademliaMessage(.getProviders, key: operation.key)
        case .getValue: request = KademliaMessage(.getValue, key: operation.key)
        }
        for contact in operations[id]?.lookup.next() ?? [] { send(request, to: contact, for: .search(id), at: now) }
        if operations[id]?.lookup.isFinished == true { finish(id, at: now) }
    }

    /// Whether a search has what it was for before it is over.
    private func isSatisfied(_ operation: Operation) -> Bool {
        switch operation.purpose {
        case .findPeer(let peer): operation.lookup[peer]?.standing == .answered
        case .findProviders(let wanted):
            operation.providers.count { $0.tellers >= KademliaLimits.providerTellersMin } >= wanted
        case .getValue: operation.votes.count { $0.value == operation.best } >= KademliaLimits.valueQuorum
        case .bootstrap, .refresh, .findClosest, .provide, .putValue: false
        }
    }

    /// Takes what one peer answered; true if it told of a peer that was new to the search.
    mutating func searchAnswered(_ id: LookupID, by peer: PeerID, _ message: KademliaMessage) -> Bool {
        guard let operation = operations[id], operation.placing == nil else { return false }
        let closer = policy.admissible(
            message.closerPeers, excluding: [configuration.peer, peer], known: { knownAddresses(of: $0) })
        switch operation.purpose {
        case .findProviders: collect(message.providerPeers, for: id)
        case .getValue:
            if let record = message.record, record.key == operation.key,
                configuration.validator.accepts(record.value, for: record.key)
            {
                operations[id]?.votes.append((peer, record.value))
                if operation.best.map({ configuration.validator.prefers(record.value, to: $0, for: record.key) })
                    ?? true
                {
                    operations[id]?.best = record.value
                }
            }
        case .bootstrap, .refresh, .findClosest, .findPeer, .provide, .putValue: break
        }
        return operations[id]?.lookup.answered(peer, closer: closer) ?? false
    }

    private mutating func collect(_ told: [KademliaMessage.Peer], for id: LookupID) {
        guard var found = operations[id]?.providers else { return }
        var fresh: [PeerContact] = []
        var seen: Set<PeerID> = [configuration.peer]
        for provider in told where seen.insert(provider.contact.peer).inserted {
            let peer = provider.contact.peer
            let addresses = knownAddresses(of: peer) ?? policy.kept(provider.contact.addresses)
            if let index = found.firstIndex(where: { $0.contact.peer == peer }) {
                found[index].tellers += 1
                let before = found[index].contact
                found[index].contact.addAddresses(addresses)
                if found[index].contact != before { fresh.append(found[index].contact) }
            } else if found.count < KademliaLimits.providersPerLookupMax {
                found.append((PeerContact(peer: peer, addresses: addresses), 1))
                fresh.append(PeerContact(peer: peer, addresses: addresses))
            }
        }
        operations[id]?.providers = found
        if !fresh.isEmpty { outputs.append(.providersFound(id, fresh)) }
    }

    // MARK: Ends

    /// Ends a search: reports it, or goes on to place its record.
    private mutating func finish(_ id: LookupID, at now: Moment) {
        guard let operation = operations[id] else { return }
        abandonRequests(of: id)
        table.noteLookup(of: operation.lookup.target, at: now)
        switch operation.purpose {
        case .bootstrap, .findClosest: end(id, .closest(operation.lookup.closest), at: now)
        case .refresh: end(id, nil, at: now)
        case .findPeer(let peer): end(id, found(peer, by: operation.lookup), at: now)
        case .findProviders(let wanted): end(id, .providers(best(wanted, of: operation.providers)), at: now)
        case .getValue:
            if let best = operation.best { repair(operation, with: best, at: now) }
            end(id, .value(operation.best), at: now)
        case .provide, .putValue: place(id, operation, at: now)
        }
    }

    /// Those that most peers told of; of equal ones those found first.
    private func best(_ wanted: Int, of providers: [(contact: PeerContact, tellers: Int)]) -> [PeerContact] {
        providers.enumerated()
            .sorted { ($1.element.tellers, $0.offset) < ($0.element.tellers, $1.offset) }
            .prefix(wanted).map(\.element.contact)
    }

    private func found(_ peer: PeerID, by lookup: Lookup) -> Outcome {
        if let addresses = acquaintances[peer]?.addresses, !addresses.isEmpty {
            return .peer(PeerContact(peer: peer, addresses: addresses), isConfirmed: true)
        }
        let candidate = lookup[peer]
        return .peer(candidate?.contact, isConfirmed: candidate?.standing == .answered)
    }

    /// Forgets a command and tells its outcome.
    mutating func end(_ id: LookupID, _ outcome: Outcome?, at now: Moment) {
        guard let operation = operations.removeValue(forKey: id) else { return }
        if operation.isCommand, let outcome { outputs.append(.finished(id, outcome)) }
        if operation.purpose == .bootstrap || id == refreshLookup { refreshStepEnded(id, operation, at: now) }
    }
}
