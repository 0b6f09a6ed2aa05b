package import PeerNet

/// Decides who may send how much of what this node serves, without I/O: caps for all and for each taker, and an equal
/// share for those who want more than there is, however many requests each has open.
///
/// A response asks to begin, then asks before every piece, and says when it is over. Few run at once, so that memory is
/// bounded; the others of a taker wait in order.
package struct FairServing: Sendable {
    /// Names a response.
    package typealias Ticket = UInt64

    /// What is allowed; nil: as much as the links carry.
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
        var bucket: RateBucket
        /// Responses that have not begun, in order.
        var waiting: [Ticket] = []
        var running = 0
        var asking = 0
        /// Bytes served, raised to the others' level when it comes back from a pause: the least is next.
        var served = 0.0
        var isIdle: Bool { waiting.isEmpty && running == 0 }
    }

    private let caps: Caps
    private var bucket: RateBucket
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
        bucket = RateBucket(caps.bytesPerSecond, at: now)
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
        takers[peer, default: Taker(bucket: RateBucket(caps.bytesPerSecondEach, at: now))].waiting.append(nextTicket)
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
        bucket.refill(at: now)
        for (peer, taker) in takers {
            takers[peer]?.bucket.refill(at: now)
            // A taker without requests is remembered only as long as it has something to pay off.
            if taker.isIdle, takers[peer]?.bucket.isFull == true { takers[peer] = nil }
        }
        while running.count < caps.responsesMax, let peer = nextToBegin() { start(peer) }
        while bucket.isOpen, let ticket = nextToSend() { send(ticket) }
    }

    /// When `advance` may grant more, if nothing happens before.
    package var nextDeadline: Moment? {
        asking.keys.compactMap { owners[$0].flatMap { takers[$0]?.bucket.opensAt } }.min().map {
            max($0, bucket.opensAt)
        }
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
        bucket.take(byteCount)
        taker.bucket.take(byteCount)
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
            guard let peer = owners[ticket], let taker = takers[peer], taker.bucket.isOpen else { continue }
            if best.map({ (taker.served, request.since) < ($0.served, $0.since) }) ?? true {
                best = (ticket, taker.served, request.since)
            }
        }
        return best?.ticket
    }
}

/// A token bucket that may go into debt by one piece, so that pieces are never split. It holds a tenth of a second of
/// its rate, so that a late wake-up costs no rate.
struct RateBucket: Sendable {
    private let rate: Double?
    private var tokens: Double
    private var filledAt: Moment

    private static let seconds = 0.1

    init(_ rate: Double?, at now: Moment) {
        self.rate = rate
        filledAt = now
        tokens = 0
    }

    /// Whether a piece may go.
    var isOpen: Bool { rate == nil || tokens >= 0 }
    /// Whether nothing is owed and nothing more can be saved.
    var isFull: Bool { rate.map { tokens >= $0 * Self.seconds } ?? true }
    /// When a piece may go.
    var opensAt: Moment {
        guard let rate, tokens < 0 else { return filledAt }
        return filledAt + .seconds(-tokens / rate) + .microseconds(1)
    }

    mutating func refill(at now: Moment) {
        guard let rate, now > filledAt else { return }
        tokens = min(rate * Self.seconds, tokens + rate * (now - filledAt).inSeconds)
        filledAt = now
    }

    mutating func take(_ count: Int) {
        if rate != nil { tokens -= Double(count) }
    }
}
