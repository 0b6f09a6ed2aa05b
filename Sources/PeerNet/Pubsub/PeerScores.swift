/// Scores of peers from what they did, section "Peer Scoring" of gossipsub v1.1. Kept for a time after a peer leaves, in
/// bounded number.
struct PeerScores: Sendable {
    /// What counts of one peer in one topic.
    struct TopicCounters: Hashable, Sendable {
        let topic: Topic
        /// Since when the peer is in our mesh.
        var graftedAt: Moment?
        var timeInMesh: Duration = .zero
        /// Whether the peer is long enough in the mesh for its deliveries to count.
        var isDeliveryDue = false
        var firstDeliveries = 0.0
        var meshDeliveries = 0.0
        var meshFailure = 0.0
        var invalid = 0.0

        var isClean: Bool {
            graftedAt == nil && firstDeliveries == 0 && meshDeliveries == 0 && meshFailure == 0 && invalid == 0
        }
    }

    struct Entry: Sendable {
        /// When a peer that left is forgotten; nil while connected.
        var expiry: Moment?
        /// In order of first use, not hashed: sums of floating-point numbers depend on their order.
        var topics: [TopicCounters] = []
        var behaviour = 0.0
        var application = 0.0
        /// Where the peer connects from; nil if that does not count.
        var group: String?
    }

    let parameters: ScoreParameters
    private(set) var entries: [PeerID: Entry] = [:]
    private var groupCounts: [String: Int] = [:]
    private var retainedCount = 0
    private var nextDecay: Moment?

    init(parameters: ScoreParameters) {
        parameters.check()
        self.parameters = parameters
    }

    /// Scores of peers that are not connected.
    var retained: Int { retainedCount }

    // MARK: Connections

    /// A peer came, or came back to the score that it left with.
    mutating func connected(_ peer: PeerID, group: String?) {
        var entry = entries[peer] ?? Entry()
        if entry.expiry != nil { retainedCount -= 1 }
        entry.expiry = nil
        entry.group = group.flatMap { isExempt($0) ? nil : $0 }
        if let group = entry.group { groupCounts[group, default: 0] += 1 }
        entries[peer] = entry
    }

    /// A peer left. A good score goes with it: kept, it would pay for what a later visit breaks.
    mutating func disconnected(_ peer: PeerID, at now: Moment) {
        guard let index = entries.index(forKey: peer), entries.values[index].expiry == nil else { return }
        let isGood = score(of: peer) > 0
        if let group = entries.values[index].group {
            let rest = groupCounts[group, default: 1] - 1
            groupCounts[group] = rest > 0 ? rest : nil
            entries.values[index].group = nil
        }
        guard !isGood else {
            entries[peer] = nil
            return
        }
        for position in entries.values[index].topics.indices {
            let weights = parameters.weights(of: entries.values[index].topics[position].topic)
            Self.leaveMesh(&entries.values[index].topics[position], weights)
            entries.values[index].topics[position].firstDeliveries = 0
        }
        entries.values[index].topics.removeAll { $0.isClean }
        if entries.values[index].topics.isEmpty, entries.values[index].behaviour == 0,
            entries.values[index].application == 0
        {
            entries[peer] = nil
            return
        }
        entries.values[index].expiry = now + parameters.retention
        retainedCount += 1
        if retainedCount > PubsubLimits.retainedScoresMax { dropLeastBad() }
    }

    /// Forgets one peer that left: the one whose score matters least, so that newcomers cannot wash the worst.
    private mutating func dropLeastBad() {
        var best: (score: Double, peer: PeerID)?
        for (peer, entry) in entries where entry.expiry != nil {
            let candidate = (score: score(of: peer), peer: peer)
            if let found = best, (found.score, found.peer) >= (candidate.score, candidate.peer) { continue }
            best = candidate
        }
        guard let best else { return }
        entries[best.peer] = nil
        retainedCount -= 1
    }

    /// Loopback is shared by all nodes of one machine and by every local test.
    private func isExempt(_ group: String) -> Bool {
        group.hasPrefix("127.") || group == "::1" || parameters.groupsExempt.contains(group)
    }

    // MARK: Events

    /// The peer entered our mesh.
    mutating func grafted(_ peer: PeerID, _ topic: Topic, at now: Moment) {
        change(peer, topic) { counters, _ in
            counters.graftedAt = now
            counters.timeInMesh = .zero
            counters.isDeliveryDue = false
        }
    }

    /// The peer left our mesh.
    mutating func pruned(_ peer: PeerID, _ topic: Topic) {
        let weights = parameters.weights(of: topic)
        change(peer, topic) { counters, _ in Self.leaveMesh(&counters, weights) }
    }

    /// The peer was the first to deliver a message that proved valid.
    mutating func deliveredFirst(_ peer: PeerID, _ topic: Topic) {
        change(peer, topic) { counters, weights in
            counters.firstDeliveries = min(counters.firstDeliveries + 1, weights.firstDeliveriesMax)
            guard counters.graftedAt != nil else { return }
            counters.meshDeliveries = min(counters.meshDeliveries + 1, weights.meshDeliveriesMax)
        }
    }

    /// The peer delivered a valid message soon after the first who did.
    mutating func deliveredAgain(_ peer: PeerID, _ topic: Topic) {
        change(peer, topic) { counters, weights in
            guard counters.graftedAt != nil else { return }
            counters.meshDeliveries = min(counters.meshDeliveries + 1, weights.meshDeliveriesMax)
        }
    }

    /// The peer delivered an invalid message.
    mutating func deliveredInvalid(_ peer: PeerID, _ topic: Topic) {
        change(peer, topic) { counters, _ in counters.invalid += 1 }
    }

    /// The peer did what no honest one does often.
    mutating func misbehaved(_ peer: PeerID, by penalty: Double) {
        guard let index = entries.index(forKey: peer) else { return }
        entries.values[index].behaviour += penalty
    }

    /// What the application thinks of a peer.
    mutating func setApplication(_ peer: PeerID, _ value: Double) {
        guard let index = entries.index(forKey: peer) else { return }
        entries.values[index].application = value.isFinite ? value : 0
    }

    private mutating func change(
        _ peer: PeerID, _ topic: Topic,
        by body: (inout TopicCounters, ScoreParameters.TopicWeights) -> Void
    ) {
        guard let index = entries.index(forKey: peer) else { return }
        let weights = parameters.weights(of: topic)
        if let position = entries.values[index].topics.firstIndex(where: { $0.topic == topic }) {
            body(&entries.values[index].topics[position], weights)
        } else {
            var counters = TopicCounters(topic: topic)
            body(&counters, weights)
            if !counters.isClean { entries.values[index].topics.append(counters) }
        }
    }

    private static func leaveMesh(_ counters: inout TopicCounters, _ weights: ScoreParameters.TopicWeights) {
        guard counters.graftedAt != nil else { return }
        if weights.meshFailureWeight < 0 {
            let deficit = Self.deficit(counters, weights)
            counters.meshFailure += deficit * deficit
        }
        counters.graftedAt = nil
        counters.timeInMesh = .zero
        counters.isDeliveryDue = false
    }

    // MARK: Scores

    /// The score of a peer; 0 for one that is unknown.
    func score(of peer: PeerID) -> Double {
        guard let entry = entries[peer] else { return 0 }
        var score = 0.0
        for counters in entry.topics {
            let weights = parameters.weights(of: counters.topic)
            var topic = 0.0
            if counters.graftedAt != nil {
                let quanta = counters.timeInMesh.inSeconds / weights.timeInMeshQuantum.inSeconds
                topic += min(quanta, weights.timeInMeshMax) * weights.timeInMeshWeight
            }
            topic += counters.firstDeliveries * weights.firstDeliveriesWeight
            let deficit = Self.deficit(counters, weights)
            topic += deficit * deficit * weights.meshDeliveriesWeight
            topic += counters.meshFailure * weights.meshFailureWeight
            topic += counters.invalid * counters.invalid * weights.invalidWeight
            score += topic * weights.weight
        }
        score = min(score, parameters.topicScoreMax)
        score += entry.application * parameters.applicationWeight
        if let group = entry.group {
            let surplus = Double(max(0, groupCounts[group, default: 0] - parameters.groupThreshold))
            score += surplus * surplus * parameters.groupWeight
        }
        let offences = max(0, entry.behaviour - parameters.behaviourThreshold)
        return score + offences * offences * parameters.behaviourWeight
    }

    private static func deficit(_ counters: TopicCounters, _ weights: ScoreParameters.TopicWeights) -> Double {
        counters.isDeliveryDue ? max(0, weights.meshDeliveriesThreshold - counters.meshDeliveries) : 0
    }

    // MARK: Time

    /// Lets counters decay once per interval, and forgets peers that left long ago.
    mutating func advance(to now: Moment) {
        guard let due = nextDecay else {
            nextDecay = now + parameters.decayInterval
            return
        }
        guard now >= due else { return }
        nextDecay = now + parameters.decayInterval
        var expired: [PeerID] = []
        var index = entries.startIndex
        while index != entries.endIndex {
            if let expiry = entries.values[index].expiry {
                // What was done before leaving does not fade while the peer is away.
                if now >= expiry { expired.append(entries.keys[index]) }
            } else {
                Self.decay(&entries.values[index], parameters, at: now)
            }
            entries.formIndex(after: &index)
        }
        for peer in expired { entries[peer] = nil }
        retainedCount -= expired.count
    }

    private static func decay(_ entry: inout Entry, _ parameters: ScoreParameters, at now: Moment) {
        let zero = parameters.decayToZero
        for position in entry.topics.indices {
            let weights = parameters.weights(of: entry.topics[position].topic)
            fade(&entry.topics[position].firstDeliveries, weights.firstDeliveriesDecay, zero)
            fade(&entry.topics[position].meshDeliveries, weights.meshDeliveriesDecay, zero)
            fade(&entry.topics[position].meshFailure, weights.meshFailureDecay, zero)
            fade(&entry.topics[position].invalid, weights.invalidDecay, zero)
            guard let graftedAt = entry.topics[position].graftedAt else { continue }
            entry.topics[position].timeInMesh = now - graftedAt
            if now - graftedAt > weights.meshDeliveriesActivation { entry.topics[position].isDeliveryDue = true }
        }
        entry.topics.removeAll { $0.isClean }
        fade(&entry.behaviour, parameters.behaviourDecay, zero)
    }

    private static func fade(_ counter: inout Double, _ factor: Double, _ zero: Double) {
        counter *= factor
        if counter < zero { counter = 0 }
    }
}
