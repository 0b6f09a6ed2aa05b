extension Gossipsub {
    mutating func handleControl(_ rpc: PubsubRPC, from peer: PeerID, at now: Moment) {
        if !rpc.have.isEmpty { handleHave(rpc.have, from: peer, at: now) }
        if !rpc.want.isEmpty { handleWant(rpc.want, from: peer) }
        for topic in rpc.graft { handleGraft(topic, from: peer, at: now) }
        for prune in rpc.prune { handle(prune, from: peer, at: now) }
        if !rpc.dontWant.isEmpty { handleDontWant(rpc.dontWant, from: peer) }
    }

    // MARK: GRAFT and PRUNE

    private mutating func handleGraft(_ topic: Topic, from peer: PeerID, at now: Moment) {
        // Topics that we do not follow are not answered: the answer would tell which we do.
        guard let members = mesh[topic], !members.contains(peer), let state = peers[peer], !state.isCondemned else {
            return
        }
        if !state.isDirect {
            if let backoff = backoffs.active(peer, topic, at: now) {
                let isFlood = now < backoff.start + parameters.graftFloodThreshold
                scores.misbehaved(peer, by: isFlood ? 2 : 1)
            } else if scores.score(of: peer) >= 0 {
                // Who dialed us chose us: a full mesh takes in only peers that we chose.
                if members.count < parameters.degreeHigh || state.description.isOutbound {
                    mesh[topic]?.insert(peer)
                    scores.grafted(peer, topic, at: now)
                } else {
                    prune(peer, topic, backoff: parameters.pruneBackoff, suggestsPeers: true, at: now)
                }
                return
            }
        }
        prune(peer, topic, backoff: parameters.pruneBackoff, suggestsPeers: false, at: now)
    }

    private mutating func handle(_ prune: PubsubRPC.Prune, from peer: PeerID, at now: Moment) {
        guard mesh[prune.topic] != nil, peers[peer]?.isCondemned == false else { return }
        if mesh[prune.topic]?.remove(peer) == true { scores.pruned(peer, prune.topic) }
        let most = UInt64(max(0, parameters.pruneBackoffMax.components.seconds))
        let backoff: Duration =
            prune.backoffSeconds == 0 ? parameters.pruneBackoff : .seconds(Int64(min(prune.backoffSeconds, most)))
        backoffs.set(peer, prune.topic, for: backoff, at: now)
        guard !prune.peers.isEmpty, scores.score(of: peer) >= scores.parameters.acceptExchangeThreshold else { return }
        var suggested: [SuggestedPeer] = []
        for candidate in prune.peers {
            // Each record costs a signature check.
            guard let index = peers.index(forKey: peer),
                peers.values[index].counters.exchangedPeers < PubsubLimits.exchangedPeersMax
            else { break }
            peers.values[index].counters.exchangedPeers += 1
            guard candidate.peer != identity.peerID, peers[candidate.peer] == nil else { continue }
            if let envelope = candidate.envelope {
                guard let record = try? SignedPeerRecord(envelope: envelope), record.peer == candidate.peer else {
                    continue
                }
                suggested.append(SuggestedPeer(peer: candidate.peer, record: record))
            } else {
                suggested.append(SuggestedPeer(peer: candidate.peer, record: nil))
            }
        }
        if !suggested.isEmpty { outputs.append(.suggestPeers(prune.topic, suggested)) }
    }

    // MARK: IHAVE and IWANT

    private mutating func handleHave(
        _ advertisements: [PubsubRPC.Advertisement], from peer: PeerID, at now: Moment
    ) {
        guard isTrusted(peer, above: scores.parameters.gossipThreshold), let index = peers.index(forKey: peer) else {
            return
        }
        peers.values[index].counters.haveMessages += 1
        let room = parameters.wantedIDsMax - peers.values[index].counters.askedIDs
        guard peers.values[index].counters.haveMessages <= parameters.haveMessagesMax, room > 0 else { return }
        var wanted: [MessageID] = []
        var chosen: Set<MessageID> = []
        for advertisement in advertisements where mesh[advertisement.topic] != nil {
            for id in advertisement.ids where seen.status(of: id) == nil && id.author != identity.peerID {
                if chosen.insert(id).inserted { wanted.append(id) }
            }
        }
        guard !wanted.isEmpty else { return }
        // In random order, so that the advertiser does not know which id it will be held to.
        wanted.shuffle(using: &random)
        let asked = wanted.prefix(room)
        peers.values[index].counters.askedIDs += asked.count
        promises.add(asked[0], by: peer, until: now + parameters.promiseTimeout)
        for part in pieces(of: asked) { enqueue(.control, PubsubRPC.Entry.want(part), .request, to: peer) }
    }

    private mutating func handleWant(_ ids: [MessageID], from peer: PeerID) {
        guard let index = peers.index(forKey: peer) else { return }
        // Below the threshold requests are counted all the same, or a flood would stop short of its end.
        let isAnswered = isTrusted(peer, above: scores.parameters.gossipThreshold)
        let room = max(0, parameters.requestedIDsMax - peers.values[index].counters.requestedIDs)
        peers.values[index].counters.requestedIDs += min(ids.count, room)
        var isExcessive = ids.count > room
        for id in ids.prefix(room) {
            guard let answer = cache.request(id, by: peer) else { continue }
            if answer.requests > parameters.retransmissionsMax {
                isExcessive = true
            } else if isAnswered {
                enqueueMessage(answer.publishField, id, .forwarded, to: peer)
            }
        }
        // Beyond the specification, which lets such requests be: we advertise an id at most three times, so an honest
        // peer never asks a fourth time, and each request costs far less than its answer.
        if isExcessive { scores.misbehaved(peer, by: 1) }
    }

    /// Cuts ids into parts that fit a packed RPC each.
    func pieces(of ids: ArraySlice<MessageID>) -> [ArraySlice<MessageID>] {
        let count = PubsubRPC.Entry.idsMax(controlBytesMax: PubsubLimits.packedControlBytesMax)
        return stride(from: ids.startIndex, to: ids.endIndex, by: count).map {
            ids[$0..<min($0 + count, ids.endIndex)]
        }
    }

    // MARK: IDONTWANT

    /// Tells the mesh that a large message has come, before it is judged. Only after its signature verified, which go
    /// does not wait for: a forged copy would otherwise make our mesh keep the real one from us.
    mutating func sendDontWant(_ id: MessageID, _ topic: Topic, except source: PeerID) {
        guard let members = mesh[topic] else { return }
        let entry = PubsubRPC.Entry.dontWant(CollectionOfOne(id))
        for peer in members where peer != source && peer != id.author {
            guard let state = peers[peer], state.description.version >= .gossipsub12 else { continue }
            enqueue(.control, entry, .request, to: peer)
        }
    }

    private mutating func handleDontWant(_ ids: [MessageID], from peer: PeerID) {
        guard let index = peers.index(forKey: peer), !peers.values[index].isCondemned else { return }
        peers.values[index].counters.dontWantMessages += 1
        guard peers.values[index].counters.dontWantMessages <= parameters.dontWantMessagesMax else { return }
        let room = PubsubLimits.unwantedMax - peers.values[index].unwanted.count
        let end = heartbeats + UInt64(parameters.dontWantHeartbeats)
        for id in ids.prefix(room) { peers.values[index].unwanted[id] = end }
        peers.values[index].queue.withdraw(ids.prefix(room))
    }
}
