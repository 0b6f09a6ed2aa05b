extension Kademlia {
    /// Looks after the table and the stores, once a minute.
    mutating func tick(at now: Moment) {
        nextTick = now + jittered(KademliaLimits.tickInterval)
        providers.expire(at: now)
        values.expire(at: now)
        let due = table.due(notSince: now + (.zero - KademliaLimits.checkAfter))
        for entry in due { check(PeerContact(peer: entry.peer, addresses: entry.addresses), at: now) }
        // One that answered lately is asked too: if it is silent as well, the fault is this node's, and nobody goes.
        if !due.isEmpty, let control = table.entries.max(by: { ($0.answeredAt, $0.key) < ($1.answeredAt, $1.key) }) {
            check(PeerContact(peer: control.peer, addresses: control.addresses), at: now)
        }
        for peer in acquaintances.keys.sorted() where table[peer] == nil { consider(peer, at: now) }
        republish(at: now)
    }

    /// Fills the table: looks this node up, then a random key of each bucket through which no look-up went lately
    /// (Kademlia, section 2.3), one after the other.
    mutating func refresh(at now: Moment) {
        guard refreshLookup == nil else {
            nextRefresh = now + jittered(KademliaLimits.refreshInterval)
            return
        }
        nextRefresh = nil
        // Set before the start, which may end at once.
        refreshLookup = LookupID(number: lookupCount + 1)
        if start(.bootstrap, key: configuration.peer.bytes, isCommand: false, at: now) == nil {
            refreshLookup = nil
            scheduleRefresh(at: now)
        }
    }

    /// Goes on after the look-up of this node or of one bucket. A command to bootstrap counts as the former if no
    /// refresh is under way.
    mutating func refreshStepEnded(_ id: LookupID, _ operation: Operation, at now: Moment) {
        guard refreshLookup == nil || refreshLookup == id else { return }
        refreshLookup = nil
        if operation.purpose == .bootstrap {
            // In a network of fewer than k peers the first look-up has met everybody.
            let isSmall = max(table.count, operation.lookup.closest.count) < KademliaLimits.bucketSize
            let since = now + (.zero - KademliaLimits.refreshInterval)
            bucketsToRefresh = isSmall ? [] : table.stale(notSince: since)
        }
        while let bucket = bucketsToRefresh.popLast() {
            guard let key = table.randomKey(inBucket: bucket, using: &random) else { continue }
            // Set before the start: a look-up that ends at once goes on from here by itself.
            refreshLookup = LookupID(number: lookupCount + 1)
            if start(.refresh, key: key, isCommand: false, at: now) != nil { return }
            refreshLookup = nil
        }
        scheduleRefresh(at: now)
    }

    private mutating func scheduleRefresh(at now: Moment) {
        let wait = table.isEmpty ? KademliaLimits.refreshIntervalWhenEmpty : KademliaLimits.refreshInterval
        nextRefresh = now + jittered(wait)
    }

    /// Up to a tenth more or less, so that nodes started together do not stay in step.
    mutating func jittered(_ duration: Duration) -> Duration {
        random.duration(in: (duration - duration / 10)...(duration + duration / 10))
    }
}
