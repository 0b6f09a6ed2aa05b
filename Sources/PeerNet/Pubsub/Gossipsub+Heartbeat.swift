extension Gossipsub {
    /// The specification's heartbeat, in its order. `isLate`: this node could not do anything for a while.
    mutating func heartbeat(at now: Moment, isLate: Bool) {
        heartbeats += 1
        judge(at: now, isLate: isLate)
        for topic in topics { maintainMesh(topic, at: now) }
        for topic in fanout.keys.sorted() { maintainFanout(topic, at: now) }
        cache.shift()
        if !directPeers.isEmpty, (heartbeats - 1) % UInt64(max(1, parameters.directConnectHeartbeats)) == 0 {
            for peer in directPeers where peers[peer] == nil { outputs.append(.connect(peer)) }
        }
    }

    /// Charges what was left undone, lets scores decay, and forgets what is too old.
    private mutating func judge(at now: Moment, isLate: Bool) {
        // Beyond the specification: what came while this node slept is not read yet, so it blames nobody for it.
        for (peer, count) in promises.takeBroken(at: now) where !isLate { scores.misbehaved(peer, by: Double(count)) }
        let uselessMax = parameters.uselessMessagesFree + 4 * freshCounts.reduce(0, +)
        for peer in peers.keys.sorted() {
            guard let index = peers.index(forKey: peer) else { continue }
            // Beyond the specification: an honest peer sends a message once, or as often as we ask for it.
            if peers.values[index].counters.uselessMessages > uselessMax, !isLate { scores.misbehaved(peer, by: 2) }
            peers.values[index].counters = GossipPeer.Counters()
            if !peers.values[index].unwanted.isEmpty {
                let heartbeats = heartbeats
                peers.values[index].unwanted = peers.values[index].unwanted.filter { $0.value > heartbeats }
            }
        }
        freshCounts.append(0)
        if freshCounts.count > parameters.cacheWindows { freshCounts.removeFirst() }
        scores.advance(to: now)
        for peer in peers.keys.sorted() { condemnIfGraylisted(peer) }
        backoffs.expire(slack: parameters.backoffSlack, at: now)
        seen.expire(at: now)
        if !lateDeliverers.isEmpty {
            lateDeliverers = lateDeliverers.filter { entry in
                guard case .accepted(let moment)? = seen.status(of: entry.key) else { return false }
                return now - moment < parameters.heartbeatInterval
            }
        }
        // A verdict that never came: as if ignored.
        let late = pending.filter { now - $0.value.since >= parameters.seenLifetime }.keys.sorted()
        for id in late { _ = takePending(id) }
    }

    // MARK: Mesh

    private mutating func maintainMesh(_ topic: Topic, at now: Moment) {
        for peer in mesh[topic] ?? SortedPeers() where scores.score(of: peer) < 0 {
            prune(peer, topic, backoff: parameters.pruneBackoff, suggestsPeers: false, at: now)
        }
        let count = mesh[topic]?.count ?? 0
        if count < parameters.degreeLow {
            graftMore(topic, upTo: parameters.degree, at: now)
        } else if count > parameters.degreeHigh {
            cutMesh(topic, at: now)
        }
        graftOutbound(topic, at: now)
        if heartbeats % UInt64(max(1, parameters.opportunisticGraftHeartbeats)) == 0 {
            graftOpportunistically(topic, at: now)
        }
        gossip(topic, except: mesh[topic] ?? SortedPeers())
    }

    /// Cuts a mesh to D: the best by score, then random ones, outbound ones first until there are enough.
    private mutating func cutMesh(_ topic: Topic, at now: Moment) {
        guard let members = mesh[topic] else { return }
        var ranked = members.shuffled(using: &random).map { (peer: $0, score: scores.score(of: $0)) }
        ranked.sort { $0.score > $1.score }
        var kept = ranked.prefix(parameters.degreeScore).map(\.peer)
        var rest = ranked.dropFirst(parameters.degreeScore).map(\.peer)
        rest.shuffle(using: &random)
        var outboundMissing = parameters.degreeOutbound - kept.count(where: isOutbound)
        // Outbound peers that are needed move to the front; the order is random otherwise.
        var first: [PeerID] = []
        var others: [PeerID] = []
        for peer in rest {
            if outboundMissing > 0, isOutbound(peer) {
                first.append(peer)
                outboundMissing -= 1
            } else {
                others.append(peer)
            }
        }
        rest = first + others
        let room = max(0, parameters.degree - kept.count)
        kept += rest.prefix(room)
        for peer in rest.dropFirst(room) {
            prune(peer, topic, backoff: parameters.pruneBackoff, suggestsPeers: true, at: now)
        }
    }

    private func isOutbound(_ peer: PeerID) -> Bool { peers[peer]?.description.isOutbound ?? false }

    /// Adds outbound peers to a large enough mesh that has too few of them.
    private mutating func graftOutbound(_ topic: Topic, at now: Moment) {
        guard let members = mesh[topic], members.count >= parameters.degreeLow else { return }
        let missing = parameters.degreeOutbound - members.count(where: isOutbound)
        guard missing > 0 else { return }
        let candidates = graftCandidates(topic, at: now).filter { isOutbound($0) }
        for peer in candidates.prefix(missing) { graft(peer, topic, at: now) }
    }

    /// Adds better peers to a mesh that is poor by its median, so that it does not stay captured.
    private mutating func graftOpportunistically(_ topic: Topic, at now: Moment) {
        guard let members = mesh[topic], members.count > 1 else { return }
        let ranked = members.map { scores.score(of: $0) }.sorted()
        let median = ranked[ranked.count / 2]
        guard median < scores.parameters.opportunisticGraftThreshold else { return }
        let better = graftCandidates(topic, at: now).filter { scores.score(of: $0) > median }
        for peer in better.prefix(parameters.opportunisticGraftPeers) { graft(peer, topic, at: now) }
    }

    // MARK: Fanout and gossip

    private mutating func maintainFanout(_ topic: Topic, at now: Moment) {
        guard let entry = fanout[topic] else { return }
        guard now < entry.lastPublish + parameters.fanoutLifetime else {
            fanout[topic] = nil
            return
        }
        fillFanout(topic)
        gossip(topic, except: fanout[topic]?.peers ?? SortedPeers())
    }

    /// Tells random peers outside the mesh what came lately.
    private mutating func gossip(_ topic: Topic, except members: SortedPeers) {
        var ids = cache.ids(of: topic, windows: parameters.gossipWindows)
        guard !ids.isEmpty, let followers = topicPeers[topic] else { return }
        let threshold = scores.parameters.gossipThreshold
        let eligible = followers.filter {
            guard let state = peers[$0], state.isMeshCapable, !state.isDirect, !state.isCondemned else { return false }
            return !members.contains($0) && scores.score(of: $0) >= threshold
        }
        let count = max(parameters.degreeLazy, Int(parameters.gossipFactor * Double(eligible.count)))
        // Usually everyone is told the same, in the same bytes.
        let shared = pieces(of: ids.prefix(parameters.advertisedIDsMax)).map { PubsubRPC.Entry.have(topic, $0) }
        for peer in eligible.shuffled(using: &random).prefix(count) {
            guard let index = peers.index(forKey: peer) else { continue }
            let room = parameters.advertisedIDsMax - peers.values[index].counters.advertisedIDs
            guard room > 0 else { continue }
            var entries = shared
            if ids.count > room {
                // If not all fit, each peer gets others, so that together they hear of everything.
                ids.shuffle(using: &random)
                entries = pieces(of: ids.prefix(room)).map { PubsubRPC.Entry.have(topic, $0) }
            }
            peers.values[index].counters.advertisedIDs += min(ids.count, room)
            for entry in entries { enqueue(.control, entry, .advertisement, to: peer) }
        }
    }
}
