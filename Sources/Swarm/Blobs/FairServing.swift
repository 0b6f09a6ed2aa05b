package import PeerNet

/// Decides who may send how much of what this node serves, without I/O: caps for all and for each taker, and an equal
/// share for those who want more than there is, however many requests each has open.
///
/// A response asks to begin, then asks before every piece, and says when it is over. Few run at once, so that memory is
/// bounded; the others of a taker wait in order.
package struct FairServing: Sendable {
    /// Names a response.
    package typealias Ticket = UInt64

    /// What is allowed; nil: as much as the links carry. Rates below 8,000 bytes per second count as that.
    package struct Caps: Hashable, Sendable {
        /// Bytes per second to all takers.
        package var bytesPerSecond: Double?
        /// Bytes per second to one taker.
        package var bytesPerSecondEach: Double?
        /// Responses under way at once, each with at most some hundred KiB in memory.
        package var responsesMax = 64
        /// Responses to one taker under way at once.
        package var responsesEachMax = 4

        /// Wraps the rates.
        package init(bytesPerSecond: Double? = nil, bytesPerSecondEach: Double? = nil) {
            self.bytesPerSecond = bytesPerSecond
            self.bytesPerSecondEach = bytesPerSecondEach
        }

        /// A good size for pieces: 20 ms of the rate, within reason.
        package var pieceByteCount: Int {
            let rate = min(bytesPerSecond ?? .infinity, bytesPerSecondEach ?? .infinity)
            return rate < 6_400_000 ? max(4_096, Int(rate * 0.02)) : 128 << 10
        }
    }

    private struct Taker {
        var bucket: TokenBucket?
        /// Responses that have not begun, in order.
        var waiting: [Ticket] = []
        var running = 0
        var asking = 0
        /// Bytes served, raised to the others' level when it comes back from a pause: the least is next.
        var served = 0.0
        var isIdle: Bool { waiting.isEmpty && running == 0 }
    }

    private let caps: Caps
    private var bucket: TokenBucket?
    private var now: Moment
    /// Whose response it is, for all.
    private var owners: [Ticket: PeerID] = [:]
    private var running: Set<Ticket> = []
    /// Running responses that wait to send so many bytes.
    private var asking: [Ticket: (byteCount: Int, since: UInt64)] = [:]
    private var takers: [PeerID: Taker] = [:]
    private var nextTicket: Ticket = 0
    private var arrivals: UInt64 = 0
    private var level = 0.0
    private var granted: [Ticket] = []

    /// Nobody is served yet.
    package init(_ caps: Caps, at now: Moment) {
        self.caps = caps
        self.now = now
        bucket = .empty(caps.bytesPerSecond, at: now)
    }

    /// Responses that may now begin or send their piece; each is given once.
    package mutating func takeGranted() -> [Ticket] {
        defer { granted.removeAll(keepingCapacity: true) }
        return granted
    }

    /// A response to `peer` wants to begin.
    package mutating func begin(_ peer: PeerID, at now: Moment) -> Ticket {
        nextTicket += 1
        owners[nextTicket] = peer
        takers[peer, default: Taker(bucket: .empty(caps.bytesPerSecondEach, at: now))].waiting.append(nextTicket)
        advance(to: now)
        return nextTicket
    }

    /// A response that runs wants to send a piece.
    package mutating func ask(_ ticket: Ticket, byteCount: Int, at now: Moment) {
        guard running.contains(ticket), asking[ticket] == nil, let peer = owners[ticket], var taker = takers[peer]
        else { return }
        arrivals += 1
        if taker.asking == 0 { taker.served = max(taker.served, level) }
        taker.asking += 1
        takers[peer] = taker
        asking[ticket] = (byteCount, arrivals)
        advance(to: now)
    }

    /// A response is over, whatever it was doing.
    package mutating func end(_ ticket: Ticket, at now: Moment) {
        guard let peer = owners.removeValue(forKey: ticket) else { return }
        if running.remove(ticket) != nil {
            takers[peer]?.running -= 1
            if asking.removeValue(forKey: ticket) != nil { takers[peer]?.asking -= 1 }
        } else {
            takers[peer]?.waiting.removeAll { $0 == ticket }
        }
        advance(to: now)
    }

    /// Grants what may be granted by now.
    package mutating func advance(to now: Moment) {
        self.now = max(self.now, now)
        _ = bucket?.level(at: now)
        for (peer, taker) in takers {
            let isFull = takers[peer]?.bucket?.isFull(at: now) ?? true
            // A taker without requests is remembered only as long as it has something to pay off.
            if taker.isIdle, isFull { takers[peer] = nil }
        }
        while running.count < caps.responsesMax, let peer = nextToBegin() { start(peer) }
        while wait(of: bucket) == .zero, let ticket = nextToSend() { send(ticket) }
    }

    /// When `advance` may grant more, if nothing happens before.
    package var nextDeadline: Moment? {
        asking.keys.compactMap { owners[$0].flatMap { takers[$0] }.map { wait(of: $0.bucket) } }.min().map {
            now + max($0, wait(of: bucket))
        }
    }

    /// How long until a piece may go. A piece is never split: it may bring the bucket into debt.
    private func wait(of bucket: TokenBucket?) -> Duration {
        let wait = bucket?.wait(at: now) ?? .zero
        // No clock is finer, and a wait that is rounded down would be found a little too short.
        return wait > .zero ? wait + .microseconds(1) : .zero
    }

    private mutating func start(_ peer: PeerID) {
        guard let ticket = takers[peer]?.waiting.removeFirst() else { return }
        takers[peer]?.running += 1
        running.insert(ticket)
        granted.append(ticket)
    }

    private mutating func send(_ ticket: Ticket) {
        guard let byteCount = asking.removeValue(forKey: ticket)?.byteCount, let peer = owners[ticket],
            var taker = takers[peer]
        else { return }
        bucket?.take(byteCount)
        taker.bucket?.take(byteCount)
        level = max(level, taker.served)
        taker.served += Double(byteCount)
        taker.asking -= 1
        takers[peer] = taker
        granted.append(ticket)
    }

    /// Of those that wait to begin, the taker with the fewest under way, then the one that got the least.
    private func nextToBegin() -> PeerID? {
        var best: (peer: PeerID, taker: Taker)?
        for (peer, taker) in takers where !taker.waiting.isEmpty && taker.running < caps.responsesEachMax {
            if best.map({ (taker.running, taker.served, peer) < ($0.taker.running, $0.taker.served, $0.peer) }) ?? true
            {
                best = (peer, taker)
            }
        }
        return best?.peer
    }

    /// Of those that want to send, the first of the taker that got the least.
    private func nextToSend() -> Ticket? {
        var best: (ticket: Ticket, served: Double, since: UInt64)?
        for (ticket, request) in asking {
            guard let peer = owners[ticket], let taker = takers[peer], wait(of: taker.bucket) == .zero else { continue }
            if best.map({ (taker.served, request.since) < ($0.served, $0.since) }) ?? true {
                best = (ticket, taker.served, request.since)
            }
        }
        return best?.ticket
    }
}

extension TokenBucket {
    /// A tenth of a second of the rate, so that a late wake-up costs no rate. Empty at first: whoever comes back as a
    /// stranger has earned nothing.
    fileprivate static func empty(_ bytesPerSecond: Double?, at now: Moment) -> TokenBucket? {
        guard let bytesPerSecond else { return nil }
        let rate = Int(min(bytesPerSecond, Double(Self.bytesPerSecondMax)))
        var bucket = TokenBucket(bytesPerSecond: rate, burst: .milliseconds(100), at: now)
        bucket.take(bucket.burstBytes)
        return bucket
    }

    /// Whether nothing is owed and nothing more can be saved.
    fileprivate mutating func isFull(at now: Moment) -> Bool { level(at: now) >= burstBytes }
}
