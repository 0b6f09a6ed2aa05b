/// Until when a peer may not be grafted in a topic, whoever pruned whom.
struct Backoffs: Sendable {
    struct Entry: Hashable, Sendable {
        /// When it was set or last renewed.
        var start: Moment
        var end: Moment
    }

    private var entries: [Topic: [PeerID: Entry]] = [:]

    /// Backoffs of one topic.
    func count(in topic: Topic) -> Int { entries[topic]?.count ?? 0 }

    /// The backoff of a peer that has not ended.
    func active(_ peer: PeerID, _ topic: Topic, at now: Moment) -> Entry? {
        guard let entry = entries[topic]?[peer], now < entry.end else { return nil }
        return entry
    }

    /// Whether this node must still wait: the peer's clock started later than ours by what a message takes.
    func mustWait(_ peer: PeerID, _ topic: Topic, slack: Duration, at now: Moment) -> Bool {
        guard let entry = entries[topic]?[peer] else { return false }
        return now < entry.end + slack
    }

    /// Starts or renews a backoff; a longer one stays.
    mutating func set(_ peer: PeerID, _ topic: Topic, for duration: Duration, at now: Moment) {
        var end = now + duration
        if let old = entries[topic]?[peer] {
            end = max(end, old.end)
        } else if count(in: topic) >= PubsubLimits.backoffsPerTopicMax {
            dropFirstToEnd(in: topic)
        }
        entries[topic, default: [:]][peer] = Entry(start: now, end: end)
    }

    /// Forgets backoffs that ended at least `slack` ago.
    mutating func expire(slack: Duration, at now: Moment) {
        for topic in Array(entries.keys) {
            entries[topic] = entries[topic]?.filter { now < $0.value.end + slack }
            if entries[topic]?.isEmpty == true { entries[topic] = nil }
        }
    }

    private mutating func dropFirstToEnd(in topic: Topic) {
        let first = entries[topic]?.min { ($0.value.end, $0.key) < ($1.value.end, $1.key) }
        if let first { entries[topic]?[first.key] = nil }
    }
}
