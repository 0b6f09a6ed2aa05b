import OuterSync
import Swarm

extension NodeDaemon {
    /// An ordered queue with one consumer.
    struct Queue<Element: Sendable>: Sendable {
        let stream: AsyncStream<Element>
        let continuation: AsyncStream<Element>.Continuation

        init() { (stream, continuation) = AsyncStream.makeStream() }

        func add(_ element: Element) { continuation.yield(element) }
        func finish() { continuation.finish() }
    }
}

extension JobResult {
    /// The blobs that a job has written.
    var blobs: [BlobReference] {
        switch self {
        case .contributionEncoded(let blobs, _): blobs.compactMap { $0 }
        case .aggregated(let blob, _, _, _): [blob]
        case .snapshotCaptured(let manifest): manifest.tiles
        case .payloadChecked, .outerStepped, .adopted, .discarded, .snapshotInstalled, .failed: []
        }
    }
}

extension DurableRecord {
    /// Whether a record belongs to one branch's rounds, not to the swarm.
    var isOfRounds: Bool {
        switch self {
        case .slot, .final: true
        case .peer, .admission, .record: false
        }
    }
}
