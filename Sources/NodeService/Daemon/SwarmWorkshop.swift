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
        layout: FragmentLayout, encoding: PayloadEncoding, rule: OuterRule, heads: [FragmentHead], blobs: BlobFolder,
        headFolder: HeadFolder,
        executor: ThreadExecutor
    ) {
        self.executor = executor
        workshop = FragmentWorkshop(
            layout: layout, encoding: encoding, rule: rule, heads: heads, blobs: blobs, headStore: headFolder)
    }

    func run(_ job: Job) -> JobResult { workshop.run(job) }

    func keepSnapshot(
        _ fragment: FragmentIndex, _ round: RoundIndex, live: [Float], residual: [Float], start: SnapshotStart?
    ) {
        workshop.keepSnapshot(
            fragment, round, live: live, residual: residual, start: start.map { ($0.values, $0.head) })
    }

    func releaseSnapshot(_ fragment: FragmentIndex, _ round: RoundIndex, committed: [Digest]) {
        workshop.releaseSnapshot(fragment, round, committed: committed)
    }

    /// What an application needs: the current head, and what its commit has settled of the residual.
    func takeApplication(_ fragment: FragmentIndex) -> (head: FragmentHead, settled: SettledResidual) {
        (workshop.head(fragment), workshop.takeSettled(fragment))
    }
}
