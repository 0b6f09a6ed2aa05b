extension Gossipsub {
    /// Follows a topic: every peer is told, and up to D peers are grafted.
    package mutating func subscribe(_ topic: Topic, at now: Moment) throws(Refusal) {
        guard mesh[topic] == nil else { return }
        guard mesh.count < PubsubLimits.ownTopicsMax else { throw .tooManyTopics(max: PubsubLimits.ownTopicsMax) }
        announce(topic, isSubscribed: true)
        mesh[topic] = SortedPeers()
        // Peers that got our messages so far come first; backoffs of an earlier visit hold here too.
        if let fanout = fanout.removeValue(forKey: topic) {
            let known = fanout.peers.filter { canGraft($0, topic, at: now) }
            for peer in known.prefix(parameters.degree) { graft(peer, topic, at: now) }
        }
        graftMore(topic, upTo: parameters.degree, at: now)
        flush()
    }

    /// Ceases to follow a topic. The peers of its mesh are pruned with a short backoff, to which this node keeps too.
    package mutating func unsubscribe(_ topic: Topic, at now: Moment) {
        guard let members = mesh[topic] else { return }
        announce(topic, isSubscribed: false)
        for peer in members {
            prune(peer, topic, backoff: parameters.unsubscribeBackoff, suggestsPeers: false, at: now)
        }
        mesh[topic] = nil
        flush()
    }

    private mutating func announce(_ topic: Topic, isSubscribed: Bool) {
        let entry = PubsubRPC.Entry.subscription(topic, isSubscribed: isSubscribed)
        for peer in peers.keys.sorted() { enqueue(.subscription, entry, .control, to: peer) }
    }

    // MARK: Mesh

    /// Whether a peer of the topic may be grafted now.
    func canGraft(_ peer: PeerID, _ topic: Topic, at now: Moment) -> Bool {
        mesh[topic]?.contains(peer) == false && isMeshCandidate(peer)
            && !backoffs.mustWait(peer, topic, slack: parameters.backoffSlack, at: now)
    }

    /// Peers of a topic that may be grafted now, in random order.
    mutating func graftCandidates(_ topic: Topic, at now: Moment) -> [PeerID] {
        guard let followers = topicPeers[topic] else { return [] }
        return followers.filter { canGraft($0, topic, at: now) }.shuffled(using: &random)
    }

    /// Grafts random peers until the mesh has `count`.
    mutating func graftMore(_ topic: Topic, upTo count: Int, at now: Moment) {
        let missing = count - (mesh[topic]?.count ?? 0)
        guard missing > 0 else { return }
        for peer in graftCandidates(topic, at: now).prefix(missing) { graft(peer, topic, at: now) }
    }

    /// Takes a peer into the mesh and tells it.
    mutating func graft(_ peer: PeerID, _ topic: Topic, at now: Moment) {
        guard mesh[topic]?.insert(peer) == true else { return }
        scores.grafted(peer, topic, at: now)
        enqueue(.control, PubsubRPC.Entry.graft(topic), .control, to: peer)
    }

    /// Takes a peer out of the mesh, or keeps it out; tells it for how long, and waits as long.
    mutating func prune(
        _ peer: PeerID, _ topic: Topic, backoff: Duration, suggestsPeers: Bool, at now: Moment
    ) {
        if mesh[topic]?.remove(peer) == true { scores.pruned(peer, topic) }
        backoffs.set(peer, topic, for: backoff, at: now)
        // v1.0 knows neither backoffs nor suggestions.
        let isOld = peers[peer].map { $0.description.version < .gossipsub11 } ?? true
        let suggested = suggestsPeers && !isOld ? suggestions(for: peer, topic) : []
        let seconds = isOld ? nil : UInt64(max(0, backoff.components.seconds))
        enqueue(
            .control, PubsubRPC.Entry.prune(topic, peers: suggested, backoffSeconds: seconds), .control, to: peer)
    }

    /// Other peers of the topic in good standing, with their records as far as those are known and fit.
    private mutating func suggestions(for peer: PeerID, _ topic: Topic) -> [PubsubRPC.SuggestedPeer] {
        guard scores.score(of: peer) >= 0, let followers = topicPeers[topic] else { return [] }
        let others = followers.filter { $0 != peer && isMeshCandidate($0) }.shuffled(using: &random)
        var room = PubsubLimits.packedControlBytesMax / 2
        return others.prefix(PubsubLimits.exchangedPeersMax).map { other in
            guard let envelope = peers[other]?.recordEnvelope, envelope.count <= room else {
                return PubsubRPC.SuggestedPeer(peer: other, envelope: nil)
            }
            room -= envelope.count
            return PubsubRPC.SuggestedPeer(peer: other, envelope: envelope)
        }
    }
}
