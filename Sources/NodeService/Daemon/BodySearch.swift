import PeerNet

/// Gets the body of one announced message: from the peer that passed the announcement on, and, where that one has not
/// answered within a moment, from others.
///
/// The announcement bears its author's good signature, so nobody can tell from it whether the peer that passed it on will
/// give the body. Were that peer the only one to be asked, a fast forwarder that answers nothing could keep every long
/// message from a node.
struct BodySearch: Sendable {
    /// What a peer said to the question for the body.
    enum Answer: Hashable, Sendable {
        /// The right one.
        case body([UInt8])
        /// Nothing, something else, or silence for as long as a request may last.
        case nothing
        /// It was not asked, or its connection ended.
        case unreachable
    }

    private enum Event: Sendable {
        case announcerAnswered(Answer)
        case otherAnswered(Answer)
        case waited
    }

    /// Others that are asked.
    static let othersMax = 8
    /// How often they are asked: they get the message at about the same time.
    static let sweepsMax = 3

    /// Asks a peer; returns when it has answered or will not.
    let ask: @Sendable (PeerID) async -> Answer
    /// Returns when one more peer should be asked, although the one before has not answered: a body is small.
    let wait: @Sendable () async -> Void

    /// Calls `found` once, as soon as the body is there (nil: nobody gave it), and goes on until the announcer has
    /// answered. Gives whether it kept its word; nil: it could not be asked.
    func run(
        _ announcer: PeerID, others: [PeerID], found: @Sendable ([UInt8]?) async -> Void
    ) async -> Bool? {
        let others = others.filter { $0 != announcer }.prefix(Self.othersMax)
        return await withTaskGroup(of: Event.self) { group in
            var queue = others
            var sweeps = 1
            var askedCount = 0
            var verdict: Answer?
            var isFound = false
            func askNext() {
                guard let peer = queue.popFirst() else { return }
                askedCount += 1
                group.addTask { .otherAnswered(await ask(peer)) }
            }
            group.addTask { .announcerAnswered(await ask(announcer)) }
            if !others.isEmpty {
                group.addTask {
                    await wait(); return .waited
                }
            }
            for await event in group {
                var answer = Answer.unreachable
                switch event {
                case .announcerAnswered(let its): (answer, verdict) = (its, its)
                case .otherAnswered(let its):
                    answer = its
                    askedCount -= 1
                case .waited where !isFound:
                    if queue.isEmpty, askedCount == 0, sweeps < Self.sweepsMax {
                        queue = others
                        sweeps += 1
                    }
                    askNext()
                    if !queue.isEmpty || sweeps < Self.sweepsMax {
                        group.addTask {
                            await wait(); return .waited
                        }
                    }
                    continue
                case .waited: continue
                }
                if case .body(let body) = answer, !isFound {
                    isFound = true
                    await found(body)
                } else if !isFound {
                    askNext()
                }
                let isHopeless = queue.isEmpty && askedCount == 0 && (sweeps == Self.sweepsMax || others.isEmpty)
                if verdict != nil, isFound || isHopeless { break }
            }
            if !isFound { await found(nil) }
            group.cancelAll()
            switch verdict {
            case .body?: return true
            case .nothing?: return false
            case .unreachable?, nil: return nil
            }
        }
    }
}

/// What the announcers of bodies are worth: whoever again and again passes announcements on and has no body is of no use
/// in a mesh, and may mean to be of none.
struct BodyFaults: Sendable {
    /// Peers remembered; the longest unheard of goes first.
    static let peersMax = 256
    /// After so long without another fault all are forgotten.
    static let memory: Duration = .seconds(600)

    private var faults: [PeerID: (count: Int, at: Moment)] = [:]

    /// Notes whether a peer had the body; gives the peers whose score for it changes. The first fault may be an accident,
    /// and one body that is there pays for all before. The second takes the peer out of the mesh, the sixth ends the
    /// connection.
    mutating func note(_ peer: PeerID, keptWord: Bool, at now: Moment) -> [PeerID: Double] {
        var changes: [PeerID: Double] = [:]
        for (other, fault) in faults where now - fault.at >= Self.memory {
            faults[other] = nil
            changes[other] = 0
        }
        guard !keptWord else {
            if faults.removeValue(forKey: peer) != nil { changes[peer] = 0 }
            return changes
        }
        let count = (faults[peer]?.count ?? 0) + 1
        if faults[peer] == nil, faults.count >= Self.peersMax,
            let oldest = faults.min(by: { ($0.value.at, $0.key) < ($1.value.at, $1.key) })
        {
            faults[oldest.key] = nil
            changes[oldest.key] = 0
        }
        faults[peer] = (count, now)
        changes[peer] = -20 * Double(count - 1)
        return changes
    }
}
