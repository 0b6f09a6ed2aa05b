import Compression
import OuterSync
import Swarm
import Testing

@testable import NodeService

/// Counts what it is asked for; every step adds one to every parameter.
private final class CountingTrainer: FragmentTrainer {
    var live = [Float](repeating: 0, count: 4)
    var isRamping = false

    func step(committedTokens: UInt64) throws(TrainingFailure) -> InnerStepReport {
        for index in live.indices { live[index] += 1 }
        return InnerStepReport(loss: Float(committedTokens), tokens: 10)
    }

    func parameterCount(of fragment: FragmentIndex) -> Int { 4 }

    func readFragment(_ fragment: FragmentIndex, into values: UnsafeMutableBufferPointer<Float>) {
        _ = values.initialize(from: live)
    }

    func blendFragment(
        _ fragment: FragmentIndex, tiles: [TileIndex], theta: UnsafeBufferPointer<Float>, alpha: Float
    ) {
        for tile in tiles { live[tile.value] = alpha * live[tile.value] + (1 - alpha) * theta[tile.value] }
    }

    func replaceFragment(_ fragment: FragmentIndex, theta: UnsafeBufferPointer<Float>) { live = Array(theta) }

    func saveState() -> [TrainerStateSection] {
        [TrainerStateSection(name: "live", bytes: live.map { UInt8(truncatingIfNeeded: Int($0)) })]
    }
}

@Suite struct TrainingThreadTests {
    private static let layout = try? FragmentLayout(tensors: [
        TensorDescription(name: "block", shape: [4], block: 0), TensorDescription(name: "norm", shape: [4], block: nil),
    ])

    private func head(_ value: Float) throws -> FragmentHead {
        let layout = try #require(Self.layout)
        return FragmentHead(genesis: [Float](repeating: value, count: 4), scalars: [0], fragment: layout.fragments[0])
    }

    private static let rule = OuterRule(learningRate: 0.5, momentum: 0)

    /// What was saved by a node whose live value had been overwritten with 2.
    private func late(_ mode: SyncMode) throws -> LateFragments {
        func section(_ name: String, _ value: Float) -> TrainerStateSection {
            TrainerStateSection(
                name: name, bytes: [Float](repeating: value, count: 4).withUnsafeBytes { Array($0) })
        }
        let base = try head(0)
        return try #require(
            LateFragments(
                mode: mode, rule: Self.rule, heads: [base],
                saved: [section("start.0", 2), section("own_momentum.0", 0)]))
    }

    private func start(
        _ mode: SyncMode = .windowed,
        encoding: PayloadEncoding = PayloadEncoding(contribution: .e3m0, result: .e3m0, feedback: 1)
    ) throws -> (TrainingThread, AsyncStream<TrainingEvent>.Iterator) {
        let (stream, continuation) = AsyncStream.makeStream(of: TrainingEvent.self)
        let base = try head(0).digest
        let thread = TrainingThread(
            progress: TrainingProgress(steps: 0, tokens: 0), bases: [base],
            residuals: FragmentResiduals(layout: try #require(Self.layout), encoding: encoding), late: try late(mode),
            committedTokens: 7,
            makeTrainer: { () throws(TrainingFailure) in CountingTrainer() },
            deliver: { event in
                continuation.yield(event)
                if case .ended = event { continuation.finish() }
            })
        return (thread, stream.makeAsyncIterator())
    }

    @Test func `an idle thread still snapshots, applies and saves`() async throws {
        var (thread, events) = try start()
        thread.takeSnapshot(FragmentIndex(0), RoundIndex(1))
        guard
            case .snapshotTaken(_, let round, let values, let residual, nil, let progress, let contributes)? =
                await events.next()
        else {
            Issue.record("no snapshot")
            return
        }
        #expect(
            round == RoundIndex(1) && values == [0, 0, 0, 0] && residual == [0, 0, 0, 0] && progress.steps == 0
                && contributes)
        let newHead = try head(8)
        thread.apply(
            HeadApplication(
                fragment: FragmentIndex(0), round: RoundIndex(1), blendedTiles: [TileIndex(0), TileIndex(2)],
                alpha: 0.5,
                overwrite: false, notBeforeStep: 100), head: newHead, settled: SettledResidual())
        guard case .applied? = await events.next() else {
            Issue.record("a paused trainer reaches no further step, so what waits for one is due")
            return
        }
        thread.requestState()
        guard case .state(let sections, _, let bases)? = await events.next() else {
            Issue.record("no state")
            return
        }
        #expect(sections.first?.bytes == [4, 0, 4, 0])
        #expect(bases == [newHead.digest])
        thread.end()
        guard case .ended? = await events.next() else {
            Issue.record("the thread must end")
            return
        }
    }

    @Test func `what is left over goes into the live value where it stays there, and nowhere else`() async throws {
        let encoding = PayloadEncoding(contribution: .e3m0, result: .e3m0, feedback: 0.5, residualStaysLive: true)
        var (thread, events) = try start(encoding: encoding)
        var settled = SettledResidual()
        settled.tiles[TileIndex(0)] = [4, -4, 0, 2]
        thread.apply(
            HeadApplication(
                fragment: FragmentIndex(0), round: RoundIndex(1), blendedTiles: [0, 1, 2, 3].map(TileIndex.init),
                alpha: 0, overwrite: false, notBeforeStep: 0), head: try head(8), settled: settled)
        thread.takeSnapshot(FragmentIndex(0), RoundIndex(2))
        while let event = await events.next() {
            guard case .snapshotTaken(_, _, let values, let residual, _, _, _) = event else { continue }
            #expect(values == [6, 10, 8, 7] && residual.isEmpty)
            break
        }
        thread.end()
    }

    @Test(arguments: [(SyncMode.fullOverlap, UInt8(8)), (.eager, 7)])
    func `where means come late a copy is measured from its start and then overwritten`(
        mode: SyncMode, next: UInt8
    ) async throws {
        let (old, new) = (try head(0), try head(8))
        var (thread, events) = try start(mode)
        thread.takeSnapshot(
            FragmentIndex(0), RoundIndex(2), turn: SnapshotTurn(head: new, share: 1, settled: SettledResidual()))
        guard case .snapshotTaken(_, _, let copy, _, let start?, _, _)? = await events.next() else {
            Issue.record("no copy with a start")
            return
        }
        #expect(copy == [0, 0, 0, 0] && start.values == [2, 2, 2, 2] && start.head == old.digest)
        thread.requestState()
        guard case .state(let sections, _, let bases)? = await events.next() else {
            Issue.record("no state")
            return
        }
        #expect(bases == [new.digest])
        // Eager: the head less rate x share x (own + no momentum), own being 2 - 0.
        #expect(sections.first { $0.name == "live" }?.bytes == [next, next, next, next])
        let restored = try #require(LateFragments(mode: mode, rule: Self.rule, heads: [old], saved: sections))
        #expect(restored.start(of: FragmentIndex(0)) == [Float](repeating: Float(next), count: 4))
        #expect(LateFragments(mode: mode, rule: Self.rule, heads: [old], saved: [])?.start(of: FragmentIndex(0)) == nil)
        thread.end()
        guard case .ended? = await events.next() else {
            Issue.record("the thread must end")
            return
        }
    }

    @Test func `steps are counted and see the committed tokens`() async throws {
        var (thread, events) = try start()
        thread.resume()
        var steps: UInt64 = 0
        while case .stepped(let progress, let loss, _)? = await events.next() {
            steps += 1
            #expect(progress.steps == steps && progress.tokens == steps * 10)
            #expect(loss == 7)
            if steps == 5 { break }
        }
        thread.pause()
        thread.end()
        while let event = await events.next() { if case .ended = event { return } }
        Issue.record("the thread must end")
    }

    @Test func `a later application never loses an overwrite or a tile that waits`() async throws {
        var (thread, events) = try start()
        // Both wait in the mailbox: a running trainer honours neither before step 1_000_000.
        thread.resume()
        let waits = { (round: UInt64, tiles: [Int], overwrite: Bool) in
            HeadApplication(
                fragment: FragmentIndex(0), round: RoundIndex(round), blendedTiles: tiles.map(TileIndex.init), alpha: 0,
                overwrite: overwrite, notBeforeStep: 1_000_000)
        }
        thread.apply(waits(1, [0], false), head: try head(100), settled: SettledResidual())
        thread.apply(waits(2, [1], false), head: try head(200), settled: SettledResidual())
        thread.pause()
        var applied: [RoundIndex] = []
        while let event = await events.next() {
            if case .applied(_, let round, _) = event {
                applied.append(round)
                break
            }
        }
        thread.requestState()
        while let event = await events.next() {
            guard case .state(let sections, _, _) = event else { continue }
            #expect(sections.first?.bytes.prefix(2) == [200, 200])
            break
        }
        #expect(applied == [RoundIndex(2)])
        thread.end()
    }
}
