extension Kademlia {
    /// What becomes of another peer's request.
    package enum Answer: Hashable, Sendable {
        /// Send this message, without length prefix, on the same stream.
        case message([UInt8])
        /// The request has no answer.
        case none
        /// Reset the stream.
        case refused(Refusal)
    }

    /// Why a request gets no answer.
    package enum Refusal: Hashable, Sendable {
        /// This node is a client.
        case notServing
        /// Not a message, or one beyond a limit.
        case malformed
        /// No key, or none where the record names another one.
        case keyInvalid
        /// A provider record without the sender itself.
        case notOwnProvider
        /// The validator does not take the value, or knows a better one.
        case valueRefused
        /// The store is full of closer keys.
        case noRoom
    }

    /// Answers one message of `peer`, given without length prefix. `remoteAddress` is its end of the connection.
    package mutating func answer(
        _ bytes: [UInt8], from peer: PeerID, remoteAddress: Multiaddr?, at now: Moment
    ) -> Answer {
        guard configuration.mode == .server else { return .refused(.notServing) }
        guard let request = try? KademliaMessage(decoding: bytes) else { return .refused(.malformed) }
        guard !request.key.isEmpty || request.kind == .ping else { return .refused(.keyInvalid) }
        var answer = KademliaMessage(request.kind, key: request.key)
        switch request.kind {
        case .ping: break
        case .findNode:
            answer.closerPeers = closerPeers(to: request.key, for: peer)
            tellSought(request.key, to: peer, in: &answer)
        case .getProviders:
            answer.closerPeers = closerPeers(to: request.key, for: peer)
            answer.providerPeers = providers.providers(of: request.key, at: now).map { told($0) }
        case .getValue:
            answer.closerPeers = closerPeers(to: request.key, for: peer)
            answer.record = values.value(of: request.key, at: now).map {
                KademliaMessage.Record(key: request.key, value: $0)
            }
        case .putValue:
            guard let record = request.record, record.key == request.key else { return .refused(.keyInvalid) }
            if let refusal = keep(record, at: now) { return .refused(refusal) }
            answer.record = record
        case .addProvider:
            guard let own = request.providerPeers.first(where: { $0.contact.peer == peer })
            else { return .refused(.notOwnProvider) }
            keep(own.contact, providing: request.key, remoteAddress: remoteAddress, at: now)
            return .none
        }
        return .message(answer.encoded())
    }

    /// The listed peers closest to a key, without the one that asks.
    private func closerPeers(to key: [UInt8], for asker: PeerID) -> [KademliaMessage.Peer] {
        table.closest(to: KademliaKey(hashing: key), count: KademliaLimits.bucketSize + 1)
            .filter { $0.peer != asker }.prefix(KademliaLimits.bucketSize)
            .map { told(PeerContact(peer: $0.peer, addresses: $0.addresses)) }
    }

    /// Puts the very peer that is sought first, also if it is a connected client and thus not listed.
    private func tellSought(_ key: [UInt8], to asker: PeerID, in answer: inout KademliaMessage) {
        guard let sought = try? PeerID(bytes: key), sought != asker, sought != configuration.peer,
            let addresses = knownAddresses(of: sought)
        else { return }
        answer.closerPeers.removeAll { $0.contact.peer == sought }
        answer.closerPeers.insert(told(PeerContact(peer: sought, addresses: addresses)), at: 0)
        answer.closerPeers = Array(answer.closerPeers.prefix(KademliaLimits.bucketSize))
    }

    /// A peer as it is told, with the addresses that this node has itself where it has none of the record's.
    private func told(_ contact: PeerContact) -> KademliaMessage.Peer {
        var contact = contact
        if contact.addresses.isEmpty { contact.addresses = knownAddresses(of: contact.peer) ?? [] }
        return KademliaMessage.Peer(contact: contact, isConnected: acquaintances[contact.peer] != nil)
    }

    private mutating func keep(_ record: KademliaMessage.Record, at now: Moment) -> Refusal? {
        guard configuration.validator.accepts(record.value, for: record.key) else { return .valueRefused }
        if let held = values.value(of: record.key, at: now), held != record.value,
            !configuration.validator.prefers(record.value, to: held, for: record.key)
        {
            return .valueRefused
        }
        return values.put(record.value, for: record.key, at: now) ? nil : .noRoom
    }

    private mutating func keep(
        _ provider: PeerContact, providing key: [UInt8], remoteAddress: Multiaddr?, at now: Moment
    ) {
        let addresses = policy.kept(provider.addresses)
        let groups = policy.groups(remoteAddress: remoteAddress, addresses: addresses)
        providers.add(PeerContact(peer: provider.peer, addresses: addresses), groups: groups, for: key, at: now)
    }
}
