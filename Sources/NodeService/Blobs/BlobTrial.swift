import Checkpoint
import Compression
import Glibc
import Numerics
import OuterSync
import PeerNet
import Swarm
import Transport

/// Fetches a made-up blob over real connections on 127.0.0.1 from givers that behave as they are told, and counts: what
/// `atoll bench blob` and the tests measure. Everything runs in this process, in a folder that is removed at the end.
struct BlobTrial {
    /// The folder with everything in it.
    private let folder: TrialFolder
    private let blob: BlobReference
    private let shelf: BlobFolder
    private let seed: UInt64
    private let isCancelled: @Sendable () -> Bool

    /// Makes a blob of so many bytes, chunk by chunk, in a new folder.
    init(byteCount: Int, seed: UInt64 = 1, isCancelled: @escaping @Sendable () -> Bool = { false }) throws {
        precondition(byteCount > 4 * BlobTree.chunkByteCount, "three givers need some chunks")
        folder = try TrialFolder()
        shelf = try BlobFolder(opening: folder.path + "/given")
        self.seed = seed
        self.isCancelled = isCancelled
        let chunks = 0..<BlobTree.chunkCount(of: byteCount)
        let leaves = chunks.map { Digest(hashing: Self.chunk($0, of: byteCount, seed: seed)) }
        blob = BlobReference(digest: BlobTree.root(of: leaves, byteCount: byteCount), byteCount: byteCount)
        let file = try shelf.openPartial(blob.digest, byteCount: byteCount)
        for index in chunks {
            if isCancelled() { throw UserError.interrupted }
            try file.write(Self.chunk(index, of: byteCount, seed: seed), asChunk: index)
        }
        try file.write(leaves)
        try file.commit()
    }

    private static func chunk(_ index: Int, of byteCount: Int, seed: UInt64) -> [UInt8] {
        var random = SeededRandom(seed: seed, stream: UInt64(index))
        let count = BlobTree.range(ofChunk: index, byteCount: byteCount).count
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count + 8)
        while bytes.count < count { withUnsafeBytes(of: random.next().littleEndian) { bytes += $0 } }
        bytes.removeLast(bytes.count - count)
        return bytes
    }

    // MARK: Three givers

    /// What a fetch from three givers came to.
    struct Outcome: Sendable {
        var seconds = 0.0
        /// Whether the blob is on disk, every byte as it was made.
        var isVerified = false
        /// Right chunks by giver: faithful, killed, liar.
        var chunks = [0, 0, 0]
        /// Chunks that came right, from honest givers, more than once.
        var fetchedTwice = 0
        /// Bytes that came from the liar and were thrown away.
        var liarBytes = 0
        var isLiarNamed = false
        var isHonestNamed = false
        /// Growth of this process's greatest memory, givers and taker together.
        var memoryGrowth = 0
    }

    /// Fetches from three givers: one is killed when a sixth of the blob has come from it, or sooner; one sends a wrong
    /// byte in every answer after its fourth.
    func fetchFromThree() async throws -> Outcome {
        let memoryBefore = Self.greatestMemory
        var givers: [TrialGiver] = []
        for lies in [false, false, true] {
            givers.append(try await TrialGiver(shelf, caps: .init(), liesAfter: lies ? 4 : nil))
        }
        let tally = TrialTally(givers.map(\.peer))
        let killAfter = max(2, BlobTree.chunkCount(of: blob.byteCount) / 6)
        let mortal = givers[1]
        let taker = try TrialTaker(folder.path + "/taken") { request, peer, error, count in
            let chunks = tally.note(request, peer, arrived: error == nil ? count : 0)
            if peer == mortal.peer, chunks == killAfter { Task { await mortal.stop() } }
        }
        try await taker.start()
        let begin = MonotonicClock().now
        for giver in givers { try await taker.connect(giver) }
        let result = await taker.fetch(blob, from: givers.map(\.peer), isCancelled: isCancelled)
        var outcome = tally.outcome
        outcome.seconds = (MonotonicClock().now - begin).inSeconds
        outcome.isLiarNamed = await taker.liars.contains(givers[2].peer)
        outcome.isHonestNamed = await !taker.liars.isSubset(of: [givers[2].peer])
        outcome.memoryGrowth = Self.greatestMemory - memoryBefore
        await taker.stop()
        for giver in givers { await giver.stop() }
        if isCancelled() { throw UserError.interrupted }
        outcome.isVerified = try result && isRight(in: BlobFolder(opening: folder.path + "/taken"))
        return outcome
    }

    /// Compares what is on disk with what was made.
    private func isRight(in folder: BlobFolder) -> Bool {
        guard let file = folder.open(blob.digest), file.byteCount == blob.byteCount else { return false }
        return (0..<BlobTree.chunkCount(of: blob.byteCount)).allSatisfy { index in
            let range = BlobTree.range(ofChunk: index, byteCount: blob.byteCount)
            return file.read(from: range.lowerBound, count: range.count)
                == Self.chunk(index, of: blob.byteCount, seed: seed)
        }
    }

    private static var greatestMemory: Int {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        return usage.ru_maxrss << 10
    }

    // MARK: Caps

    /// What takers of one capped giver got.
    struct CapOutcome: Sendable {
        /// Bytes per second by taker.
        var rates: [Double]
        /// Bytes per second of all.
        var total: Double { rates.reduce(0, +) }
    }

    /// Lets so many takers fetch from one giver with caps, each with a number of requests of its own, and measures for
    /// `seconds` after the first one.
    func fetchCapped(_ caps: FairServing.Caps, takers count: Int, seconds: Double) async throws -> CapOutcome {
        let giver = try await TrialGiver(shelf, caps: caps, liesAfter: nil)
        var takers: [TrialTaker] = []
        for index in 0..<count {
            var limits = BlobFetcher.Limits()
            limits.requestsPerGiverMax = 2 + 4 * index
            let taker = try TrialTaker("\(folder.path)/capped\(index)", limits: limits) { _, _, _, _ in }
            try await taker.start()
            try await taker.connect(giver)
            await taker.begin(blob, from: [giver.peer])
            takers.append(taker)
        }
        let clock = MonotonicClock()
        await pause(.seconds(1))
        let begin = clock.now
        let before = await Self.received(takers)
        let end = begin + .seconds(seconds)
        while clock.now < end, !isCancelled() { await pause(min(end - clock.now, .milliseconds(200))) }
        let elapsed = (clock.now - begin).inSeconds
        let after = await Self.received(takers)
        for taker in takers { await taker.stop() }
        await giver.stop()
        for index in 0..<count { try removeTree("\(folder.path)/capped\(index)") }
        if isCancelled() { throw UserError.interrupted }
        return CapOutcome(rates: zip(before, after).map { Double($1 - $0) / elapsed })
    }

    private static func received(_ takers: [TrialTaker]) async -> [UInt64] {
        var counts: [UInt64] = []
        for taker in takers { counts.append(await taker.host.traffic().bytesReceived) }
        return counts
    }
}

/// Waits without holding a thread of the executor up.
private func pause(_ duration: Duration) async {
    let (stream, continuation) = AsyncStream<Void>.makeStream()
    let alarm = AlarmThread<Int> { _ in continuation.finish() }
    alarm.set(0, at: MonotonicClock().now + duration)
    for await _ in stream {}
    alarm.stop()
}

/// A folder that is gone with its owner.
private final class TrialFolder: Sendable {
    let path: String

    init() throws(UserError) {
        let parent = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        var template = Array("\(parent)/atoll-blobs-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { throw .system("create a folder in \(parent)", errno: errno) }
        path = String(cString: made)
    }

    deinit { try? removeTree(path) }
}

private func makeTrialHost() throws -> PeerHost {
    var seed = [UInt8](repeating: 0, count: 32)
    guard getentropy(&seed, seed.count) == 0, let identity = Identity(seed: seed) else {
        throw UserError.system("draw random bytes", errno: errno)
    }
    return PeerHost(
        identity: identity,
        configuration: PeerHostConfiguration(
            listenAddresses: [try Multiaddr("/ip4/127.0.0.1/tcp/0")], agentVersion: AtollVersion.agent))
}

/// A node that only gives.
private final class TrialGiver: Sendable {
    let host: PeerHost
    let peer: PeerID
    let addresses: [Multiaddr]
    private let server: BlobServer
    private let tasks: [Task<Void, Never>]

    init(_ folder: BlobFolder, caps: FairServing.Caps, liesAfter truths: Int?) async throws {
        let host = try makeTrialHost()
        let server = BlobServer(folders: [folder], caps: caps)
        let answers = Lock(0)
        await host.serve(BlobRequest.protocolName, requestBytesMax: BlobRequest.byteCount) { peer, bytes in
            let body = await server.answer(bytes, of: peer)
            let number = answers.withLock { count in
                count += 1
                return count
            }
            guard let truths, number > truths, case .pieces(let next)? = body else { return body }
            return .pieces {
                var piece = await next()
                piece?[0] ^= 1
                return piece
            }
        }
        self.host = host
        self.server = server
        peer = host.peerID
        addresses = try await host.start().map { $0.encapsulating(p2p: host.peerID) }
        // Both end with stop().
        tasks = [Task { await server.run() }, Task { while await host.next() != nil {} }]
    }

    func stop() async {
        server.stop()
        await host.stop()
        for task in tasks { await task.value }
    }
}

/// A node that only takes.
private actor TrialTaker {
    let host: PeerHost
    private(set) var liars: Set<PeerID> = []
    private let downloads: BlobDownloads
    private let events: AsyncStream<BlobDownloads.Event>
    private let endEvents: @Sendable () -> Void
    private var tasks: [Task<Void, Never>] = []

    /// `note` is told of every answer: the error, or how many bytes came.
    init(
        _ path: String, limits: BlobFetcher.Limits = .init(),
        note: @escaping @Sendable (BlobRequest, PeerID, RequestError?, Int) -> Void
    ) throws {
        let host = try makeTrialHost()
        let (events, continuation) = AsyncStream<BlobDownloads.Event>.makeStream()
        let ask = BlobDownloads.asking(host)
        self.host = host
        self.events = events
        endEvents = { continuation.finish() }
        downloads = BlobDownloads(
            folder: try BlobFolder(opening: path), limits: limits,
            ask: { request, peer, incoming in
                let error = await ask(request, peer, incoming)
                note(request, peer, error, incoming.count)
                return error
            }, report: { continuation.yield($0) })
    }

    func start() async throws {
        _ = try await host.start()
        let (host, downloads) = (host, downloads)
        // Both end with stop().
        tasks = [
            Task { await downloads.run() },
            Task {
                while let event = await host.next() {
                    switch event {
                    case .connected(let peer, _): await downloads.connected(peer)
                    case .disconnected(let peer, _): await downloads.disconnected(peer)
                    default: break
                    }
                }
            },
        ]
    }

    func connect(_ giver: TrialGiver) async throws { _ = try await host.connect(to: giver.addresses) }

    func begin(_ blob: BlobReference, from peers: [PeerID]) async { await downloads.fetch(blob, from: peers) }

    /// Whether the blob came; a liar is disconnected, as a node does.
    func fetch(_ blob: BlobReference, from peers: [PeerID], isCancelled: @Sendable () -> Bool) async -> Bool {
        await downloads.fetch(blob, from: peers)
        for await event in events {
            switch event {
            case .fetched: return true
            case .transferred: break
            case .failed, .misnamed: return false
            case .lied(let peer, let reason):
                liars.insert(peer)
                await host.disconnect(peer, reason: reason)
            }
            if isCancelled() { return false }
        }
        return false
    }

    func stop() async {
        await downloads.stop()
        await host.stop()
        endEvents()
        for task in tasks { await task.value }
    }
}

/// Counts what came from whom.
private final class TrialTally: Sendable {
    private struct Counts {
        var chunks: [PeerID: Int] = [:]
        var honest: [UInt64: Int] = [:]
        var liarBytes = 0
    }

    private let givers: [PeerID]
    private let counts = Lock(Counts())

    init(_ givers: [PeerID]) { self.givers = givers }

    /// Notes an answer; gives how many chunks have come whole from this giver.
    func note(_ request: BlobRequest, _ peer: PeerID, arrived count: Int) -> Int {
        counts.withLock { counts in
            guard request.kind == .content, count == Int(clamping: request.byteCountMax) else { return 0 }
            if peer == givers[2] {
                counts.liarBytes += count
            } else {
                counts.honest[request.offset, default: 0] += 1
            }
            counts.chunks[peer, default: 0] += 1
            return counts.chunks[peer] ?? 0
        }
    }

    var outcome: BlobTrial.Outcome {
        counts.withLock { counts in
            var outcome = BlobTrial.Outcome()
            outcome.chunks = givers.map { counts.chunks[$0] ?? 0 }
            outcome.fetchedTwice = counts.honest.values.count { $0 > 1 }
            outcome.liarBytes = counts.liarBytes
            return outcome
        }
    }
}
