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
///
/// A blob is what digest and size name together, and the size is only what somebody said: the digest of a small blob
/// does not cover it. So until bytes have proved the size, an answer that does not fit is the giver's fault only if no
/// holder of any blob of that digest could have sent it; otherwise the giver is asked how large its blob is.
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
        case storeLeaves(BlobReference, [Digest])
        /// Write a verified chunk; it comes once.
        case store(BlobReference, chunk: Int, bytes: [UInt8])
        /// A giver sent what no honest one sends; all that it was asked for is cancelled.
        case lied(PeerID, reason: String)
        /// Every chunk of the blob was stored; it is forgotten here.
        case completed(BlobReference)
        /// No giver is left; the blob is forgotten here. What was stored can be named at the next `start`.
        case failed(BlobReference, reason: String)
        /// The digest is that of a blob of another size, as its bytes or its list prove; the reference is forgotten
        /// here, and no giver is to blame.
        case misnamed(BlobReference, byteCount: Int)
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
        /// The request of a giver that is being asked how large its blob is.
        var survey: RequestID?
        var requestCount = 0
        var lastReason = "nobody is named who holds it"
        var chunkCount: Int { BlobTree.chunkCount(of: byteCount) }
    }

    /// What a request asks for.
    enum Part: Hashable, Sendable {
        case chunk(Int)
        /// The list of chunk digests.
        case list
        /// As much of the list as any blob has, of a giver whose blob seems to have another size.
        case surveyList
        /// The last chunk that the giver's list, kept here, says there is, and one byte more.
        case surveyEnd([Digest])
    }

    struct Request: Sendable {
        var blob: BlobReference
        var part: Part
        var giver: PeerID
        /// What a giver sends whose blob has the size that was named.
        var byteCount: Int
        /// What it may send at most.
        var byteCountMax: Int
        var issuedAt: Moment
        /// Bytes that `progressed` has told of.
        var seen = 0
        var isOfContent: Bool {
            switch part {
            case .chunk, .surveyEnd: true
            case .list, .surveyList: false
            }
        }
    }

    let limits: Limits
    var blobs: [BlobReference: Blob] = [:]
    /// Blobs in the order in which they were started.
    var order: [BlobReference] = []
    var givers: [PeerID: BlobGiver] = [:]
    var requests: [RequestID: Request] = [:]
    var distrusted: [PeerID: Moment] = [:]
    var bytesInFlight = 0
    private var nextID: RequestID = 0
    private var outputs: [Output] = []
    private var transfers: [(giver: PeerID, record: BlobTransferRecord)] = []

    /// Starts without blobs.
    package init(limits: Limits = Limits()) { self.limits = limits }

    /// What is to be done; each is given once.
    package mutating func takeOutputs() -> [Output] {
        defer { outputs.removeAll(keepingCapacity: true) }
        return outputs
    }

    mutating func put(_ output: Output) { outputs.append(output) }

    /// The chunks that have come whole since the last call, for measuring links.
    package mutating func takeTransfers() -> [(giver: PeerID, record: BlobTransferRecord)] {
        defer { transfers.removeAll(keepingCapacity: true) }
        return transfers
    }

    mutating func note(_ record: BlobTransferRecord, from giver: PeerID) {
        // Of a driver that does not ask, the newest are enough.
        if transfers.count >= 256 { transfers.removeFirst() }
        transfers.append((giver, record))
    }

    /// Whether a blob is being fetched.
    package func isFetching(_ reference: BlobReference) -> Bool { blobs[reference] != nil }
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
        _ reference: BlobReference, from sources: [PeerID], leaves: [Digest]? = nil, held: Set<Int> = [], at now: Moment
    ) {
        if blobs[reference] == nil {
            guard (1...BlobTree.byteCountMax).contains(reference.byteCount) else {
                return put(.failed(reference, reason: "no blob has \(reference.byteCount) bytes"))
            }
            var new = Blob(byteCount: reference.byteCount)
            if new.chunkCount == 1 {
                new.expect([reference.digest], held: [])
            } else if let leaves, leaves.count == new.chunkCount,
                BlobTree.root(of: leaves, byteCount: reference.byteCount) == reference.digest
            {
                new.expect(leaves, held: held)
            }
            blobs[reference] = new
            order.append(reference)
            if new.leaves != nil, new.missingCount == 0 { return complete(reference) }
        }
        for peer in sources { add(peer, to: reference, at: now) }
        schedule(at: now)
    }

    private mutating func add(_ peer: PeerID, to reference: BlobReference, at now: Moment) {
        guard var blob = blobs[reference], blob.givers[peer] == nil, blob.absent[peer] == nil,
            !blob.spent.contains(peer)
        else { return }
        if let until = distrusted[peer] {
            guard until <= now else {
                blob.lastReason = "\(peer.short) is not trusted"
                blobs[reference] = blob
                return
            }
            distrusted[peer] = nil
        }
        blob.givers[peer] = Standing(rank: blob.rankNext)
        blob.rankNext += 1
        blobs[reference] = blob
        if givers[peer] == nil { givers[peer] = BlobGiver() }
    }

    /// Gives a blob up.
    package mutating func stop(_ reference: BlobReference, at now: Moment) {
        guard blobs[reference] != nil else { return }
        cancelRequests(for: reference)
        forget(reference)
        schedule(at: now)
    }

    mutating func complete(_ reference: BlobReference) {
        forget(reference)
        put(.completed(reference))
    }

    mutating func fail(_ reference: BlobReference) {
        let reason = blobs[reference]?.lastReason ?? ""
        forget(reference)
        put(.failed(reference, reason: reason))
    }

    mutating func refute(_ reference: BlobReference, byteCount: Int) {
        cancelRequests(for: reference)
        forget(reference)
        put(.misnamed(reference, byteCount: byteCount))
    }

    private mutating func forget(_ reference: BlobReference) {
        blobs[reference] = nil
        order.removeAll { $0 == reference }
        guard blobs.isEmpty else { return }
        // Rates are worth keeping, but not of everybody who was ever asked.
        if givers.count > 256 { givers = [:] }
    }

    // MARK: Requests

    mutating func issue(_ part: Part, of reference: BlobReference, to peer: PeerID, at now: Moment) {
        guard var blob = blobs[reference] else { return }
        nextID += 1
        let byteCount: Int
        var offset = 0
        // A byte more than a blob of one chunk is said to have shows whether the giver's is larger.
        var spare = 0
        switch part {
        case .chunk(let chunk):
            let range = BlobTree.range(ofChunk: chunk, byteCount: blob.byteCount)
            (offset, byteCount) = (range.lowerBound, range.count)
            if blob.chunkCount == 1 { spare = 1 }
        case .list:
            byteCount = BlobTree.listByteCount(of: blob.byteCount)
            blob.listGivers.insert(peer)
        case .surveyList:
            byteCount = BlobTree.listByteCount(of: BlobTree.byteCountMax)
            blob.survey = nextID
        case .surveyEnd(let leaves):
            byteCount = BlobTree.chunkByteCount
            offset = max(0, leaves.count - 1) * BlobTree.chunkByteCount
            spare = 1
            blob.survey = nextID
        }
        blob.requestCount += 1
        blobs[reference] = blob
        let request = Request(
            blob: reference, part: part, giver: peer, byteCount: byteCount, byteCountMax: byteCount + spare,
            issuedAt: now)
        requests[nextID] = request
        bytesInFlight += byteCount
        givers[peer]?.begin(byteCount, at: now)
        let wire = BlobRequest(
            request.isOfContent ? .content : .chunkDigests, digest: reference.digest, offset: UInt64(offset),
            byteCountMax: UInt64(request.byteCountMax))
        put(.request(nextID, wire, to: peer))
    }

    /// Takes a request off the books; its chunk is wanted again unless it came.
    mutating func close(_ id: RequestID, arrived: Bool) -> Request? {
        guard let request = requests.removeValue(forKey: id) else { return nil }
        bytesInFlight -= request.byteCount
        givers[request.giver]?.end(request.byteCount)
        blobs[request.blob]?.requestCount -= 1
        switch request.part {
        case .chunk(let chunk): if !arrived { blobs[request.blob]?.want(chunk) }
        case .list: blobs[request.blob]?.listGivers.remove(request.giver)
        case .surveyList, .surveyEnd: blobs[request.blob]?.survey = nil
        }
        return request
    }

    mutating func cancel(_ id: RequestID) {
        if close(id, arrived: false) != nil { put(.cancel(id)) }
    }

    mutating func cancelRequests(for reference: BlobReference) {
        for id in requests.keys.sorted() where requests[id]?.blob == reference { cancel(id) }
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
