import Checkpoint
import Compression
import Numerics
import OuterSync
import PeerNet
import Swarm
import Transport

/// Drives a `BlobFetcher`: asks peers through the host, writes verified chunks to disk as they come, keeps what there
/// is of a blob over a restart. On a thread of its own, since it hashes and waits for the disk.
actor BlobDownloads {
    /// What becomes of fetches.
    enum Event: Sendable {
        /// The blob is on disk, durably.
        case fetched(BlobReference)
        /// It could not be had; what there is of it stays for the next try.
        case failed(BlobReference, reason: String)
        /// The digest is that of a blob of another size.
        case misnamed(BlobReference, byteCount: Int)
        /// A chunk came whole from a peer.
        case transferred(PeerID, BlobTransferRecord)
        /// A peer sent what no honest one sends.
        case lied(PeerID, reason: String)
    }

    /// Asks a peer and collects its answer.
    typealias Ask = @Sendable (BlobRequest, PeerID, IncomingBytes) async -> RequestError?

    private let executor = ThreadExecutor()
    private let folder: BlobFolder
    private let ask: Ask
    private let report: @Sendable (Event) -> Void
    private let clock = MonotonicClock()
    private var fetcher: BlobFetcher
    private var wanted: Set<BlobReference> = []
    /// Files of blobs of several chunks. Two that tell different sizes of one digest share a file, and that is safe:
    /// only the true size gets a list of chunk digests, and nothing is written before the list.
    private var partials: [BlobReference: PartialBlob] = [:]
    private var calls: [BlobFetcher.RequestID: (task: Task<Void, Never>, bytes: IncomingBytes)] = [:]
    private let alarms: AlarmThread<Int>
    private let ticks: AsyncStream<Void>
    private let endTicks: @Sendable () -> Void
    private var alarmAt: Moment?
    private var isStopped = false

    /// How often progress is looked at while answers are on their way.
    private static let tick: Duration = .milliseconds(100)

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// `report` is called on the downloads' thread and must not block.
    init(
        folder: BlobFolder, limits: BlobFetcher.Limits = .init(), ask: @escaping Ask,
        report: @escaping @Sendable (Event) -> Void
    ) {
        self.folder = folder
        self.ask = ask
        self.report = report
        fetcher = BlobFetcher(limits: limits)
        let (ticks, continuation) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
        self.ticks = ticks
        endTicks = { continuation.finish() }
        alarms = AlarmThread { _ in continuation.yield() }
    }

    deinit { executor.finish() }

    /// Asks peers through a host.
    static func asking(_ host: PeerHost) -> Ask {
        { request, peer, incoming in
            do throws(RequestError) {
                _ = try await host.request(
                    request.encoded, to: peer, on: BlobRequest.protocolName,
                    responseBytesMax: Int(clamping: request.byteCountMax), sink: { incoming.add($0) })
                return nil
            } catch { return error }
        }
    }

    /// Minds the time until `stop`.
    func run() async {
        for await _ in ticks {
            alarmAt = nil
            let now = clock.now
            for (id, call) in calls { fetcher.progressed(id, byteCount: call.bytes.count, at: now) }
            fetcher.advance(to: now)
            perform()
        }
    }

    /// Cancels everything; what there is of blobs stays on disk.
    func stop() async {
        isStopped = true
        let tasks = calls.values.map { $0.task }
        calls = [:]
        for task in tasks { task.cancel() }
        for task in tasks { await task.value }
        partials = [:]
        endTicks()
        alarms.stop()
    }

    /// Fetches a blob, or names more peers for one that is being fetched. Exactly one `.fetched`, `.failed` or `.misnamed`
    /// follows.
    func fetch(_ blob: BlobReference, from peers: [PeerID]) {
        guard !isStopped else { return }
        if fetcher.isFetching(blob) {
            fetcher.start(blob, from: peers, at: clock.now)
            return perform()
        }
        if folder.holds(blob.digest, byteCount: blob.byteCount) { return report(.fetched(blob)) }
        wanted.insert(blob)
        var leaves: [Digest]?
        if BlobTree.chunkCount(of: blob.byteCount) > 1, blob.byteCount <= BlobTree.byteCountMax {
            do throws(FileError) {
                let partial = try folder.openPartial(blob.digest, byteCount: blob.byteCount)
                partials[blob] = partial
                leaves = partial.storedLeaves()
            } catch { return giveUp(blob, error.description) }
        }
        let held = leaves.flatMap { partials[blob]?.heldChunks($0) } ?? []
        fetcher.start(blob, from: peers, leaves: leaves, held: held, at: clock.now)
        perform()
    }

    /// A peer is connected.
    func connected(_ peer: PeerID) {
        fetcher.connected(peer, at: clock.now)
        perform()
    }

    /// A peer is connected no more.
    func disconnected(_ peer: PeerID) {
        fetcher.disconnected(peer, at: clock.now)
        perform()
    }

    /// Ends a fetch without a report; what there is of the blob stays on disk.
    func cancel(_ blob: BlobReference) {
        wanted.remove(blob)
        partials[blob] = nil
        fetcher.stop(blob, at: clock.now)
        perform()
    }

    // MARK: What the fetcher asks for

    private func perform() {
        guard !isStopped else { return }
        var outputs = fetcher.takeOutputs()
        while !outputs.isEmpty {
            for output in outputs { perform(output) }
            outputs = fetcher.takeOutputs()
        }
        setAlarm()
    }

    private func perform(_ output: BlobFetcher.Output) {
        switch output {
        case .request(let id, let request, let peer): start(id, request, peer)
        case .cancel(let id): calls.removeValue(forKey: id)?.task.cancel()
        case .storeLeaves(let blob, let leaves):
            attempt(blob) { () throws(FileError) in
                if let partial = partials[blob] { try partial.write(leaves) }
            }
        case .store(let blob, let chunk, let bytes):
            guard wanted.contains(blob) else { return }
            attempt(blob) { () throws(FileError) in
                if let partial = partials[blob] {
                    try partial.write(bytes, asChunk: chunk)
                } else {
                    try folder.store(bytes, as: blob.digest)
                }
            }
        case .completed(let blob):
            attempt(blob) { () throws(FileError) in
                if let partial = partials[blob] { try partial.commit() }
            }
            partials[blob] = nil
            if wanted.remove(blob) != nil { report(.fetched(blob)) }
        case .failed(let blob, let reason): giveUp(blob, reason)
        case .misnamed(let blob, let byteCount):
            partials[blob] = nil
            if wanted.remove(blob) != nil { report(.misnamed(blob, byteCount: byteCount)) }
        case .lied(let peer, let reason): report(.lied(peer, reason: reason))
        }
    }

    private func attempt(_ blob: BlobReference, _ body: () throws(FileError) -> Void) {
        do throws(FileError) { try body() } catch { giveUp(blob, error.description) }
    }

    private func giveUp(_ blob: BlobReference, _ reason: String) {
        partials[blob] = nil
        fetcher.stop(blob, at: clock.now)
        if wanted.remove(blob) != nil { report(.failed(blob, reason: reason)) }
    }

    private func start(_ id: BlobFetcher.RequestID, _ request: BlobRequest, _ peer: PeerID) {
        let bytes = IncomingBytes(byteCount: Int(clamping: request.byteCountMax))
        let ask = ask
        // Cancelled by the fetcher or by stop(), which also awaits it.
        let task = Task {
            let error = await ask(request, peer, bytes)
            self.answered(id, bytes, error)
        }
        calls[id] = (task, bytes)
    }

    private func answered(_ id: BlobFetcher.RequestID, _ bytes: IncomingBytes, _ error: RequestError?) {
        guard calls.removeValue(forKey: id) != nil else { return }
        let now = clock.now
        if let error {
            fetcher.failed(id, BlobFetcher.Failure(error), at: now)
        } else {
            fetcher.received(id, bytes.take(), at: now)
            for (giver, record) in fetcher.takeTransfers() { report(.transferred(giver, record)) }
        }
        perform()
    }

    private func setAlarm() {
        var deadline = fetcher.nextDeadline
        if !calls.isEmpty {
            let tick = clock.now + Self.tick
            deadline = min(deadline ?? tick, tick)
        }
        guard let deadline, alarmAt.map({ deadline < $0 }) ?? true else { return }
        alarmAt = deadline
        alarms.set(0, at: deadline)
    }
}

extension BlobFetcher.Failure {
    init(_ error: RequestError) {
        self =
            switch error {
            case .notConnected: .notConnected
            case .protocolRefused: .refused
            case .reset, .tooManyWaiting, .cancelled: .reset
            case .disconnected: .disconnected
            case .responseTooLarge: .tooLong
            case .stalled, .tooLate: .stalled
            }
    }
}

/// Bytes of one answer, which arrive on the loop's thread and are counted and taken on another.
final class IncomingBytes: Sendable {
    private let bytes: Lock<[UInt8]>
    private let byteCountMax: Int

    /// Takes up to so many, without growing in steps.
    init(byteCount: Int) {
        byteCountMax = byteCount
        bytes = Lock([])
    }

    /// What is here so far.
    var count: Int { bytes.withLock { $0.count } }

    func add(_ more: [UInt8]) {
        bytes.withLock { bytes in
            if bytes.isEmpty { bytes.reserveCapacity(byteCountMax) }
            bytes += more
        }
    }

    /// All of it, once.
    func take() -> [UInt8] {
        bytes.withLock { bytes in
            let taken = bytes
            bytes = []
            return taken
        }
    }
}
