import Compression
package import PeerNet

// What comes back from givers, and what that says about them.

extension BlobFetcher {
    /// Some bytes of an answer have arrived; `byteCount` counts from its beginning. Optional, but it makes rates better
    /// known, and keeps slow givers from looking dead.
    package mutating func progressed(_ id: RequestID, byteCount: Int, at now: Moment) {
        guard let request = requests[id], byteCount > request.seen else { return }
        givers[request.giver]?.heard(byteCount - request.seen, ofList: request.chunk == nil, at: now)
        requests[id]?.seen = byteCount
    }

    /// A whole answer has arrived.
    package mutating func received(_ id: RequestID, _ bytes: [UInt8], at now: Moment) {
        progressed(id, byteCount: bytes.count, at: now)
        guard let request = requests[id] else { return }
        if bytes.count > request.byteCount {
            lied(id, "it sent more bytes than it was asked for", at: now)
        } else if bytes.isEmpty {
            dismiss(id, "does not hold it")
        } else if bytes.count < request.byteCount {
            dismiss(id, "sent \(bytes.count) bytes of \(request.byteCount)")
        } else if let chunk = request.chunk {
            take(bytes, asChunk: chunk, id, request, at: now)
        } else {
            take(list: bytes, id, request, at: now)
        }
        schedule(at: now)
    }

    private mutating func take(
        _ bytes: [UInt8], asChunk chunk: Int, _ id: RequestID, _ request: Request, at now: Moment
    ) {
        guard let leaves = blobs[request.blob]?.leaves else { return }
        guard Digest(hashing: bytes) == leaves[chunk] else {
            return lied(id, "its bytes do not match the digest", at: now)
        }
        givers[request.giver]?.answered(
            request.byteCount, after: now - request.issuedAt, wanted: limits.ahead,
            windowMax: limits.requestsPerGiverMax * BlobTree.chunkByteCount)
        _ = close(id, arrived: true)
        praise(request.giver, for: request.blob)
        put(.store(request.blob, chunk: chunk, bytes: bytes))
        blobs[request.blob]?.missingCount -= 1
        if blobs[request.blob]?.missingCount == 0 { complete(request.blob) }
    }

    private mutating func take(list bytes: [UInt8], _ id: RequestID, _ request: Request, at now: Moment) {
        guard let blob = blobs[request.blob] else { return }
        let leaves = stride(from: 0, to: bytes.count, by: Digest.byteCount).compactMap {
            Digest(bytes: bytes[$0..<$0 + Digest.byteCount])
        }
        guard BlobTree.root(of: leaves, byteCount: blob.byteCount) == request.blob else {
            return lied(id, "its chunk digests do not match the digest", at: now)
        }
        _ = close(id, arrived: true)
        praise(request.giver, for: request.blob)
        blobs[request.blob]?.expect(leaves, held: [])
        // The other one that was asked need not answer any more.
        for other in requests.keys.sorted() where requests[other]?.blob == request.blob { cancel(other) }
        put(.storeLeaves(request.blob, leaves))
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
        for digest in order {
            guard let standing = blobs[digest]?.absent.removeValue(forKey: peer) else { continue }
            blobs[digest]?.givers[peer] = standing
            if givers[peer] == nil { givers[peer] = BlobGiver() }
        }
        schedule(at: now)
    }

    /// A giver has no connection any more: nothing that it was asked for will come.
    package mutating func disconnected(_ peer: PeerID, at now: Moment) {
        cancelRequests(to: peer)
        for digest in order {
            guard let standing = blobs[digest]?.givers.removeValue(forKey: peer) else { continue }
            blobs[digest]?.absent[peer] = standing
            blobs[digest]?.lastReason = "\(peer.short) is not connected"
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

    private mutating func praise(_ peer: PeerID, for digest: Digest) {
        givers[peer]?.strikes = 0
        givers[peer]?.pausedUntil = .zero
        blobs[digest]?.givers[peer]?.isProven = true
    }

    /// This giver is of no use for this blob; for others it may be.
    private mutating func dismiss(_ id: RequestID, _ reason: String) {
        guard let request = requests[id] else { return }
        let (digest, peer) = (request.blob, request.giver)
        for other in requests.keys.sorted() where requests[other]?.blob == digest && requests[other]?.giver == peer {
            if other == id { _ = close(other, arrived: false) } else { cancel(other) }
        }
        remove(peer, from: digest, reason)
    }

    private mutating func remove(_ peer: PeerID, from digest: Digest, _ reason: String) {
        guard blobs[digest]?.givers.removeValue(forKey: peer) != nil else { return }
        blobs[digest]?.spent.insert(peer)
        blobs[digest]?.lastReason = "\(peer.short) \(reason)"
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
        for digest in order { remove(peer, from: digest, reason) }
    }

    private mutating func lied(_ id: RequestID, _ reason: String, at now: Moment) {
        guard let peer = close(id, arrived: false)?.giver else { return }
        cancelRequests(to: peer)
        for digest in order { remove(peer, from: digest, reason) }
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
