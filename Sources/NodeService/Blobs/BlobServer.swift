import Compression
import Numerics
import PeerNet
import Swarm
import Transport

/// Serves blobs to peers from disk: in pieces, no faster than caps and fairness allow, a bounded number at once.
final class BlobServer: Sendable {
    private struct State {
        var serving: FairServing
        /// Granted before anybody waited for it.
        var ready: Set<FairServing.Ticket> = []
        var waiters: [FairServing.Ticket: CheckedContinuation<Bool, Never>] = [:]
        var alarmAt: Moment?
    }

    private let folders: [BlobFolder]
    private let resident: [Digest: [UInt8]]
    private let reader: BlobReader
    private let clock = MonotonicClock()
    private let state: Lock<State>
    private let alarms: AlarmThread<Int>
    private let ticks: AsyncStream<Void>
    private let endTicks: @Sendable () -> Void
    fileprivate let pieceByteCount: Int

    /// Serves what is in some folders, and some blobs of one chunk from memory.
    init(folders: [BlobFolder], resident: [[UInt8]] = [], caps: FairServing.Caps = .init()) {
        self.folders = folders
        self.resident = Dictionary(resident.map { (Digest(ofBlob: $0), $0) }) { first, _ in first }
        reader = BlobReader()
        state = Lock(State(serving: FairServing(caps, at: MonotonicClock().now)))
        pieceByteCount = caps.pieceByteCount
        let (ticks, continuation) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
        self.ticks = ticks
        endTicks = { continuation.finish() }
        alarms = AlarmThread { _ in continuation.yield() }
    }

    /// Lets a host answer requests for blobs of peers that `mayServe` lets in. Call before the host starts.
    func serve(on host: PeerHost, mayServe: @escaping @Sendable (PeerID) async -> Bool) async {
        await host.serve(BlobRequest.protocolName, requestBytesMax: BlobRequest.byteCount) { peer, bytes in
            await mayServe(peer) ? await self.answer(bytes, of: peer) : nil
        }
    }

    /// Minds the time until `stop`; without it caps are not lifted again.
    func run() async {
        for await _ in ticks {
            change { state, now in
                state.alarmAt = nil
                state.serving.advance(to: now)
            }
        }
    }

    deinit { stop() }

    /// Ends `run`.
    func stop() {
        endTicks()
        alarms.stop()
    }

    /// The answer to a request; nil: it makes no sense, or the blob is not here.
    func answer(_ bytes: [UInt8], of peer: PeerID) async -> ResponseBody? {
        guard let request = BlobRequest(bytes) else { return nil }
        if let blob = resident[request.digest] {
            guard request.kind == .content else { return nil }
            let start = min(Int(clamping: request.offset), blob.count)
            return .bytes(Array(blob[start...].prefix(Int(clamping: request.byteCountMax))))
        }
        guard let folder = await reader.holder(of: request.digest, among: folders) else { return nil }
        let ticket = change { state, now in state.serving.begin(peer, at: now) }
        let turn = BlobTurn(ticket, of: self)
        // The file is opened when it is its turn: those that wait cost nothing.
        guard await isGranted(ticket), let file = await reader.open(request.digest, in: folder),
            let response = BlobResponse(request, file, reader, turn)
        else { return nil }
        return .pieces { await response.next() }
    }

    // MARK: Turns

    /// Waits until a piece may be sent; false: it is over.
    fileprivate func maySend(_ byteCount: Int, _ ticket: FairServing.Ticket) async -> Bool {
        change { state, now in state.serving.ask(ticket, byteCount: byteCount, at: now) }
        return await isGranted(ticket)
    }

    private func isGranted(_ ticket: FairServing.Ticket) async -> Bool {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isReady: Bool? = state.withLock { state in
                    if state.ready.remove(ticket) != nil { return true }
                    if Task.isCancelled { return false }
                    state.waiters[ticket] = continuation
                    return nil
                }
                if let isReady { continuation.resume(returning: isReady) }
            }
        } onCancel: {
            end(ticket)
        }
    }

    fileprivate func end(_ ticket: FairServing.Ticket) {
        let waiter = change { state, now in
            state.serving.end(ticket, at: now)
            state.ready.remove(ticket)
            return state.waiters.removeValue(forKey: ticket)
        }
        waiter?.resume(returning: false)
    }

    /// Changes the state, then wakes whoever may go on.
    @discardableResult
    private func change<Value: Sendable>(_ body: (inout State, Moment) -> Value) -> Value {
        let now = clock.now
        let (value, waiters, alarm) = state.withLock { state in
            let value = body(&state, now)
            var waiters: [CheckedContinuation<Bool, Never>] = []
            for ticket in state.serving.takeGranted() {
                if let waiter = state.waiters.removeValue(forKey: ticket) {
                    waiters.append(waiter)
                } else {
                    state.ready.insert(ticket)
                }
            }
            var alarm: Moment?
            if let deadline = state.serving.nextDeadline, state.alarmAt.map({ deadline < $0 }) ?? true {
                state.alarmAt = deadline
                alarm = deadline
            }
            return (value, waiters, alarm)
        }
        for waiter in waiters { waiter.resume(returning: true) }
        if let alarm { alarms.set(0, at: alarm) }
        return value
    }
}

/// Ends a response's turn when the response is gone, however that came.
private final class BlobTurn: Sendable {
    let ticket: FairServing.Ticket
    let server: BlobServer

    init(_ ticket: FairServing.Ticket, of server: BlobServer) {
        self.ticket = ticket
        self.server = server
    }

    deinit { server.end(ticket) }
}

/// One response, read from the disk as it is sent.
private final class BlobResponse: Sendable {
    private let file: BlobFile
    private let reader: BlobReader
    private let turn: BlobTurn
    /// What of the file is still to be sent.
    private let rest: Lock<Range<Int>>

    /// nil if nothing of what is asked for is there.
    init?(_ request: BlobRequest, _ file: BlobFile, _ reader: BlobReader, _ turn: BlobTurn) {
        let whole =
            switch request.kind {
            case .content: 0..<file.byteCount
            case .chunkDigests: file.byteCount..<BlobFile.fileByteCount(of: file.byteCount)
            }
        let start = whole.lowerBound + min(Int(clamping: request.offset), whole.count)
        let count = min(Int(clamping: request.byteCountMax), whole.upperBound - start)
        guard count > 0 else { return nil }
        self.file = file
        self.reader = reader
        self.turn = turn
        rest = Lock(start..<start + count)
    }

    /// The next piece; nil ends the response.
    func next() async -> [UInt8]? {
        let piece = rest.withLock { rest in
            let piece = rest.prefix(turn.server.pieceByteCount)
            rest = piece.upperBound..<rest.upperBound
            return piece
        }
        guard !piece.isEmpty, await turn.server.maySend(piece.count, turn.ticket) else { return nil }
        // A file that ends early ends the response: the taker sees that it is too short.
        guard let bytes = await reader.read(file, piece), bytes.count == piece.count else { return nil }
        return bytes
    }
}

/// Reads blobs on a thread of its own, because disks may be slow.
private actor BlobReader {
    private let executor = ThreadExecutor()
    deinit { executor.finish() }
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    func holder(of digest: Digest, among folders: [BlobFolder]) -> BlobFolder? { folders.first { $0.exists(digest) } }
    func open(_ digest: Digest, in folder: BlobFolder) -> BlobFile? { folder.open(digest) }
    func read(_ file: BlobFile, _ range: Range<Int>) -> [UInt8]? {
        file.read(from: range.lowerBound, count: range.count)
    }
}
