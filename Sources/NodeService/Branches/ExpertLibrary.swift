import Compression
import OuterSync
import PeerNet
import Swarm
import Transport

/// The blobs that a node keeps for good, the files of experts and the starts of branches: fetches those that are missing.
actor ExpertLibrary {
    /// How far a fetch is.
    struct Progress: Sendable {
        var heldBytes = 0
        var byteCount = 0
        /// Why something cannot be had; told once, so that the next question tries again.
        var problem: String?

        var isComplete: Bool { heldBytes == byteCount }
    }

    /// Where the blobs are.
    nonisolated let folder: BlobFolder
    private let host: PeerHost
    private let downloads: BlobDownloads
    private let events: NodeDaemon.Queue<BlobDownloads.Event>
    private var underWay: Set<BlobReference> = []
    private var problems: [BlobReference: String] = [:]

    init(folder: BlobFolder, host: PeerHost) {
        self.folder = folder
        self.host = host
        let events = NodeDaemon.Queue<BlobDownloads.Event>()
        self.events = events
        downloads = BlobDownloads(
            folder: folder, ask: BlobDownloads.asking(host), report: { events.add($0) })
    }

    /// Fetches what is missing of some blobs from whoever has it; says how far that is.
    func fetch(_ blobs: [BlobReference], from peers: [PeerID]) async -> Progress {
        var progress = Progress()
        for blob in blobs {
            progress.byteCount += blob.byteCount
            if folder.holds(blob.digest, byteCount: blob.byteCount) {
                progress.heldBytes += blob.byteCount
            } else if let problem = problems.removeValue(forKey: blob) {
                progress.problem = problem
            } else {
                underWay.insert(blob)
                await downloads.fetch(blob, from: peers)
            }
        }
        return progress
    }

    /// A peer is connected.
    func connected(_ peer: PeerID) async { await downloads.connected(peer) }

    /// A peer is connected no more.
    func disconnected(_ peer: PeerID) async { await downloads.disconnected(peer) }

    /// Works until `stop`.
    func run() async {
        await withDiscardingTaskGroup { group in
            group.addTask { await self.downloads.run() }
            for await event in events.stream { await handle(event) }
        }
    }

    /// Ends `run`; what there is of blobs stays.
    func stop() async {
        await downloads.stop()
        events.finish()
    }

    private func handle(_ event: BlobDownloads.Event) async {
        switch event {
        case .fetched(let blob): underWay.remove(blob)
        case .failed(let blob, let reason): end(blob, reason)
        case .misnamed(let blob, let byteCount):
            end(blob, "the blob \(blob.digest.short) has \(byteCount) bytes, not \(blob.byteCount) as was signed")
        case .lied(let peer, let reason): await host.disconnect(peer, reason: "a false blob: \(reason)")
        case .transferred: break
        }
    }

    private func end(_ blob: BlobReference, _ problem: String) {
        if underWay.remove(blob) != nil { problems[blob] = problem }
    }
}
