import Compression
import OuterSync
import Testing

@testable import PeerNet
@testable import Swarm

/// The digest of a small blob says nothing of its size: what a reference tells may be false, and that is not the fault
/// of those who hold the blob.
@Suite("A false blob size")
struct BlobSizeTests {
    let peers = (1...4).map { testIdentity($0).peerID }
    static let chunk = BlobTree.chunkByteCount

    private func run(_ behaviours: [TestGiver.Behaviour]) -> FetchRun {
        var run = FetchRun(seed: 1)
        for (peer, behaviour) in zip(peers, behaviours) {
            run.add(peer, TestGiver(behaviour: behaviour, bytesPerSecond: 20e6))
        }
        return run
    }

    private func blob(_ byteCount: Int) -> [UInt8] { (0..<byteCount).map { UInt8(truncatingIfNeeded: $0 / 1_000 + 1) } }

    static let provable = [
        [1_000, 999], [1_000, 1], [1_000, 1_001], [1_000, 50_000], [chunk, 100], [chunk - 1, chunk],
        [chunk + 5, 100], [3 * chunk + 5, chunk], [3 * chunk + 5, 3 * chunk + 6], [3 * chunk + 5, 3 * chunk + 4],
        [3 * chunk + 5, 2 * chunk],
    ]

    @Test(arguments: provable) func isProvedByOneGiverAndNobodyIsCalledALiar(sizes: [Int]) {
        var run = run([.honest, .honest, .honest, .honest])
        let blob = blob(sizes[0])
        let digest = run.start(blob, from: peers, byteCount: sizes[1])
        run.run()
        #expect(run.misnamed == [BlobReference(digest: digest, byteCount: sizes[1]): sizes[0]])
        #expect(run.liars.isEmpty && run.completed.isEmpty && run.faults.isEmpty && run.stored.isEmpty)
        #expect(run.requestCounts.values.reduce(0, +) <= 4, "one giver is surveyed: \(run.requestCounts)")
        // They are asked for the true one at once.
        run.start(blob, from: peers)
        run.run()
        #expect(run.completed == [digest] && run.faults.isEmpty)
    }

    @Test(arguments: [[1_000, 2 * chunk], [2 * chunk, 5 * chunk]])
    func thatNothingProvesOnlyFails(sizes: [Int]) {
        var run = run([.honest, .honest, .honest, .honest])
        let digest = run.start(blob(sizes[0]), from: peers, byteCount: sizes[1])
        run.run()
        #expect(run.failures[digest] != nil && run.liars.isEmpty && run.misnamed.isEmpty && run.completed.isEmpty)
        #expect(run.requestCounts.values.allSatisfy { $0 == 1 })
    }

    @Test(arguments: [1_000, 3 * chunk + 5]) func doesNotDisturbTheFetchOfTheTrueSize(byteCount: Int) {
        for falseFirst in [true, false] {
            var run = run([.honest, .honest, .honest])
            let blob = blob(byteCount)
            if falseFirst { run.start(blob, from: peers, byteCount: byteCount - 1) }
            let digest = run.start(blob, from: peers)
            if !falseFirst { run.start(blob, from: peers, byteCount: byteCount - 1) }
            run.run()
            #expect(run.completed == [digest] && run.misnamed.values.elementsEqual([byteCount]))
            #expect(run.liars.isEmpty && run.faults.isEmpty, "\(run.faults)")
        }
    }

    /// A giver cannot make a true size look false, neither by more bytes nor by a list of its own.
    @Test(arguments: [TestGiver.Behaviour.padding, .lying(from: 1), .lyingAboutTheList])
    func isNotBelievedOfALiar(behaviour: TestGiver.Behaviour) {
        for byteCount in [1_000, Self.chunk, 2 * Self.chunk + 1] {
            guard behaviour != .lyingAboutTheList || byteCount > Self.chunk else { continue }
            guard behaviour != .padding || byteCount <= Self.chunk else { continue }
            var run = run([behaviour, .honest])
            let digest = run.start(blob(byteCount), from: peers)
            run.run()
            #expect(run.completed == [digest] && run.misnamed.isEmpty && run.faults.isEmpty)
            // A whole chunk and a byte more could be the beginning of a large blob: that proves nothing.
            let isProved = behaviour != .padding || byteCount < Self.chunk
            #expect(run.liars == (isProved ? [peers[0]] : []))
        }
    }

    @Test func thatALiarConfirmsFailsWithoutBlamingOthers() {
        // The first says what fits no size, the second is honest and proves the size false.
        var run = run([.lying(from: 2), .honest])
        let digest = run.start(blob(1_000), from: peers, byteCount: 10)
        run.run()
        #expect(run.liars == [peers[0]] && run.completed.isEmpty)
        #expect(run.misnamed == [BlobReference(digest: digest, byteCount: 10): 1_000])
    }

    @Test(arguments: [TestGiver.Behaviour.silent, .resetting(oneIn: 1), .notHolding])
    func aGiverThatFallsSilentMeanwhileIsPassedOver(behaviour: TestGiver.Behaviour) {
        var run = run([.honest, .honest])
        let digest = run.start(blob(1_000), from: peers, byteCount: 10)
        run.givers[peers[0]]?.behaviour = behaviour
        run.run()
        #expect(run.misnamed == [BlobReference(digest: digest, byteCount: 10): 1_000] && run.liars.isEmpty)
    }
}
