import Compression
import OuterSync

@testable import PeerNet
@testable import Swarm

/// A giver of the test network: sends one answer after the other at its rate, after its latency.
struct TestGiver {
    enum Behaviour: Equatable {
        case honest, notHolding, refusing
        /// Wrong bytes, from this answer on.
        case lying(from: Int)
        case lyingAboutTheList
        case tooLong, tooShort, silent
        /// One byte more than there is, where as many are asked for.
        case padding
        /// Breaks off one answer in so many.
        case resetting(oneIn: Int)
        /// Not connected.
        case absent
    }

    var behaviour: Behaviour
    var bytesPerSecond: Double
    var latency = Duration.milliseconds(20)
    /// When it goes, and when it comes back.
    var goesAt: Moment?
    var comesAt: Moment?
    var freeAt = Moment.zero
    var answers = 0
    var isUp = true
}

/// A fetcher at work on a network in virtual time.
struct FetchRun {
    private enum Event {
        case answer(BlobFetcher.RequestID, [UInt8])
        case failure(BlobFetcher.RequestID, BlobFetcher.Failure)
        case progress(BlobFetcher.RequestID, Int)
        case goes(PeerID)
        case comes(PeerID)
    }

    var fetcher = BlobFetcher()
    var givers: [PeerID: TestGiver] = [:]
    var now = Moment.zero + .seconds(5)
    let reportsProgress: Bool
    var random: SplitMix64

    private(set) var blobs: [Digest: [UInt8]] = [:]
    private(set) var stored: [Digest: [Int: [UInt8]]] = [:]
    private(set) var leaves: [Digest: [Digest]] = [:]
    private(set) var completed: Set<Digest> = []
    private(set) var failures: [Digest: String] = [:]
    /// References that were proved wrong, with the true size.
    private(set) var misnamed: [BlobReference: Int] = [:]
    private var references: Set<BlobReference> = []
    /// All requests, by giver.
    private(set) var requestCounts: [PeerID: Int] = [:]
    private(set) var liars: Set<PeerID> = []
    /// Whatever broke the fetcher's promises.
    private(set) var faults: [String] = []
    /// Requests for chunks, by giver.
    private(set) var asked: [PeerID: [Int]] = [:]
    /// Right answers for chunks that arrived, by giver.
    private(set) var delivered: [PeerID: Int] = [:]
    private(set) var inFlightMax = 0
    private var open: [BlobFetcher.RequestID: (giver: PeerID, request: BlobRequest)] = [:]
    private var events: [(at: Moment, number: Int, event: Event)] = []
    private var eventCount = 0

    init(seed: UInt64, reportsProgress: Bool = true, limits: BlobFetcher.Limits = .init()) {
        random = SplitMix64(seed: seed)
        self.reportsProgress = reportsProgress
        fetcher = BlobFetcher(limits: limits)
    }

    /// A blob of some chunks, each of its own content, the last one short.
    static func blob(chunks: Int, tag: UInt8 = 0) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(chunks * BlobTree.chunkByteCount)
        for chunk in 0..<chunks {
            let count = chunk == chunks - 1 ? 1_000 + chunk : BlobTree.chunkByteCount
            bytes += [UInt8](repeating: UInt8(truncatingIfNeeded: chunk &+ 1), count: count - 1) + [tag]
        }
        return bytes
    }

    mutating func add(_ peer: PeerID, _ giver: TestGiver) {
        givers[peer] = giver
        if let at = giver.goesAt { schedule(.goes(peer), at: at) }
        if let at = giver.comesAt { schedule(.comes(peer), at: at) }
        if giver.behaviour == .absent { givers[peer]?.isUp = false }
    }

    /// `byteCount`: the size that somebody tells, if it is not the true one.
    @discardableResult
    mutating func start(
        _ bytes: [UInt8], from peers: [PeerID], byteCount: Int? = nil, resuming: Bool = false
    ) -> Digest {
        let digest = Digest(ofBlob: bytes)
        let reference = BlobReference(digest: digest, byteCount: byteCount ?? bytes.count)
        references.insert(reference)
        blobs[digest] = bytes
        completed.remove(digest)
        failures[digest] = nil
        fetcher.start(
            reference, from: peers,
            leaves: resuming ? leaves[digest] : nil, held: resuming ? Set((stored[digest] ?? [:]).keys) : [], at: now)
        perform()
        return digest
    }

    /// Runs until nothing is being fetched, or for so long.
    mutating func run(atMost duration: Duration = .seconds(100_000)) {
        let end = now + duration
        while references.contains(where: fetcher.isFetching) {
            let event = events.indices.min { (events[$0].at, events[$0].number) < (events[$1].at, events[$1].number) }
            let at = event.map { events[$0].at }
            let deadline = fetcher.nextDeadline
            guard let next = [at, deadline].compactMap({ $0 }).min() else {
                faults.append("nothing is left to happen")
                return
            }
            guard next <= end else { return now = end }
            now = max(now, next)
            if let event, at == next {
                handle(events.remove(at: event).event)
            } else {
                fetcher.advance(to: now)
            }
            perform()
            inFlightMax = max(inFlightMax, fetcher.bytesInFlight)
        }
        if !open.isEmpty { faults.append("\(open.count) requests were never closed") }
    }

    /// As after a restart: no answer to an earlier request comes.
    mutating func forgetRequests() {
        open = [:]
        events = []
    }

    private mutating func schedule(_ event: Event, at moment: Moment) {
        eventCount += 1
        events.append((moment, eventCount, event))
    }

    private mutating func handle(_ event: Event) {
        switch event {
        case .answer(let id, let bytes):
            guard let (giver, request) = open[id] else { return }
            open[id] = nil
            if request.kind == .content, bytes == content(request) { delivered[giver, default: 0] += 1 }
            fetcher.received(id, bytes, at: now)
        case .failure(let id, let failure):
            guard open.removeValue(forKey: id) != nil else { return }
            fetcher.failed(id, failure, at: now)
        case .progress(let id, let count): if open[id] != nil { fetcher.progressed(id, byteCount: count, at: now) }
        case .goes(let peer):
            givers[peer]?.isUp = false
            for id in open.keys.sorted() where open[id]?.giver == peer {
                open[id] = nil
                fetcher.failed(id, .disconnected, at: now)
                perform()
            }
            fetcher.disconnected(peer, at: now)
        case .comes(let peer):
            givers[peer]?.isUp = true
            if givers[peer]?.behaviour == .absent { givers[peer]?.behaviour = .honest }
            givers[peer]?.freeAt = now
            fetcher.connected(peer, at: now)
        }
    }

    private mutating func perform() {
        for output in fetcher.takeOutputs() {
            switch output {
            case .request(let id, let request, let peer):
                open[id] = (peer, request)
                requestCounts[peer, default: 0] += 1
                if request.kind == .content {
                    asked[peer, default: []].append(Int(request.offset) / BlobTree.chunkByteCount)
                }
                answer(id, request, peer)
            case .cancel(let id):
                if open.removeValue(forKey: id) == nil { faults.append("request \(id) is cancelled twice") }
            case .storeLeaves(let blob, let list): leaves[blob.digest] = list
            case .store(let reference, let chunk, let bytes):
                let digest = reference.digest
                let range = BlobTree.range(ofChunk: chunk, byteCount: blobs[digest]?.count ?? 0)
                if blobs[digest]?[range].elementsEqual(bytes) != true { faults.append("chunk \(chunk) is wrong") }
                if stored[digest, default: [:]].updateValue(bytes, forKey: chunk) != nil {
                    faults.append("chunk \(chunk) is stored twice")
                }
            case .lied(let peer, _): liars.insert(peer)
            case .completed(let reference):
                let digest = reference.digest
                if blobs[digest]?.count != reference.byteCount { faults.append("a blob has a false size") }
                completed.insert(digest)
                if stored[digest]?.count != BlobTree.chunkCount(of: blobs[digest]?.count ?? 0) {
                    faults.append("a blob is complete without all chunks")
                }
            case .failed(let reference, let reason): failures[reference.digest] = reason
            case .misnamed(let reference, let byteCount): misnamed[reference] = byteCount
            }
        }
    }

    private func content(_ request: BlobRequest) -> [UInt8] {
        guard let blob = blobs[request.digest] else { return [] }
        let all = request.kind == .content ? blob : BlobTree.leaves(of: blob).flatMap(\.bytes)
        return Array(all.dropFirst(Int(request.offset)).prefix(Int(request.byteCountMax)))
    }

    private mutating func answer(_ id: BlobFetcher.RequestID, _ request: BlobRequest, _ peer: PeerID) {
        guard var giver = givers[peer], giver.isUp else { return schedule(.failure(id, .notConnected), at: now) }
        giver.answers += 1
        var bytes = content(request)
        let soon = now + giver.latency
        defer { givers[peer] = giver }
        switch giver.behaviour {
        case .honest, .absent: break
        case .silent: return
        case .notHolding: return schedule(.answer(id, []), at: soon)
        case .refusing: return schedule(.failure(id, .refused), at: soon)
        case .tooLong: return schedule(.failure(id, .tooLong), at: soon)
        case .tooShort: bytes.removeLast()
        case .padding:
            if request.kind == .content, bytes.count < request.byteCountMax { bytes.append(7) }
        case .lying(let first) where giver.answers >= first: bytes[bytes.count / 2] ^= 1
        case .lyingAboutTheList where request.kind == .chunkDigests: bytes[0] ^= 1
        case .lying, .lyingAboutTheList: break
        case .resetting(let oneIn):
            if random.next() % UInt64(oneIn) == 0 { return schedule(.failure(id, .reset), at: soon) }
        }
        let begin = max(soon, giver.freeAt)
        giver.freeAt = begin + .seconds(Double(bytes.count) / giver.bytesPerSecond)
        if reportsProgress {
            var at = begin
            while at < giver.freeAt {
                let part = (at - begin).inSeconds * giver.bytesPerSecond
                if part > 0 { schedule(.progress(id, Int(part)), at: at) }
                at = at + .milliseconds(100)
            }
        }
        schedule(.answer(id, bytes), at: giver.freeAt)
    }
}
