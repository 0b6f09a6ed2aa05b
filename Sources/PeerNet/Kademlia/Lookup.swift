/// One iterative search for the peers closest to a key: whom to ask next, and when it is over.
///
/// It follows libp2p/specs `kad-dht`, "Peer routing": ask the closest peers not yet asked, a bounded number at once,
/// until the k closest ones have all answered. What is told counts for nothing until the told peer itself answers.
/// One departure: peers told by a single source that has not yet told of any peer that answers are asked a few at a
/// time, and last once those few have failed, so that inventing peers gains a liar little of the asker's time.
struct Lookup: Sendable {
    /// How far a candidate is.
    enum Standing: Hashable, Sendable {
        case waiting, asked, answered, failed
        /// Told by a source alone whose other peers failed; asked only if the rest does not suffice.
        case doubted
    }

    struct Candidate: Hashable, Sendable {
        /// With every address that was told and has not failed.
        var contact: PeerContact
        let distance: KademliaKey
        /// Who told of it, if it was one peer alone.
        var source: PeerID?
        var standing: Standing
        /// Addresses at which it was sought; a liar may have told wrong ones.
        var tried: [Multiaddr] = []
        var attempts = 0

        var untried: [Multiaddr] { contact.addresses.filter { !tried.contains($0) } }
    }

    let target: KademliaKey
    private let concurrency: Int
    private let size: Int
    /// Ascending by distance.
    private(set) var candidates: [Candidate] = []
    private(set) var requestCount = 0
    private var inFlight = 0
    /// For each source, how many of the peers that it alone told failed and answered, and how many are being asked.
    private var reputations: [PeerID: Reputation] = [:]

    private struct Reputation {
        var failed = 0
        var answered = 0
        var asked = 0
    }

    /// Starts from peers that this node knows itself.
    init(
        target: KademliaKey, from contacts: [PeerContact], concurrency: Int = KademliaLimits.concurrency,
        size: Int = KademliaLimits.bucketSize
    ) {
        self.target = target
        self.concurrency = concurrency
        self.size = size
        for contact in contacts { _ = add(contact, source: nil) }
    }

    /// Whether nothing more will come of it.
    var isFinished: Bool {
        if requestCount >= KademliaLimits.requestsPerLookupMax { return inFlight == 0 }
        var answered = 0
        for candidate in candidates {
            switch candidate.standing {
            case .waiting, .asked: return false
            case .answered: answered += 1
            case .failed, .doubted: continue
            }
            if answered == size { return true }
        }
        return !candidates.contains { $0.standing == .doubted }
    }

    /// The closest peers that answered, the closest first.
    var closest: [PeerContact] {
        candidates.lazy.filter { $0.standing == .answered }.prefix(size).map(\.contact)
    }

    /// What is known of a peer.
    subscript(peer: PeerID) -> Candidate? {
        let index = position(of: KademliaKey(peer).distance(to: target))
        return index < candidates.count && candidates[index].contact.peer == peer ? candidates[index] : nil
    }

    /// Peers to ask now; each must be followed by `answered` or `failed`.
    mutating func next() -> [PeerContact] {
        var chosen = choose()
        // The doubted ones' turn comes when nobody else is left and fewer than k answered.
        if chosen.isEmpty, inFlight == 0, !isFinished {
            for index in candidates.indices where candidates[index].standing == .doubted {
                candidates[index].standing = .waiting
                candidates[index].source = nil
            }
            chosen = choose()
        }
        return chosen
    }

    private mutating func choose() -> [PeerContact] {
        var chosen: [PeerContact] = []
        var live = 0
        for index in candidates.indices {
            guard inFlight < concurrency, live < size, requestCount < KademliaLimits.requestsPerLookupMax else { break }
            switch candidates[index].standing {
            case .failed, .doubted: continue
            case .asked, .answered: live += 1
            case .waiting:
                live += 1
                if let source = candidates[index].source {
                    let reputation = reputations[source, default: Reputation()]
                    guard reputation.answered > 0 || reputation.asked < KademliaLimits.unprovenMax else { continue }
                    reputations[source, default: Reputation()].asked += 1
                }
                candidates[index].standing = .asked
                candidates[index].tried = candidates[index].contact.addresses
                candidates[index].attempts += 1
                inFlight += 1
                requestCount += 1
                chosen.append(candidates[index].contact)
            }
        }
        return chosen
    }

    /// Takes a peer's answer; true if it told of a peer that was new here.
    mutating func answered(_ peer: PeerID, closer: [PeerContact]) -> Bool {
        guard settle(peer, as: .answered) else { return false }
        var isUseful = false
        for contact in closer where add(contact, source: peer) { isUseful = true }
        return isUseful
    }

    /// Notes that a peer did not answer.
    mutating func failed(_ peer: PeerID) { _ = settle(peer, as: .failed) }

    private mutating func settle(_ peer: PeerID, as standing: Standing) -> Bool {
        let index = position(of: KademliaKey(peer).distance(to: target))
        guard index < candidates.count, candidates[index].contact.peer == peer, candidates[index].standing == .asked
        else { return false }
        candidates[index].standing = standing
        inFlight -= 1
        let source = candidates[index].source
        if standing == .failed { retry(index) }
        guard let source else { return true }
        var reputation = reputations[source, default: Reputation()]
        reputation.asked -= 1
        if standing == .answered { reputation.answered += 1 } else { reputation.failed += 1 }
        reputations[source] = reputation
        if reputation.answered == 0, reputation.failed >= KademliaLimits.unprovenMax {
            for other in candidates.indices
            where candidates[other].standing == .waiting && candidates[other].source == source {
                candidates[other].standing = .doubted
            }
        }
        return true
    }

    /// Adds a peer; false if it was known. A second source makes a waiting or doubted one as good as any.
    private mutating func add(_ contact: PeerContact, source: PeerID?) -> Bool {
        let distance = KademliaKey(contact.peer).distance(to: target)
        let index = position(of: distance)
        if index < candidates.count, candidates[index].distance == distance {
            guard candidates[index].source != source else { return false }
            candidates[index].contact.addAddresses(contact.addresses)
            switch candidates[index].standing {
            case .waiting, .doubted:
                candidates[index].standing = .waiting
                candidates[index].source = nil
            case .failed: retry(index)
            case .asked, .answered: break
            }
            return false
        }
        if candidates.count >= KademliaLimits.candidatesMax {
            guard let last = candidates.last, distance < last.distance, last.standing != .asked else { return false }
            candidates.removeLast()
        }
        var isDoubted = false
        if let source, let reputation = reputations[source] {
            isDoubted = reputation.answered == 0 && reputation.failed >= KademliaLimits.unprovenMax
        }
        candidates.insert(
            Candidate(contact: contact, distance: distance, source: source, standing: isDoubted ? .doubted : .waiting),
            at: index)
        return true
    }

    /// Lets a peer that failed wait again if others told further addresses of it; its first source has no part in that.
    private mutating func retry(_ index: Int) {
        let untried = candidates[index].untried
        guard !untried.isEmpty, candidates[index].attempts < KademliaLimits.attemptsPerPeerMax else { return }
        candidates[index].contact.addresses = untried
        candidates[index].standing = .waiting
        candidates[index].source = nil
    }

    /// Where a distance stands or would stand.
    private func position(of distance: KademliaKey) -> Int {
        var low = 0
        var high = candidates.count
        while low < high {
            let middle = (low + high) / 2
            if candidates[middle].distance < distance { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
