package import Compression
package import OuterSync
package import PeerNet

/// Fetches blobs chunk by chunk from several givers at once, without I/O: requests and verified chunks come out,
/// answers and time go in.
///
/// A chunk is asked of one giver at a time, and of another one only after the first has failed, so no chunk comes twice
/// from givers that keep their word. It is taken when its digest is right. Whoever sends other bytes is named, and
/// asked nothing more for a while; whoever sends nothing is passed over for growing pauses. Which giver gets the next
/// chunk follows from measured rates. The list of chunk digests of a large blob comes first, checked against the blob's
/// name.
package struct BlobFetcher: Sendable {
    /// Names one request.
    package typealias RequestID = UInt64

    /// What the driver must now do, in order.
    package enum Output: Hashable, Sendable {
        /// Ask a giver; answer with `received` or `failed`. No more bytes than the request's `byteCountMax` may be
        /// taken.
        case request(RequestID, BlobRequest, to: PeerID)
        /// Give a request up; no answer is expected.
        case cancel(RequestID)
        /// Keep the verified list of chunk digests of an unfinished blob for a later start.
        case storeLeaves(Digest, [Digest])
        /// Write a verified chunk; it comes once.
        case store(Digest, chunk: Int, bytes: [UInt8])
        /// A giver sent what no honest one sends; all that it was asked for is cancelled.
        case lied(PeerID, reason: String)
        /// Every chunk of the blob was stored; it is forgotten here.
        case completed(Digest)
        /// No giver is left; the blob is forgotten here. What was stored can be named at the next `start`.
        case failed(Digest, reason: String)
    }

    /// Why a request had no answer.
    package enum Failure: Hashable, Sendable {
        /// There is no connection to the giver.
        case notConnected
        /// The connection ended meanwhile; there may be another one.
        case disconnected
        /// The giver does not speak the protocol.
        case refused
        /// More bytes came than were asked for.
        case tooLong
        /// The giver ended the stream without an answer, as a busy one does.
        case reset
        /// The driver saw no byte for long.
        case stalled
    }

    /// Bounds and first guesses.
    package struct Limits: Hashable, Sendable {
        /// Bytes asked for and not yet here, of all blobs: what the driver holds in memory.
        package var bytesInFlightMax = 32 << 20
        /// Requests to one giver at once; fewer than it serves, and than the host runs.
        package var requestsPerGiverMax = 16
        /// A giver is asked for about as much as it sends in this time, so that its link never idles and little is lost
        /// with it.
        package var ahead: Duration = .seconds(1)
        /// The rate of a giver that was never measured: 8 Mbit/s.
        package var firstRate: Double = 1_000_000
        /// How long a liar is asked nothing.
        package var distrust: Duration = .seconds(600)
        /// Liars remembered.
        package var distrustedMax = 1_024

        /// The protocol's constants.
        package init() {}
    }

    /// A giver of one blob.
    struct Standing: Sendable {
        /// Its place among those named, best first.
        var rank: Int
        /// Whether it has sent something of this blob that was right.
        var isProven = false
    }

    struct Blob: Sendable {
        var byteCount: Int
        var givers: [PeerID: Standing] = [:]
        /// Those that have failed for this blob, and those that are not connected.
        var spent: Set<PeerID> = []
        var absent: [PeerID: Standing] = [:]
        var rankNext = 0
        var leaves: [Digest]?
        /// Chunks that nobody is asked for, descending.
        var wanted: [Int] = []
        var missingCount = 0
        var listGivers: Set<PeerID> = []
        var requestCount = 0
        var lastReason = "nobody is named who holds it"
        var chunkCount: Int { BlobTree.chunkCount(of: byteCount) }
    }

    struct Request: Sendable {
        var blob: Digest
        /// nil: the list of chunk digests.
        var chunk: Int?
        var giver: PeerID
        var byteCount: Int
        var issuedAt: Moment
        /// Bytes that `progressed` has told of.
        var seen = 0
    }

    let limits: Limits
    var blobs: [Digest: Blob] = [:]
    /// Blobs in the order in which they were started.
    var order: [Digest] = []
    var givers: [PeerID: BlobGiver] = [:]
    var requests: [RequestID: Request] = [:]
    var distrusted: [PeerID: Moment] = [:]
    var bytesInFlight = 0
    private var nextID: RequestID = 0
    private var outputs: [Output] = []

    /// Starts without blobs.
    package init(limits: Limits = Limits()) { self.limits = limits }

    /// What is to be done; each is given once.
    package mutating func takeOutputs() -> [Output] {
        defer { outputs.removeAll(keepingCapacity: true) }
        return outputs
    }

    mutating func put(_ output: Output) { outputs.append(output) }

    /// Whether a blob is being fetched.
    package func isFetching(_ digest: Digest) -> Bool { blobs[digest] != nil }
    /// Whether answers are expected.
    package var hasRequests: Bool { !requests.isEmpty }
    /// The measured rate of a giver in bytes per second.
    package func rate(of peer: PeerID) -> Double? { givers[peer]?.meter.rate }

    // MARK: Blobs

    /// Starts to fetch a blob from givers, the likeliest first; of one that is being fetched already, names more
    /// givers.
    ///
    /// - Parameters:
    ///   - leaves: the list of chunk digests, where an earlier start has stored it; a wrong one is ignored.
    ///   - held: the chunks that an earlier start has stored and that were checked against `leaves`.
    package mutating func start(
        _ blob: BlobReference, from sources: [PeerID], leaves: [Digest]? = nil, held: Set<Int> = [], at now: Moment
    ) {
        if blobs[blob.digest] == nil {
            guard (1...BlobTree.byteCountMax).contains(blob.byteCount) else {
                return put(.failed(blob.digest, reason: "no blob has \(blob.byteCount) bytes"))
            }
            var new = Blob(byteCount: blob.byteCount)
            if new.chunkCount == 1 {
                new.expect([blob.digest], held: [])
            } else if let leaves, leaves.count == new.chunkCount,
                BlobTree.root(of: leaves, byteCount: blob.byteCount) == blob.digest
            {
                new.expect(leaves, held: held)
            }
            blobs[blob.digest] = new
            order.append(blob.digest)
            if new.leaves != nil, new.missingCount == 0 { return complete(blob.digest) }
        }
        for peer in sources { add(peer, to: blob.digest, at: now) }
        schedule(at: now)
    }

    private mutating func add(_ peer: PeerID, to digest: Digest, at now: Moment) {
        guard var blob = blobs[digest], blob.givers[peer] == nil, blob.absent[peer] == nil, !blob.spent.contains(peer)
        else { return }
        if let until = distrusted[peer] {
            guard until <= now else {
                blob.lastReason = "\(peer.short) is not trusted"
                blobs[digest] = blob
                return
            }
            distrusted[peer] = nil
        }
        blob.givers[peer] = Standing(rank: blob.rankNext)
        blob.rankNext += 1
        blobs[digest] = blob
        if givers[peer] == nil { givers[peer] = BlobGiver() }
    }

    /// Gives a blob up.
    package mutating func stop(_ digest: Digest, at now: Moment) {
        guard blobs[digest] != nil else { return }
        for id in requests.keys.sorted() where requests[id]?.blob == digest { cancel(id) }
        forget(digest)
        schedule(at: now)
    }

    mutating func complete(_ digest: Digest) {
        forget(digest)
        put(.completed(digest))
    }

    mutating func fail(_ digest: Digest) {
        let reason = blobs[digest]?.lastReason ?? ""
        forget(digest)
        put(.failed(digest, reason: reason))
    }

    private mutating func forget(_ digest: Digest) {
        blobs[digest] = nil
        order.removeAll { $0 == digest }
        guard blobs.isEmpty else { return }
        // Rates are worth keeping, but not of everybody who was ever asked.
        if givers.count > 256 { givers = [:] }
    }

    // MARK: Requests

    mutating func issue(_ digest: Digest, chunk: Int?, to peer: PeerID, at now: Moment) {
        guard var blob = blobs[digest] else { return }
        let request: BlobRequest
        let byteCount: Int
        if let chunk {
            let range = BlobTree.range(ofChunk: chunk, byteCount: blob.byteCount)
            byteCount = range.count
            request = BlobRequest(
                digest: digest, offset: UInt64(range.lowerBound), byteCountMax: UInt64(range.count))
        } else {
            byteCount = BlobTree.listByteCount(of: blob.byteCount)
            request = BlobRequest(.chunkDigests, digest: digest, offset: 0, byteCountMax: UInt64(byteCount))
            blob.listGivers.insert(peer)
        }
        blob.requestCount += 1
        blobs[digest] = blob
        nextID += 1
        requests[nextID] = Request(blob: digest, chunk: chunk, giver: peer, byteCount: byteCount, issuedAt: now)
        bytesInFlight += byteCount
        givers[peer]?.begin(byteCount, at: now)
        put(.request(nextID, request, to: peer))
    }

    /// Takes a request off the books; its chunk is wanted again unless it came.
    mutating func close(_ id: RequestID, arrived: Bool) -> Request? {
        guard let request = requests.removeValue(forKey: id) else { return nil }
        bytesInFlight -= request.byteCount
        givers[request.giver]?.end(request.byteCount)
        blobs[request.blob]?.requestCount -= 1
        if let chunk = request.chunk {
            if !arrived { blobs[request.blob]?.want(chunk) }
        } else {
            blobs[request.blob]?.listGivers.remove(request.giver)
        }
        return request
    }

    mutating func cancel(_ id: RequestID) {
        if close(id, arrived: false) != nil { put(.cancel(id)) }
    }
}

extension BlobFetcher.Blob {
    /// Notes the digests of the chunks; what is held is not fetched.
    mutating func expect(_ leaves: [Digest], held: Set<Int>) {
        self.leaves = leaves
        wanted = leaves.indices.reversed().filter { !held.contains($0) }
        missingCount = wanted.count
    }

    /// A chunk has to be asked for again: before all later ones.
    mutating func want(_ chunk: Int) {
        let place = wanted.lastIndex { $0 > chunk }.map { $0 + 1 } ?? 0
        wanted.insert(chunk, at: place)
    }

    /// Bytes that nobody is asked for.
    var wantedByteCount: Int {
        guard let last = wanted.first else { return 0 }
        // Only the last chunk, which stands first, may be short.
        let range = BlobTree.range(ofChunk: last, byteCount: byteCount)
        return (wanted.count - 1) * BlobTree.chunkByteCount + range.count
    }
}
