import Compression
import OuterSync
import PeerNet
import Swarm

/// Blobs over the virtual network, fetched by the shipped `BlobFetcher`.
extension Simulator {
    func fetch(
        _ blob: BlobReference, from peers: [PeerID], _ life: Life, _ running: RunningNode
    ) throws(InvariantViolation) {
        let node = nodes[life.node.value]
        if node.disk.blobs[blob.digest] != nil {
            queue.schedule(.input(life, .fetched(blob)), after: .zero)
            return
        }
        running.fetcher.start(blob, from: peers.filter { $0 != node.identity.peerID }, at: now)
        try performFetching(life, running)
    }

    /// Lets something happen to a life's fetcher, and does what it then asks for.
    func advanceFetcher(_ life: Life, _ change: (inout BlobFetcher) -> Void) throws(InvariantViolation) {
        guard let running = running(life) else { return }
        change(&running.fetcher)
        try performFetching(life, running)
    }

    func fetcherDue(_ life: Life, _ moment: Moment) throws(InvariantViolation) {
        guard let running = running(life) else { return }
        if running.fetcherDeadline == moment { running.fetcherDeadline = nil }
        try advanceFetcher(life) { $0.advance(to: now) }
    }

    private func performFetching(_ life: Life, _ running: RunningNode) throws(InvariantViolation) {
        for output in running.fetcher.takeOutputs() {
            switch output {
            case .request(let id, let request, let peer): ask(id, request, peer, life)
            case .cancel, .storeLeaves: break
            case .store(let blob, let chunk, let bytes):
                guard running.arriving[blob, default: [:]].updateValue(bytes, forKey: chunk) == nil else {
                    throw InvariantViolation(
                        .contract, life.node, "stored chunk \(chunk) of \(blob.digest.short) twice")
                }
            case .completed(let blob):
                let chunks = running.arriving.removeValue(forKey: blob) ?? [:]
                let bytes = chunks.sorted { $0.key < $1.key }.flatMap(\.value)
                queue.schedule(.blobStored(life, blob, bytes), after: nodes[life.node.value].syncLatency())
            case .failed(let blob, let reason):
                running.arriving[blob] = nil
                queue.schedule(.input(life, .fetchFailed(blob, reason: reason)), after: .zero)
            case .misnamed(let blob, let byteCount):
                // Every node of a simulation is honest.
                throw InvariantViolation(
                    .contract, life.node,
                    "was told of \(blob.byteCount) bytes of \(blob.digest.short), which has \(byteCount)")
            case .lied(let peer, let reason):
                throw InvariantViolation(.contract, life.node, "called \(peer.short) a liar: \(reason)")
            }
        }
        guard let deadline = running.fetcher.nextDeadline, running.fetcherDeadline.map({ deadline < $0 }) ?? true
        else { return }
        running.fetcherDeadline = deadline
        queue.schedule(.fetcherDue(life, deadline), at: max(deadline, now))
    }

    private func ask(_ id: BlobFetcher.RequestID, _ request: BlobRequest, _ peer: PeerID, _ life: Life) {
        guard let server = world.node(peer) else { return }
        let path = Path(from: life.node, to: server)
        let connection = network.connection(over: path)
        let transfer = BlobTransfer(asker: life, server: server, connection: connection, id: id, request: request)
        guard connection != nil else {
            queue.schedule(.blobFailed(transfer, .notConnected), after: .zero)
            return
        }
        queue.schedule(.blobRequested(transfer), after: network.latency(over: path))
    }

    /// Whether a leg of a transfer gets through; if not, the asker learns by its connection's end or by a timeout.
    private func isAlive(_ transfer: BlobTransfer, leg: Path) -> Bool {
        if network.connection(over: leg) == transfer.connection, network.isOpen(leg) { return true }
        let wait = generator.draw(.milliseconds(10)...(.seconds(10)))
        queue.schedule(.blobFailed(transfer, .disconnected), after: wait)
        return false
    }

    func blobRequested(_ transfer: BlobTransfer) {
        guard isAlive(transfer, leg: transfer.path) else { return }
        let back = transfer.path.reversed
        let request = transfer.request
        let server = nodes[transfer.server.value]
        let asker = world.identities[transfer.asker.node.value].peerID
        let isServed = server.running?.core.mayServe(asker) == true
        let blob = isServed ? server.disk.blobs[request.digest] ?? [] : []
        let content =
            switch request.kind {
            case .content: blob
            case .chunkDigests: blob.isEmpty ? [] : BlobTree.leaves(of: blob).flatMap(\.bytes)
            }
        let start = min(Int(clamping: request.offset), content.count)
        let bytes = Array(content[start...].prefix(Int(clamping: request.byteCountMax)))
        guard !bytes.isEmpty else {
            queue.schedule(.blobArrived(transfer, []), after: network.latency(over: back))
            return
        }
        queue.schedule(.blobArrived(transfer, bytes), at: network.arrival(ofBulk: bytes.count, over: back, at: now))
    }

    func blobArrived(_ transfer: BlobTransfer, _ bytes: [UInt8]) throws(InvariantViolation) {
        guard running(transfer.asker) != nil, isAlive(transfer, leg: transfer.path.reversed) else { return }
        try advanceFetcher(transfer.asker) { $0.received(transfer.id, bytes, at: now) }
        for (giver, record) in running(transfer.asker)?.fetcher.takeTransfers() ?? [] {
            try feed(transfer.asker, .transferred(from: giver, record))
        }
    }

    func blobFailed(_ transfer: BlobTransfer, _ failure: BlobFetcher.Failure) throws(InvariantViolation) {
        try advanceFetcher(transfer.asker) { $0.failed(transfer.id, failure, at: now) }
    }

    func blobStored(_ life: Life, _ blob: BlobReference, _ bytes: [UInt8]) throws(InvariantViolation) {
        guard running(life) != nil else { return }
        let stored: Digest
        do throws(StorageFailure) {
            stored = try nodes[life.node.value].disk.write(bytes)
        } catch { return try feed(life, .fetchFailed(blob, reason: error.reason)) }
        guard stored == blob.digest else {
            throw InvariantViolation(.contract, life.node, "completed \(blob.digest.short) with other bytes")
        }
        try feed(life, .fetched(blob))
    }
}
