extension Gossipsub {
    // MARK: Connections

    /// A peer speaks pubsub: it gets our subscriptions first. Call before its bytes are fed to `receive`, which knows no
    /// strangers, even if its stream is open before ours. Call once per peer, whatever connections it has; if our stream
    /// is opened anew, report a disconnection before.
    package mutating func peerConnected(_ peer: PeerID, _ description: GossipPeerDescription, at now: Moment) {
        guard peer != identity.peerID, peers[peer] == nil else { return }
        peers[peer] = GossipPeer(description, isDirect: directPeers.contains(peer))
        scores.connected(peer, group: description.scoredAddress)
        guard !condemnIfGraylisted(peer) else { return }
        for topic in topics {
            enqueue(.subscription, PubsubRPC.Entry.subscription(topic, isSubscribed: true), .control, to: peer)
        }
        flush()
    }

    /// A peer is gone. Its score, its backoffs and what it promised are remembered.
    package mutating func peerDisconnected(_ peer: PeerID, at now: Moment) {
        guard let state = peers.removeValue(forKey: peer) else { return }
        for topic in state.topics { removeFollower(peer, of: topic) }
        for topic in Array(mesh.keys) { mesh[topic]?.remove(peer) }
        for topic in Array(fanout.keys) { fanout[topic]?.peers.remove(peer) }
        scores.disconnected(peer, at: now)
    }

    /// The driver wrote bytes that `Output.send` gave.
    package mutating func written(_ bytes: Int, to peer: PeerID) {
        guard let index = peers.index(forKey: peer) else { return }
        peers.values[index].inFlightBytes = max(0, peers.values[index].inFlightBytes - bytes)
        schedule(peer)
        flush()
    }

    /// A peer's own signed record, from identify; passed on when this peer is suggested to others. Records that are not
    /// the peer's own are ignored.
    package mutating func setRecord(_ record: SignedPeerRecord, of peer: PeerID) {
        guard record.peer == peer else { return }
        peers[peer]?.recordEnvelope = record.envelope
    }

    /// What the application thinks of a connected peer (P5), positive or negative.
    package mutating func setApplicationScore(_ peer: PeerID, _ value: Double) {
        scores.setApplication(peer, value)
        condemnIfGraylisted(peer)
    }

    // MARK: Judgement

    /// Ends a peer whose score is below the graylist threshold; true if nothing more is to be had from the peer.
    @discardableResult mutating func condemnIfGraylisted(_ peer: PeerID) -> Bool {
        guard let state = peers[peer] else { return true }
        guard !state.isCondemned else { return true }
        let score = scores.score(of: peer)
        guard !state.isDirect, score < scores.parameters.graylistThreshold else { return false }
        condemn(peer, .graylisted(score: score))
        return true
    }

    /// Takes a peer out of everything and asks the driver to end it. Nothing is said to it.
    mutating func condemn(_ peer: PeerID, _ reason: DisconnectReason) {
        guard let index = peers.index(forKey: peer), !peers.values[index].isCondemned else { return }
        peers.values[index].isCondemned = true
        peers.values[index].queue.removeAll()
        peers.values[index].unwanted = [:]
        for topic in topics where mesh[topic]?.remove(peer) == true { scores.pruned(peer, topic) }
        for topic in Array(fanout.keys) { fanout[topic]?.peers.remove(peer) }
        outputs.append(.disconnect(peer, reason))
    }

    // MARK: Subscriptions of peers

    mutating func handle(_ subscriptions: [PubsubRPC.Subscription], from peer: PeerID) {
        for subscription in subscriptions {
            let topic = subscription.topic
            guard let index = peers.index(forKey: peer) else { return }
            if subscription.isSubscribed {
                // Beyond the limit a topic is as if not followed: the peer gets none of its messages.
                guard peers.values[index].topics.count < PubsubLimits.topicsPerPeerMax,
                    peers.values[index].topics.insert(topic).inserted
                else { continue }
                topicPeers[topic, default: SortedPeers()].insert(peer)
            } else {
                guard peers.values[index].topics.remove(topic) != nil else { continue }
                removeFollower(peer, of: topic)
                if mesh[topic]?.remove(peer) == true { scores.pruned(peer, topic) }
                fanout[topic]?.peers.remove(peer)
            }
        }
    }

    private mutating func removeFollower(_ peer: PeerID, of topic: Topic) {
        topicPeers[topic]?.remove(peer)
        if topicPeers[topic]?.isEmpty == true { topicPeers[topic] = nil }
    }
}
