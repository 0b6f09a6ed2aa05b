import Compression
import PeerNet

/// What a fetcher knows of one giver, over all blobs.
struct BlobGiver: Sendable {
    var meter = RateMeter()
    var requestCount = 0
    var byteCount = 0
    /// What it may be asked for at once, in bytes; grows while answers come soon, as a link's capacity is only seen by
    /// filling it.
    private(set) var window = Self.windowMin
    /// When it last showed life, while it is asked for something.
    var heardAt = Moment.zero
    /// Not asked for anything before.
    var pausedUntil = Moment.zero
    /// Failures since the last right answer.
    var strikes = 0
    /// After so many it is given up for the blobs at hand.
    static let strikesMax = 6

    mutating func begin(_ bytes: Int, at now: Moment) {
        if requestCount == 0 {
            heardAt = now
            meter.start(at: now)
        }
        requestCount += 1
        byteCount += bytes
    }

    mutating func end(_ bytes: Int) {
        requestCount -= 1
        byteCount -= bytes
    }

    /// Bytes have come. Those of a list say nothing of the rate: it is short, what it took was mostly latency.
    mutating func heard(_ bytes: Int, ofList isList: Bool, at now: Moment) {
        heardAt = max(heardAt, now)
        if !isList { meter.add(bytes, at: now) }
    }

    /// A right answer of so many bytes came `elapsed` after it was asked for; call before `end`.
    mutating func answered(_ bytes: Int, after elapsed: Duration, wanted: Duration, windowMax: Int) {
        if elapsed > wanted {
            // What it sends in that time, and not less for each late answer: all that were asked for at once are late.
            let sent = (meter.rate ?? 0) * wanted.inSeconds
            window = max(Self.windowMin, Int(min(sent, Double(window))))
        } else if byteCount + BlobTree.chunkByteCount > window {
            window = max(window, min(window + bytes, windowMax))
        }
    }

    /// Notes a failure and pauses the giver, the longer the more often it failed; what fails while it pauses fails of
    /// the same cause and does not count.
    mutating func strike(_ weight: Int, pause: Duration, at now: Moment) {
        guard pausedUntil <= now else { return }
        strikes += weight
        window = Self.windowMin
        pausedUntil = now + min(pause * (1 << min(strikes, 10)), .seconds(60))
    }

    /// How long it may be silent while it is asked for something: until it should have sent two chunks at its rate.
    var patience: Duration {
        let seconds = meter.rate.map { 3 + 2 * Self.chunkBytes / $0 } ?? 8 + Double(byteCount) / 262_144
        return .seconds(min(seconds, 30))
    }

    private static let chunkBytes = Double(BlobTree.chunkByteCount)
    /// One answer is on its way while the next one is asked for.
    private static let windowMin = 2 * BlobTree.chunkByteCount

    /// The end of its patience; nil if it is asked for nothing.
    var deadline: Moment? { requestCount > 0 ? heardAt + patience : nil }
}

/// Bytes per second over the last seconds in which bytes were expected.
struct RateMeter: Sendable {
    private var bytes = 0.0
    private var seconds = 0.0
    private var markedAt = Moment.zero
    /// What happened this many seconds ago counts half or less.
    private static let memory = 3.0

    /// Expects bytes from now on.
    mutating func start(at now: Moment) { markedAt = now }

    mutating func add(_ count: Int, at now: Moment) {
        let elapsed = max(0, (now - markedAt).inSeconds)
        markedAt = max(markedAt, now)
        let kept = Self.memory / (Self.memory + elapsed)
        bytes = bytes * kept + Double(count)
        seconds = seconds * kept + elapsed
    }

    /// nil before anything was measured.
    var rate: Double? { seconds > 0.000_1 && bytes > 0 ? bytes / seconds : nil }
}
