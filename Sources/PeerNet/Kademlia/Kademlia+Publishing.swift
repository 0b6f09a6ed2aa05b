extension Kademlia {
    /// Gives a record to the k closest peers that answered, this node included if it is one of them.
    mutating func place(_ id: LookupID, _ operation: Operation, at now: Moment) {
        let closest = operation.lookup.closest
        var message: KademliaMessage
        var kept = 0
        switch operation.purpose {
        case .putValue(let value):
            message = KademliaMessage(.putValue, key: operation.key)
            message.record = KademliaMessage.Record(key: operation.key, value: value)
            if isAmong(closest, for: operation.lookup.target), values.put(value, for: operation.key, at: now) {
                kept = 1
            }
        case .provide:
            message = KademliaMessage(.addProvider, key: operation.key)
            // What others would not keep is not told: on a public network, how the owner's own one looks.
            let own = PeerContact(peer: configuration.peer, addresses: policy.kept(configuration.addresses))
            message.providerPeers = [KademliaMessage.Peer(contact: own, isConnected: true)]
            if isAmong(closest, for: operation.lookup.target) {
                providers.add(own, groups: [], for: operation.key, at: now)
                kept = 1
            }
        case .bootstrap, .refresh, .findClosest, .findPeer, .findProviders, .getValue: return
        }
        operations[id]?.placing = (pending: closest.count, done: kept)
        for contact in closest { send(message, to: contact, for: .spread(id), at: now) }
        if closest.isEmpty { endPlacing(id, at: now) }
    }

    /// One of the requests that place a record came to its end.
    mutating func spreadEnded(_ id: LookupID, succeeded: Bool, at now: Moment) {
        guard let placing = operations[id]?.placing else { return }
        operations[id]?.placing = (placing.pending - 1, placing.done + (succeeded ? 1 : 0))
        if placing.pending == 1 { endPlacing(id, at: now) }
    }

    private mutating func endPlacing(_ id: LookupID, at now: Moment) {
        guard let operation = operations[id], let done = operation.placing?.done else { return }
        if case .putValue = operation.purpose {
            end(id, .stored(peers: done), at: now)
        } else {
            end(id, .provided(peers: done), at: now)
        }
    }

    /// Gives the best value to the closest peers that have another one or none (specification, "Entry correction").
    mutating func repair(_ operation: Operation, with best: [UInt8], at now: Moment) {
        guard !operation.votes.isEmpty else { return }
        var message = KademliaMessage(.putValue, key: operation.key)
        message.record = KademliaMessage.Record(key: operation.key, value: best)
        let current = operation.votes.filter { $0.value == best }.map(\.peer)
        for contact in operation.lookup.closest where !current.contains(contact.peer) {
            send(message, to: contact, for: .repair, at: now)
        }
    }

    /// Publishes again what is due.
    mutating func republish(at now: Moment) {
        let due = publications.filter { $0.value.dueAt <= now }.keys.sorted { $0.lexicographicallyPrecedes($1) }
        for key in due {
            guard let publication = publications[key] else { continue }
            let purpose = publication.value.map { Operation.Purpose.putValue($0) } ?? .provide
            // If too many look-ups are under way, the next tick tries again.
            guard start(purpose, key: key, isCommand: false, at: now) != nil else { return }
            let next = now + jittered(KademliaLimits.republishInterval)
            publications[key]?.dueAt = next
        }
    }

    /// Whether this node serves and is one of the k closest to a key, given the others.
    private func isAmong(_ closest: [PeerContact], for target: KademliaKey) -> Bool {
        guard configuration.mode == .server else { return false }
        guard closest.count >= KademliaLimits.bucketSize, let last = closest.last else { return true }
        return ownKey.distance(to: target) < KademliaKey(last.peer).distance(to: target)
    }
}
