import Checkpoint
import Compression
import OuterSync
import Swarm

/// The blocking file work of a running node besides its journal and the transfer of blobs.
actor SwarmDisk {
    private let executor: ThreadExecutor
    private let folder: SwarmFolder
    private let blobs: BlobFolder

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    init(folder: SwarmFolder, blobs: BlobFolder, executor: ThreadExecutor) {
        self.folder = folder
        self.blobs = blobs
        self.executor = executor
    }

    func drop(_ digest: Digest, askedAt moment: UInt64) { blobs.drop(digest, askedAt: moment) }

    /// Deletes every blob of earlier runs but these.
    func keepOnly(_ digests: [Digest]) { blobs.sweep(keeping: digests) }

    /// Replaces the list of peers.
    func savePeers(_ bytes: [UInt8]) throws { try DurableFile.write(bytes, to: folder.peersPath) }

    /// Replaces the local snapshot, atomically: trainer state, progress and bases belong together.
    func saveState(_ sections: [TrainerStateSection], progress: TrainingProgress, bases: [Digest]) throws {
        try LocalState(sections: sections, progress: progress, bases: bases).write(to: folder.statePath)
    }
}

/// The local snapshot of a node: what it had trained and on which heads that was based.
struct LocalState {
    var sections: [TrainerStateSection]
    var progress: TrainingProgress
    /// Per fragment the digest of the head that the live value is based on.
    var bases: [Digest]

    private static let countersName = "counters"
    private static let basesName = "bases"

    func write(to path: String) throws {
        var counters = withUnsafeBytes(of: progress.steps.littleEndian) { Array($0) }
        counters += withUnsafeBytes(of: progress.tokens.littleEndian) { Array($0) }
        let own = [
            Snapshot.Section(name: Self.countersName, bytes: counters),
            Snapshot.Section(name: Self.basesName, bytes: bases.flatMap(\.bytes)),
        ]
        try Snapshot(sections: own + sections.map { .init(name: $0.name, bytes: $0.bytes) }).write(to: path)
    }

    init(sections: [TrainerStateSection], progress: TrainingProgress, bases: [Digest]) {
        self.sections = sections
        self.progress = progress
        self.bases = bases
    }

    /// Reads a snapshot of a swarm with so many fragments.
    init(readingFrom path: String, fragmentCount: Int) throws {
        let snapshot = try Snapshot(readingFrom: path)
        guard let counters = snapshot[Self.countersName], counters.count == 16, let bytes = snapshot[Self.basesName],
            bytes.count == fragmentCount * Digest.byteCount
        else { throw CheckpointError.damaged(path: path, reason: "it is not the state of a node of this swarm") }
        func number(_ slice: ArraySlice<UInt8>) -> UInt64 { slice.reversed().reduce(0) { $0 << 8 | UInt64($1) } }
        progress = TrainingProgress(steps: number(counters[..<8]), tokens: number(counters[8...]))
        bases = stride(from: 0, to: bytes.count, by: Digest.byteCount).compactMap {
            Digest(bytes: bytes[$0..<$0 + Digest.byteCount])
        }
        sections = snapshot.sections.filter { $0.name != Self.countersName && $0.name != Self.basesName }
            .map { TrainerStateSection(name: $0.name, bytes: $0.bytes) }
    }
}
