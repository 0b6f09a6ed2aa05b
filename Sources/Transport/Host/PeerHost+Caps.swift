import PeerNet

/// The user's caps over all connections of a host, and who waits for them.
struct TrafficCaps {
    /// Paid when bytes are handed to a socket.
    var upload: TokenBucket?
    /// Paid once for every byte read: for responses when the peer is allowed to send it, for all else when it is read.
    var download: TokenBucket?
    /// Fires when the cap that somebody waits for is paid up.
    var timer: TimerHandle?
    /// Links that wait to write, in order.
    var pacedLinks: [Link] = []
    /// Responses whose peer gets credit for so many bytes later, in order.
    var withheld: [(call: RequestCall, count: Int)] = []
    /// Bytes that running responses get before another request starts: as many as the last ones to start took.
    private var owedToResponses = 0
    /// Which of the peers with waiting requests is the first to start one.
    var turn = 0
    /// Links that are not read for now.
    var pausedLinks: [Link] = []

    /// Time of rate that an idle host saves up: what it may add to the queue of the router behind it.
    private static let burst: Duration = .milliseconds(50)
    /// Time of rate that one write, or one return of credit, takes.
    private static let chunkTime = 0.010
    private static let chunkBytesRange = 2 << 10...128 << 10
    /// A response that is no longer than this is not held back: somebody waits for it.
    static let smallResponseBytes = 16 << 10

    init(_ configuration: PeerHostConfiguration, at now: Moment) {
        upload = configuration.uploadBytesPerSecond.map { TokenBucket(bytesPerSecond: $0, burst: Self.burst, at: now) }
        download = configuration.downloadBytesPerSecond.map {
            TokenBucket(bytesPerSecond: $0, burst: Self.burst, at: now)
        }
    }

    /// Whether there is any cap.
    var isActive: Bool { upload != nil || download != nil }

    /// Bytes of one write under the upload cap.
    var uploadChunkBytes: Int { Self.chunkBytes(of: upload) }
    private var creditChunkBytes: Int { Self.chunkBytes(of: download) }

    /// The debt that control traffic may make before it waits too.
    var uploadDebtMax: Int { upload.map { max($0.bytesPerSecond / 4, 32 << 10) } ?? 0 }
    /// The debt at which sockets are no longer read, whatever they bring.
    var downloadDebtMax: Int { download.map { max($0.bytesPerSecond / 2, 256 << 10) } ?? 0 }

    /// First receive window of a response: what the cap lets through in two round trips. More would come in bursts.
    func responseWindowBytesMax(roundTrip: Duration?) -> Int {
        guard let download else { return .max }
        let bytes = Double(download.bytesPerSecond) * 2 * min(roundTrip ?? .milliseconds(125), .seconds(1)).inSeconds
        return max(YamuxLimits.initialWindowBytes, Int(bytes))
    }

    /// Bound for the unsent bytes of a socket under the upload cap: a system that paces by what it has seen keeps the
    /// socket as full as it may be.
    var unsentBytesMax: Int { upload == nil ? .max : max(uploadChunkBytes, 4 << 10) }

    private static func chunkBytes(of bucket: TokenBucket?) -> Int {
        guard let bucket else { return chunkBytesRange.upperBound }
        let bytes = Int(Double(bucket.bytesPerSecond) * chunkTime)
        return min(max(bytes, chunkBytesRange.lowerBound), chunkBytesRange.upperBound)
    }

    // MARK: Paying for responses

    /// Whether a request may start: new ones and running ones take turns, by bytes.
    mutating func mayStart(_ call: RequestCall, at now: Moment) -> Bool {
        guard let level = download?.level(at: now), call.responseBytesMax > Self.smallResponseBytes else { return true }
        return level >= 0 && (owedToResponses <= 0 || withheld.isEmpty)
    }

    /// A request starts: pays for what its peer may send unasked.
    mutating func prepay(_ call: RequestCall, windowBytes: Int) {
        guard download != nil, call.responseBytesMax > Self.smallResponseBytes else { return }
        let count = min(call.responseBytesMax, max(windowBytes, YamuxLimits.initialWindowBytes))
        pay(count, for: call)
        owedToResponses = max(0, owedToResponses) + count
    }

    private mutating func pay(_ count: Int, for call: RequestCall) {
        call.prepaidBytes += count
        download?.take(count)
    }

    /// Bytes of a response were read: gives back what was paid for them before, and keeps their credit for later.
    /// False without a cap: the credit is due at once.
    mutating func withholds(_ count: Int, of call: RequestCall) -> Bool {
        guard download != nil else { return false }
        let prepaid = min(call.prepaidBytes, count)
        call.prepaidBytes -= prepaid
        download?.take(-prepaid)
        if let last = withheld.indices.last, withheld[last].call === call {
            withheld[last].count += count
        } else {
            withheld.append((call, count))
        }
        return true
    }

    /// A request ended: gives back what was paid and not used.
    mutating func settle(_ call: RequestCall) {
        guard download != nil else { return }
        download?.take(-call.prepaidBytes)
        call.prepaidBytes = 0
        withheld.removeAll { $0.call === call }
    }

    /// Takes the next piece of credit that is due at `now`, paid for; nil if the cap must recover or none waits.
    mutating func nextCredit(at now: Moment) -> (call: RequestCall, count: Int)? {
        guard !withheld.isEmpty, let level = download?.level(at: now), level >= 0 else { return nil }
        let (call, whole) = withheld.removeFirst()
        let count = min(whole, creditChunkBytes)
        owedToResponses -= count
        if count < whole { withheld.append((call, whole - count)) }
        // Credit beyond the response's end is never used.
        pay(min(count, max(0, call.responseBytesMax - call.receivedBytes - call.prepaidBytes)), for: call)
        return (call, count)
    }
}

/// Keeping to the download cap, and the timer of both caps.
extension PeerHost {
    /// Bytes were read: they are paid for, by a debt if need be; deep in debt the socket waits.
    func chargeDownload(_ count: Int, on link: Link) {
        guard caps.download != nil else { return }
        caps.download?.take(count)
        let now = Loop.now
        if let level = caps.download?.level(at: now), level < -caps.downloadDebtMax, !link.isReadingPaused {
            link.isReadingPaused = true
            link.handle.stopReading()
            caps.pausedLinks.append(link)
            setPacing(at: now)
        }
    }

    /// Does what waited for a cap.
    func servePaced() {
        let now = Loop.now
        servePacedUpload(at: now)
        if caps.download != nil {
            servePacedDownload(at: now)
        } else {
            setPacing(at: now)
        }
    }

    /// Returns credit, starts requests and reads again, as far as the download cap allows.
    func servePacedDownload(at now: Moment) {
        if let level = caps.download?.level(at: now), level >= -caps.downloadDebtMax / 2 {
            let paused = caps.pausedLinks
            caps.pausedLinks = []
            for link in paused where links[link.id] != nil && link.closeReason == nil {
                link.isReadingPaused = false
                if !link.handle.startReading() { close(link, .transportEnded("the socket cannot be read")) }
            }
        }
        startPacedRequests(at: now)
        while let (call, count) = caps.nextCredit(at: now) {
            if let link = call.link, let stream = call.stream {
                link.connection.consume(count, of: stream, at: now)
                scheduleFlush(link)
            }
        }
        setPacing(at: now)
    }

    private func startPacedRequests(at now: Moment) {
        // Each time from the next peer on, so that none is always the last.
        let waiting = entries.values.filter { !$0.waitingRequests.isEmpty }.sorted { $0.id < $1.id }
        caps.turn &+= 1
        for offset in waiting.indices {
            guard let level = caps.download?.level(at: now), level >= 0 else { return }
            startWaitingRequests(of: waiting[(offset + caps.turn) % waiting.count])
        }
    }

    /// Sets the timer to when the first cap that somebody waits for is paid up.
    func setPacing(at now: Moment) {
        guard let timer = caps.timer else { return }
        var wait: Duration?
        if !caps.pacedLinks.isEmpty { wait = caps.upload?.wait(at: now) }
        let requestsWait = entries.values.contains {
            !$0.waitingRequests.isEmpty && $0.runningRequests < limits.outboundRequestsMax
        }
        if !caps.withheld.isEmpty || requestsWait, let recovery = caps.download?.wait(at: now) {
            wait = min(wait ?? recovery, recovery)
        }
        if !caps.pausedLinks.isEmpty, let recovery = caps.download?.wait(forLevel: -caps.downloadDebtMax / 2, at: now) {
            wait = min(wait ?? recovery, recovery)
        }
        guard let wait else { return }
        let deadline = now + wait
        if timer.deadline.map({ deadline < $0 }) ?? true { timer.set(deadline) }
    }
}
