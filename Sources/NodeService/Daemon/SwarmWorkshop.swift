import Compression
import OuterSync
import Swarm

/// Runs the arithmetic of rounds on a thread of its own, beside training.
actor SwarmWorkshop {
    private let executor: ThreadExecutor
    private let workshop: FragmentWorkshop

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// Takes over the heads.
    init(
        layout: FragmentLayout, codec: Codec, rule: OuterRule, heads: [FragmentHead], blobs: BlobFolder,
        headFolder: HeadFolder,
        executor: ThreadExecutor
    ) {
        self.executor = executor
        workshop = FragmentWorkshop(
            layout: layout, codec: codec, rule: rule, heads: heads, blobs: blobs, headStore: headFolder)
    }

    func run(_ job: Job) -> JobResult { workshop.run(job) }

    func keepSnapshot(_ fragment: FragmentIndex, _ round: RoundIndex, live: [Float]) {
        workshop.keepSnapshot(fragment, round, live: live)
    }

    func releaseSnapshot(_ fragment: FragmentIndex, _ round: RoundIndex) { workshop.releaseSnapshot(fragment, round) }

    func head(_ fragment: FragmentIndex) -> FragmentHead { workshop.head(fragment) }
}
