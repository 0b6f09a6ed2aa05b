/// Messages that peers advertised and this node asked for: one id of each IWANT, to find out who advertises nothing.
struct Promises: Sendable {
    private var deadlines: [MessageID: [PeerID: Moment]] = [:]
    /// Promises outstanding.
    private(set) var count = 0

    /// Remembers that `peer` owes a message.
    mutating func add(_ id: MessageID, by peer: PeerID, until deadline: Moment) {
        guard count < PubsubLimits.promisesMax, deadlines[id]?[peer] == nil else { return }
        deadlines[id, default: [:]][peer] = deadline
        count += 1
    }

    /// The message came, from whomever: nobody owes it any more.
    mutating func fulfil(_ id: MessageID) {
        if let owing = deadlines.removeValue(forKey: id) { count -= owing.count }
    }

    /// The message came from `peer`, but could not be taken.
    mutating func fulfil(_ id: MessageID, by peer: PeerID) {
        guard deadlines[id]?.removeValue(forKey: peer) != nil else { return }
        count -= 1
        if deadlines[id]?.isEmpty == true { deadlines[id] = nil }
    }

    /// Takes out promises whose time is over and gives who broke how many, in order of peers.
    mutating func takeBroken(at now: Moment) -> [(peer: PeerID, count: Int)] {
        var broken: [PeerID: Int] = [:]
        for (id, owing) in deadlines {
            let late = owing.filter { now >= $0.value }
            guard !late.isEmpty else { continue }
            for peer in late.keys { broken[peer, default: 0] += 1 }
            count -= late.count
            let rest = owing.filter { now < $0.value }
            deadlines[id] = rest.isEmpty ? nil : rest
        }
        return broken.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }
}
