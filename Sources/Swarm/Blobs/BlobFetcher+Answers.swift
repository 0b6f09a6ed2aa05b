import Compression
import OuterSync
package import PeerNet

// What comes back from givers, and what that says about them.

extension BlobFetcher {
    /// Some bytes of an answer have arrived; `byteCount` counts from its beginning. Optional, but it makes rates better
    /// known, and keeps slow givers from looking dead.
    package mutating func progressed(_ id: RequestID, byteCount: Int, at now: Moment) {
        guard let request = requests[id], byteCount > request.seen else { return }
        givers[request.giver]?.heard(byteCount - request.seen, ofList: !request.isOfContent, at: now)
        requests[id]?.seen = byteCount
    }

    /// A whole answer has arrived.
    package mutating func received(_ id: RequestID, _ bytes: [UInt8], at now: Moment) {
        progressed(id, byteCount: bytes.count, at: now)
        guard let request = requests[id] else { return }
        if bytes.count > request.byteCountMax {
            lied(id, "it sent more bytes than it was asked for", at: now)
        } else {
            switch request.part {
            case .chunk(let chunk): take(bytes, asChunk: chunk, id, request, at: now)
            case .list: take(list: bytes, id, request, at: now)
            case .surveyList: take(surveyList: bytes, id, at: now)
            case .surveyEnd(let leaves): take(surveyEnd: bytes, after: leaves, id, at: now)
            }
        }
        schedule(at: now)
    }

    private mutating func take(
        _ bytes: [UInt8], asChunk chunk: Int, _ id: RequestID, _ request: Request, at now: Moment
    ) {
        guard let leaves = blobs[request.blob]?.leaves else { return }
        // The list has proved a large blob's size. A small one's is proved by nothing but its bytes.
        if bytes.count > request.byteCount { return survey(id, at: now) }
        guard bytes.count == request.byteCount else {
            if leaves.count == 1, !bytes.isEmpty, Digest(hashing: bytes) == leaves[0] {
                _ = close(id, arrived: true)
                return refute(request.blob, byteCount: bytes.count)
            }
            return dismiss(id, bytes.isEmpty ? "does not hold it" : "sent \(bytes.count) bytes of \(request.byteCount)")
        }
        // Asked for one byte more, the holder of a small blob of another size would have sent another number.
        guard Digest(hashing: bytes) == leaves[chunk] else {
            return lied(id, "its bytes do not match the digest", at: now)
        }
        givers[request.giver]?.answered(
            request.byteCount, after: now - request.issuedAt, wanted: limits.ahead,
            windowMax: limits.requestsPerGiverMax * BlobTree.chunkByteCount)
        note(
            BlobTransferRecord(byteCount: request.byteCount, began: request.issuedAt, ended: now), from: request.giver)
        _ = close(id, arrived: true)
        praise(request.giver, for: request.blob)
        put(.store(request.blob, chunk: chunk, bytes: bytes))
        blobs[request.blob]?.missingCount -= 1
        if blobs[request.blob]?.missingCount == 0 { complete(request.blob) }
    }

    private mutating func take(list bytes: [UInt8], _ id: RequestID, _ request: Request, at now: Moment) {
        guard let blob = blobs[request.blob] else { return }
        guard bytes.count == request.byteCount else {
            return dismiss(id, bytes.isEmpty ? "does not hold it" : "sent \(bytes.count) bytes of \(request.byteCount)")
        }
        let leaves = Self.digests(bytes)
        guard BlobTree.root(of: leaves, byteCount: blob.byteCount) == request.blob.digest else {
            return survey(id, at: now)
        }
        _ = close(id, arrived: true)
        praise(request.giver, for: request.blob)
        blobs[request.blob]?.expect(leaves, held: [])
        let doubted = blob.survey.flatMap { requests[$0]?.giver }
        // The others that were asked need not answer any more.
        cancelRequests(for: request.blob)
        put(.storeLeaves(request.blob, leaves))
        if let doubted { accuse(doubted, "its chunk digests do not match the digest", at: now) }
    }

    // MARK: Another size

    /// An answer is what the holder of a blob of another size would send: asks the giver for what proves that, or shows
    /// that it lies. Either way it is of no use for this blob.
    private mutating func survey(_ id: RequestID, at now: Moment) {
        guard let request = close(id, arrived: false) else { return }
        remove(request.giver, from: request.blob, "holds a blob of another size, or lies")
        // One at a time: whoever is right, the next one shows it as well.
        guard blobs[request.blob]?.survey == nil else { return }
        issue(.surveyList, of: request.blob, to: request.giver, at: now)
    }

    private mutating func take(surveyList bytes: [UInt8], _ id: RequestID, at now: Moment) {
        // Cut off, as by a disk that fails: that proves nothing.
        guard let request = close(id, arrived: true), bytes.count.isMultiple(of: Digest.byteCount) else { return }
        issue(.surveyEnd(Self.digests(bytes)), of: request.blob, to: request.giver, at: now)
    }

    private mutating func take(surveyEnd bytes: [UInt8], after leaves: [Digest], _ id: RequestID, at now: Moment) {
        guard let request = requests[id] else { return }
        // It has dropped the blob meanwhile, or has got another one that its list was not of.
        guard (1...BlobTree.chunkByteCount).contains(bytes.count) else {
            _ = close(id, arrived: true)
            return
        }
        let all = leaves.count > 1 ? leaves : [Digest(hashing: bytes)]
        let byteCount = (all.count - 1) * BlobTree.chunkByteCount + bytes.count
        guard BlobTree.root(of: all, byteCount: byteCount) == request.blob.digest else {
            return lied(id, "no blob of this digest begins or ends like that", at: now)
        }
        guard byteCount != request.blob.byteCount else { return lied(id, "it contradicts itself", at: now) }
        _ = close(id, arrived: true)
        refute(request.blob, byteCount: byteCount)
    }

    private static func digests(_ bytes: [UInt8]) -> [Digest] {
        stride(from: 0, to: bytes.count, by: Digest.byteCount).compactMap {
            Digest(bytes: bytes[$0..<$0 + Digest.byteCount])
        }
    }

    /// A request had no answer.
    package mutating func failed(_ id: RequestID, _ failure: Failure, at now: Moment) {
        guard let peer = requests[id]?.giver else { return }
        switch failure {
        case .tooLong: lied(id, "it sent more bytes than it was asked for", at: now)
        case .refused: dismiss(id, "does not serve blobs")
        case .notConnected:
            _ = close(id, arrived: false)
            disconnected(peer, at: now)
        case .reset, .disconnected:
            _ = close(id, arrived: false)
            strike(peer, 1, pause: .milliseconds(125), "breaks off", at: now)
        case .stalled:
            _ = close(id, arrived: false)
            stalled(peer, at: now)
        }
        schedule(at: now)
    }

    /// A giver has a connection again: blobs that named it may use it.
    package mutating func connected(_ peer: PeerID, at now: Moment) {
        for reference in order {
            guard let standing = blobs[reference]?.absent.removeValue(forKey: peer) else { continue }
            blobs[reference]?.givers[peer] = standing
            if givers[peer] == nil { givers[peer] = BlobGiver() }
        }
        schedule(at: now)
    }

    /// A giver has no connection any more: nothing that it was asked for will come.
    package mutating func disconnected(_ peer: PeerID, at now: Moment) {
        cancelRequests(to: peer)
        for reference in order {
            guard let standing = blobs[reference]?.givers.removeValue(forKey: peer) else { continue }
            blobs[reference]?.absent[peer] = standing
            blobs[reference]?.lastReason = "\(peer.short) is not connected"
        }
        schedule(at: now)
    }

    /// Time has passed.
    package mutating func advance(to now: Moment) {
        for peer in givers.keys.sorted() {
            if let deadline = givers[peer]?.deadline, deadline <= now { stalled(peer, at: now) }
        }
        schedule(at: now)
    }

    /// When `advance` is needed again, if nothing comes before; nil while there is nothing to wait for.
    package var nextDeadline: Moment? {
        var deadline = givers.values.compactMap(\.deadline).min()
        if !blobs.isEmpty, let pause = givers.values.map(\.pausedUntil).filter({ $0 > .zero }).min() {
            deadline = min(deadline ?? pause, pause)
        }
        return deadline
    }

    // MARK: Judging givers

    private mutating func praise(_ peer: PeerID, for reference: BlobReference) {
        givers[peer]?.strikes = 0
        givers[peer]?.pausedUntil = .zero
        blobs[reference]?.givers[peer]?.isProven = true
    }

    /// This giver is of no use for this blob; for others it may be.
    private mutating func dismiss(_ id: RequestID, _ reason: String) {
        guard let request = requests[id] else { return }
        let (reference, peer) = (request.blob, request.giver)
        for other in requests.keys.sorted() where requests[other]?.blob == reference && requests[other]?.giver == peer {
            if other == id { _ = close(other, arrived: false) } else { cancel(other) }
        }
        remove(peer, from: reference, reason)
    }

    private mutating func remove(_ peer: PeerID, from reference: BlobReference, _ reason: String) {
        guard blobs[reference]?.givers.removeValue(forKey: peer) != nil else { return }
        blobs[reference]?.spent.insert(peer)
        blobs[reference]?.lastReason = "\(peer.short) \(reason)"
    }

    private mutating func stalled(_ peer: PeerID, at now: Moment) {
        cancelRequests(to: peer)
        givers[peer]?.meter.add(0, at: now)
        strike(peer, 2, pause: .milliseconds(250), "sends nothing", at: now)
    }

    private mutating func strike(
        _ peer: PeerID, _ weight: Int, pause: Duration, _ reason: String, at now: Moment
    ) {
        givers[peer]?.strike(weight, pause: pause, at: now)
        guard let giver = givers[peer], giver.strikes >= BlobGiver.strikesMax else { return }
        cancelRequests(to: peer)
        givers[peer]?.strikes = 0
        for reference in order { remove(peer, from: reference, reason) }
    }

    private mutating func lied(_ id: RequestID, _ reason: String, at now: Moment) {
        guard let peer = close(id, arrived: false)?.giver else { return }
        accuse(peer, reason, at: now)
    }

    private mutating func accuse(_ peer: PeerID, _ reason: String, at now: Moment) {
        cancelRequests(to: peer)
        for reference in order { remove(peer, from: reference, reason) }
        if distrusted.count >= limits.distrustedMax,
            let oldest = distrusted.min(by: { ($0.value, $0.key) < ($1.value, $1.key) })
        {
            distrusted[oldest.key] = nil
        }
        distrusted[peer] = now + limits.distrust
        put(.lied(peer, reason: reason))
    }

    private mutating func cancelRequests(to peer: PeerID) {
        guard givers[peer]?.requestCount ?? 0 > 0 else { return }
        for id in requests.keys.sorted() where requests[id]?.giver == peer { cancel(id) }
    }
}
