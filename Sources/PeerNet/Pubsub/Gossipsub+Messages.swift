extension Gossipsub {
    // MARK: Publishing

    /// Signs and publishes a message. It is not delivered to this node itself.
    @discardableResult package mutating func publish(
        _ data: [UInt8], to topic: Topic, at now: Moment
    ) throws(Refusal) -> MessageID {
        guard data.count <= parameters.dataBytesMax else {
            throw .dataTooLong(bytes: data.count, bytesMax: parameters.dataBytesMax)
        }
        let message = PubsubMessage(signedBy: identity, sequence: nextSequence, topic: topic, data: data)
        let id = message.id
        let targets = try publishTargets(topic, at: now)
        nextSequence &+= 1
        let field = message.publishField
        seen.insert(id, .accepted(at: now), at: now)
        cache.insert(id, topic: topic, publishField: field)
        for peer in targets { enqueueMessage(field, id, .own, to: peer) }
        flush()
        return id
    }

    /// Whom a message of our own goes to.
    private mutating func publishTargets(_ topic: Topic, at now: Moment) throws(Refusal) -> SortedPeers {
        let threshold = scores.parameters.publishThreshold
        guard !parameters.floodPublish else {
            var targets = SortedPeers()
            for peer in topicPeers[topic] ?? SortedPeers() where isTrusted(peer, above: threshold) {
                targets.insert(peer)
            }
            return targets
        }
        var targets: SortedPeers
        if let members = mesh[topic] {
            targets = members
        } else {
            guard fanout[topic] != nil || fanout.count < PubsubLimits.ownTopicsMax else {
                throw .tooManyTopics(max: PubsubLimits.ownTopicsMax)
            }
            fanout[topic, default: Fanout(lastPublish: now)].lastPublish = now
            fillFanout(topic)
            targets = fanout[topic]?.peers ?? SortedPeers()
        }
        addUnmeshed(topic, to: &targets)
        return targets
    }

    /// Adds the peers of a topic that get every message: direct ones and those that know no mesh.
    private func addUnmeshed(_ topic: Topic, to targets: inout SortedPeers) {
        for peer in topicPeers[topic] ?? SortedPeers() {
            guard let state = peers[peer], state.isDirect || !state.isMeshCapable,
                isTrusted(peer, above: scores.parameters.publishThreshold)
            else { continue }
            targets.insert(peer)
        }
    }

    /// Drops fanout peers that left the topic or fell in score, and adds random ones up to D.
    mutating func fillFanout(_ topic: Topic) {
        guard var entry = fanout[topic] else { return }
        let followers = topicPeers[topic] ?? SortedPeers()
        let threshold = scores.parameters.publishThreshold
        for peer in entry.peers where !followers.contains(peer) || scores.score(of: peer) < threshold {
            entry.peers.remove(peer)
        }
        if entry.peers.count < parameters.degree {
            let candidates = followers.filter {
                guard let state = peers[$0], state.isMeshCapable, !state.isDirect, !state.isCondemned else {
                    return false
                }
                return !entry.peers.contains($0) && scores.score(of: $0) >= threshold
            }
            for peer in candidates.shuffled(using: &random).prefix(parameters.degree - entry.peers.count) {
                entry.peers.insert(peer)
            }
        }
        fanout[topic] = entry
    }

    // MARK: Receiving

    /// Takes one RPC of a connected peer, without its length (see `PubsubStreamReader`). Those of others are ignored.
    package mutating func receive(_ rpc: [UInt8], from peer: PeerID, at now: Moment) {
        guard !condemnIfGraylisted(peer) else { return }
        let decoded: PubsubRPC
        do throws(RPCFault) {
            decoded = try PubsubRPC(bytes: rpc, dataBytesMax: parameters.dataBytesMax)
        } catch {
            streamBroken(peer, error)
            return
        }
        handle(decoded.subscriptions, from: peer)
        for published in decoded.published {
            switch published {
            case .message(let message): handle(message, from: peer, at: now)
            case .invalid(_, let topic): handleInvalid(topic, from: peer)
            }
            // A signature costs about as much as the rest of a message: stop at the first that is one too many.
            guard !condemnIfGraylisted(peer) else { break }
        }
        if peers[peer]?.isMeshCapable == true {
            handleControl(decoded, from: peer, at: now)
            condemnIfGraylisted(peer)
        }
        flush()
    }

    /// What a peer sent on its stream is not pubsub (`PubsubStreamReader` threw).
    package mutating func streamBroken(_ peer: PeerID, _ fault: RPCFault) {
        guard peers[peer]?.isCondemned == false else { return }
        scores.misbehaved(peer, by: 1)
        outputs.append(.resetStream(peer, fault))
        condemnIfGraylisted(peer)
    }

    /// A message that cannot be valid: the peer should not have passed it on.
    private mutating func handleInvalid(_ topic: Topic?, from peer: PeerID) {
        if let topic, mesh[topic] != nil {
            scores.deliveredInvalid(peer, topic)
        } else {
            peers[peer]?.counters.uselessMessages += 1
        }
    }

    private mutating func handle(_ message: PubsubMessage, from peer: PeerID, at now: Moment) {
        let id = message.id
        // Our own messages come back from peers that do not know whose they are.
        guard message.author != identity.peerID, mesh[message.topic] != nil else {
            peers[peer]?.counters.uselessMessages += 1
            return
        }
        if let status = seen.status(of: id) {
            peers[peer]?.counters.uselessMessages += 1
            handleDuplicate(id, message.topic, status, from: peer, at: now)
            return
        }
        let bytes = message.data?.count ?? 0
        guard hasRoom(for: bytes, from: peer) else {
            // Nobody's fault; gossip will offer it again.
            promises.fulfil(id, by: peer)
            return
        }
        guard message.isSignatureValid else {
            scores.deliveredInvalid(peer, message.topic)
            return
        }
        promises.fulfil(id)
        seen.insert(id, .pending, at: now)
        freshCounts[freshCounts.count - 1] += 1
        pending[id] = Pending(message: message, source: peer, since: now)
        pendingBytes += bytes
        peers[peer]?.pendingCount += 1
        peers[peer]?.pendingBytes += bytes
        if bytes >= parameters.dontWantBytesMin { sendDontWant(id, message.topic, except: peer) }
        outputs.append(.deliver(Delivery(id: id, topic: message.topic, data: message.data ?? [], source: peer)))
    }

    /// Whether a message may wait for its verdict beside those that wait already.
    private func hasRoom(for bytes: Int, from peer: PeerID) -> Bool {
        guard let state = peers[peer] else { return false }
        return pending.count < PubsubLimits.pendingMax && pendingBytes + bytes <= PubsubLimits.pendingBytesMax
            && state.pendingCount < PubsubLimits.pendingPerPeerMax
            && state.pendingBytes + bytes <= PubsubLimits.pendingPerPeerBytesMax
    }

    private mutating func handleDuplicate(
        _ id: MessageID, _ topic: Topic, _ status: SeenCache.Status, from peer: PeerID, at now: Moment
    ) {
        switch status {
        case .pending:
            if pending[id]?.source != peer { pending[id]?.others.insert(peer) }
        case .accepted(let moment):
            let weights = scores.parameters.weights(of: topic)
            guard now - moment <= weights.meshDeliveriesWindow, lateDeliverers[id]?.insert(peer) == true else { return }
            scores.deliveredAgain(peer, topic)
        case .rejected: scores.deliveredInvalid(peer, topic)
        case .ignored: break
        }
    }

    // MARK: Verdicts

    /// The application judged a message; a second verdict, or one that comes too late, changes nothing.
    package mutating func validated(_ id: MessageID, _ verdict: Verdict, at now: Moment) {
        guard let entry = takePending(id) else { return }
        let topic = entry.message.topic
        switch verdict {
        case .accept:
            seen.update(id, .accepted(at: now))
            scores.deliveredFirst(entry.source, topic)
            for peer in entry.others { scores.deliveredAgain(peer, topic) }
            if scores.parameters.weights(of: topic).meshDeliveriesWeight < 0,
                lateDeliverers.count < PubsubLimits.cachedMax
            {
                var deliverers = entry.others
                deliverers.insert(entry.source)
                lateDeliverers[id] = deliverers
            }
            forward(entry, id)
        case .reject:
            seen.update(id, .rejected)
            for peer in CollectionOfOne(entry.source) + Array(entry.others) {
                scores.deliveredInvalid(peer, topic)
                condemnIfGraylisted(peer)
            }
        case .ignore: seen.update(id, .ignored)
        }
        flush()
    }

    /// Takes a message out of those that wait.
    mutating func takePending(_ id: MessageID) -> Pending? {
        guard let entry = pending.removeValue(forKey: id) else { return nil }
        pendingBytes -= entry.bytes
        if let index = peers.index(forKey: entry.source), peers.values[index].pendingCount > 0 {
            peers.values[index].pendingCount -= 1
            peers.values[index].pendingBytes = max(0, peers.values[index].pendingBytes - entry.bytes)
        }
        return entry
    }

    /// Passes an accepted message on to all who should have it and did not send it.
    private mutating func forward(_ entry: Pending, _ id: MessageID) {
        let topic = entry.message.topic
        guard var targets = mesh[topic] else { return }
        let field = entry.message.publishField
        cache.insert(id, topic: topic, publishField: field)
        addUnmeshed(topic, to: &targets)
        targets.remove(entry.source)
        targets.remove(id.author)
        for peer in targets where !entry.others.contains(peer) { enqueueMessage(field, id, .forwarded, to: peer) }
    }
}
