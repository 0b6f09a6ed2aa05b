import Compression
import OuterSync
import Testing

@testable import PeerNet
@testable import Swarm

@Suite("A blob fetcher")
struct BlobFetcherTests {
    let peers = (1...6).map { testIdentity($0).peerID }
    let fast = TestGiver(behaviour: .honest, bytesPerSecond: 20e6)

    /// A run with givers of some behaviours at 20 MB/s, the first named first.
    private func run(_ behaviours: [TestGiver.Behaviour], chunks: Int = 12, progress: Bool = true) -> FetchRun {
        var run = FetchRun(seed: 1, reportsProgress: progress)
        for (peer, behaviour) in zip(peers, behaviours) {
            run.add(peer, TestGiver(behaviour: behaviour, bytesPerSecond: 20e6))
        }
        run.start(FetchRun.blob(chunks: chunks), from: Array(peers.prefix(behaviours.count)))
        run.run()
        return run
    }

    @Test(arguments: [1, 2, 3, 40])
    func aBlobOfAnySizeComesWholeAndOnce(chunks: Int) {
        let run = run([.honest, .honest, .honest], chunks: chunks)
        #expect(run.completed.count == 1 && run.faults.isEmpty, "\(run.faults)")
        #expect(run.asked.values.flatMap { $0 }.sorted() == Array(0..<chunks))
    }

    @Test func giversSendInProportionToTheirRates() {
        var run = FetchRun(seed: 1)
        for (peer, rate) in zip(peers, [1e6, 4e6, 16e6]) {
            run.add(peer, TestGiver(behaviour: .honest, bytesPerSecond: rate))
        }
        let begin = run.now
        run.start(FetchRun.blob(chunks: 127), from: Array(peers.prefix(3)))
        run.run()
        let seconds = (run.now - begin).inSeconds
        // At the sum of the rates it would take 6.3 s; the slowest alone sends a chunk in 1.05 s.
        #expect(seconds < 1.15 * 126.0 * 1_048_576 / 21e6, "\(seconds) s")
        #expect(run.asked.values.map(\.count).reduce(0, +) == 127 && run.faults.isEmpty)
        #expect(run.delivered[peers[0]]! < run.delivered[peers[1]]!)
        #expect(run.delivered[peers[1]]! < run.delivered[peers[2]]!)
    }

    @Test func aLongFatLinkIsFilled() {
        var run = FetchRun(seed: 1)
        var giver = TestGiver(behaviour: .honest, bytesPerSecond: 10e6)
        giver.latency = .milliseconds(300)
        run.add(peers[0], giver)
        let begin = run.now
        run.start(FetchRun.blob(chunks: 101), from: [peers[0]])
        run.run()
        let seconds = (run.now - begin).inSeconds
        #expect(seconds < 1.1 * 100 * 1_048_576 / 10e6 && run.completed.count == 1, "\(seconds) s")
    }

    @Test(arguments: [
        TestGiver.Behaviour.lying(from: 1), .lying(from: 2), .lying(from: 4), .lyingAboutTheList, .tooLong,
    ])
    func aLiarIsNamedAtItsFirstLieAndAskedNoMore(behaviour: TestGiver.Behaviour) {
        let run = run([behaviour, .honest, .honest], chunks: 30)
        #expect(run.completed.count == 1 && run.faults.isEmpty, "\(run.faults)")
        #expect(run.liars == [peers[0]])
        let honest = (run.asked[peers[1]] ?? []) + (run.asked[peers[2]] ?? [])
        #expect(Set(honest).count == honest.count, "no chunk is asked of honest givers twice")
    }

    @Test func aLiarIsNotTrustedForOtherBlobsUntilSomeTimeHasPassed() {
        var run = run([.lying(from: 1), .honest])
        run.givers[peers[0]]?.behaviour = .honest
        let other = run.start(FetchRun.blob(chunks: 2, tag: 9), from: [peers[0]])
        #expect(run.failures[other]?.contains("not trusted") == true)
        run.now = run.now + .seconds(601)
        run.start(FetchRun.blob(chunks: 2, tag: 9), from: [peers[0]])
        run.run()
        #expect(run.completed.contains(other))
    }

    @Test(arguments: [TestGiver.Behaviour.notHolding, .refusing, .tooShort, .silent, .resetting(oneIn: 1), .absent])
    func whoIsOfNoUseDelaysNobodyForLong(behaviour: TestGiver.Behaviour) {
        var run = FetchRun(seed: 3)
        for (peer, behaviour) in zip(peers, [behaviour, .honest, .honest]) {
            run.add(peer, TestGiver(behaviour: behaviour, bytesPerSecond: 20e6))
        }
        let begin = run.now
        run.start(FetchRun.blob(chunks: 12), from: Array(peers.prefix(3)))
        run.run()
        #expect(run.completed.count == 1 && run.faults.isEmpty && run.liars.isEmpty, "\(run.faults)")
        #expect((run.now - begin).inSeconds < 20)
        let honest = (run.asked[peers[1]] ?? []) + (run.asked[peers[2]] ?? [])
        #expect(Set(honest).count == honest.count)
    }

    @Test(arguments: [
        [TestGiver.Behaviour.notHolding, .notHolding], [.silent], [.absent, .silent], [.resetting(oneIn: 1)],
        [.lying(from: 1), .tooShort], [],
    ])
    func withNobodyLeftABlobFails(behaviours: [TestGiver.Behaviour]) {
        for chunks in [1, 3] {
            let run = run(behaviours, chunks: chunks)
            #expect(run.failures.count == 1 && run.completed.isEmpty && run.faults.isEmpty, "\(run.faults)")
            #expect(!run.fetcher.hasRequests && run.fetcher.bytesInFlight == 0)
        }
    }

    @Test func aGiverThatDiesLosesOnlyWhatItHadBegun() {
        var run = FetchRun(seed: 1)
        var mortal = fast
        mortal.goesAt = run.now + .seconds(1)
        run.add(peers[0], mortal)
        run.add(peers[1], fast)
        run.start(FetchRun.blob(chunks: 101), from: [peers[0], peers[1]])
        run.run()
        #expect(run.completed.count == 1 && run.faults.isEmpty && run.liars.isEmpty)
        let lost = run.asked[peers[0]]!.count - run.delivered[peers[0], default: 0]
        #expect(lost <= BlobFetcher.Limits().requestsPerGiverMax)
        #expect(run.asked.values.map(\.count).reduce(0, +) == 101 + lost)
    }

    @Test func oneThatJoinsLateHelps() {
        var run = FetchRun(seed: 1)
        run.add(peers[0], TestGiver(behaviour: .honest, bytesPerSecond: 1e6))
        run.add(peers[1], fast)
        let blob = FetchRun.blob(chunks: 51)
        let begin = run.now
        run.start(blob, from: [peers[0]])
        run.run(atMost: .seconds(5))
        run.start(blob, from: [peers[1]])
        run.run()
        #expect(run.completed.count == 1 && run.faults.isEmpty && (run.now - begin).inSeconds < 9)
    }

    @Test func whatAnEarlierStartStoredIsNotFetchedAgain() {
        var run = FetchRun(seed: 1)
        run.add(peers[0], fast)
        let blob = FetchRun.blob(chunks: 40)
        let digest = run.start(blob, from: [peers[0]])
        run.run(atMost: .seconds(1))
        let before = run.stored[digest]!.count
        #expect(before > 5 && before < 35)
        var later = run
        later.fetcher = BlobFetcher()
        later.forgetRequests()
        later.start(blob, from: [peers[0]], resuming: true)
        later.run()
        #expect(later.completed == [digest] && later.faults.isEmpty, "\(later.faults)")
        let askedLater = later.asked[peers[0]]!.dropFirst(run.asked[peers[0]]!.count)
        #expect(askedLater.count == 40 - before)
        // All there already: nothing is asked. A list that does not match is not believed.
        later.fetcher = BlobFetcher()
        later.start(blob, from: [], resuming: true)
        #expect(later.completed == [digest])
        var fetcher = BlobFetcher()
        fetcher.start(
            BlobReference(digest: digest, byteCount: blob.count), from: [peers[0]],
            leaves: Array(run.leaves[digest]!.reversed()), held: Set(0..<40), at: run.now)
        guard case .request(_, let request, _)? = fetcher.takeOutputs().first else { return #expect(Bool(false)) }
        #expect(request.kind == .chunkDigests)
    }

    @Test func smallBlobsDoNotWaitForLargeOnes() {
        var run = FetchRun(seed: 1)
        run.add(peers[0], TestGiver(behaviour: .honest, bytesPerSecond: 4e6))
        let large = run.start(FetchRun.blob(chunks: 60), from: [peers[0]])
        run.run(atMost: .seconds(4))
        let small = run.start([1, 2, 3], from: [peers[0]])
        run.run(atMost: .seconds(2))
        #expect(run.completed == [small])
        run.run()
        #expect(run.completed == [small, large] && run.faults.isEmpty)
    }

    @Test func theFirstNamedIsAskedFirstAndNobodyElseWithoutNeed() {
        let run = run([.honest, .notHolding, .notHolding, .notHolding], chunks: 1)
        #expect(run.asked == [peers[0]: [0]] && run.completed.count == 1)
    }

    @Test func manySmallBlobsAreSpreadOverGivers() {
        var run = FetchRun(seed: 1)
        for peer in peers.prefix(3) { run.add(peer, TestGiver(behaviour: .honest, bytesPerSecond: 2e6)) }
        let begin = run.now
        for tag in 0..<32 {
            run.start([UInt8](repeating: UInt8(tag), count: 500_000), from: Array(peers.prefix(3)))
        }
        run.run()
        #expect(run.completed.count == 32 && run.faults.isEmpty)
        #expect((run.now - begin).inSeconds < 1.3 * 16e6 / 6e6)
    }

    @Test func theBytesInFlightAreBounded() {
        var limits = BlobFetcher.Limits()
        limits.bytesInFlightMax = 4 << 20
        var run = FetchRun(seed: 1, limits: limits)
        for peer in peers { run.add(peer, TestGiver(behaviour: .honest, bytesPerSecond: 100e6)) }
        for tag in 0..<4 { run.start(FetchRun.blob(chunks: 9, tag: UInt8(tag)), from: peers) }
        run.run()
        #expect(run.completed.count == 4 && run.faults.isEmpty && run.inFlightMax < 5 << 20)
    }

    @Test func aBlobCanBeGivenUp() {
        var fetcher = BlobFetcher()
        let blob = BlobReference(digest: Digest(hashing: [1]), byteCount: 10 << 20)
        fetcher.start(blob, from: peers, at: .zero)
        let asked = fetcher.takeOutputs().compactMap { if case .request(let id, _, _) = $0 { id } else { nil } }
        fetcher.stop(blob, at: .zero)
        #expect(Set(fetcher.takeOutputs()) == Set(asked.map { .cancel($0) }))
        #expect(!fetcher.isFetching(blob) && fetcher.bytesInFlight == 0 && fetcher.nextDeadline == nil)
        fetcher.start(BlobReference(digest: blob.digest, byteCount: 1 << 40), from: peers, at: .zero)
        guard case .failed? = fetcher.takeOutputs().first else { return #expect(Bool(false)) }
    }

    /// Any mixture of givers, with and without progress reports, that come and go: what has a faithful giver completes,
    /// is right and no chunk is asked of faithful givers twice; nobody honest is called a liar.
    @Test(arguments: 0..<120)
    func whateverTheGiversDoTheBlobComesWholeIfOneIsFaithful(seed: Int) {
        var run = FetchRun(seed: UInt64(seed), reportsProgress: seed % 3 != 0)
        var random = SplitMix64(seed: UInt64(seed) &+ 77)
        func draw(_ count: Int) -> Int { Int(random.next() % UInt64(count)) }
        var faithful: [PeerID] = []
        var hostile: Set<PeerID> = []
        for (index, peer) in peers.enumerated() {
            let choices: [TestGiver.Behaviour] = [
                .honest, .lying(from: 1 + draw(6)), .lyingAboutTheList, .tooLong, .tooShort, .silent, .notHolding,
                .resetting(oneIn: 1 + draw(5)), .honest, .absent, .refusing,
            ]
            let behaviour = index == seed % peers.count ? .honest : choices[draw(choices.count)]
            var giver = TestGiver(behaviour: behaviour, bytesPerSecond: [0.2e6, 1e6, 5e6, 50e6][draw(4)])
            giver.latency = .milliseconds(1 + draw(400))
            if behaviour == .honest, index != seed % peers.count, draw(2) == 0 {
                giver.goesAt = run.now + .milliseconds(draw(5_000))
                if draw(2) == 0 { giver.comesAt = run.now + .milliseconds(5_001 + draw(5_000)) }
            } else if behaviour == .honest {
                faithful.append(peer)
            }
            if behaviour == .absent { giver.comesAt = run.now + .milliseconds(draw(3_000)) }
            switch behaviour {
            case .lying, .lyingAboutTheList, .tooLong: hostile.insert(peer)
            default: break
            }
            run.add(peer, giver)
        }
        for tag in 0..<(1 + draw(3)) { run.start(FetchRun.blob(chunks: 1 + draw(12), tag: UInt8(tag)), from: peers) }
        run.run()
        #expect(run.failures.isEmpty && run.completed.count == run.blobs.count && run.faults.isEmpty, "\(run.faults)")
        #expect(run.liars.isSubset(of: hostile))
        #expect(!run.fetcher.hasRequests && run.fetcher.bytesInFlight == 0)
        if run.blobs.count == 1 {
            let asked = faithful.flatMap { run.asked[$0] ?? [] }
            #expect(Set(asked).count == asked.count, "a chunk was asked of faithful givers twice")
        }
    }
}
