import Compression
import OuterSync
import Testing

@Suite struct FragmentWorkshopTests {
    private static let rule = OuterRule(learningRate: 0.7, momentum: 0.9)
    private static let share = TrainingShare(tokens: 24_000, steps: 30)
    private static let fragment = FragmentIndex(0)

    private static func drifted(_ head: FragmentHead, _ seed: UInt64) -> [Float] {
        zip(head.theta, samples(seed, head.theta.count, 0.01)).map { $0 - $1 }
    }

    @Test func allNodesHoldTheSameHeadWhoeverOwnsAndWhateverArrivesFirst() throws {
        let layout = try smallLayout()
        var random = SplitMix(70)
        var digests: Set<Digest> = []
        for owners in [[0, 1], [2, 2], [1, 0]] {
            let nodes = try (0..<3).map { _ in TestNode(try smallLayout(), rule: Self.rule) }
            for round in 1...4 as ClosedRange<UInt64> {
                let head = nodes[0].workshop.head(Self.fragment)
                let live = (0..<3).map { Self.drifted(head, 10 * round + $0) }
                _ = try runRound(
                    nodes, Self.fragment, round, live: live, shares: [Self.share, Self.share, Self.share],
                    owners: owners, order: [0, 1, 2].shuffled(using: &random))
            }
            let head = nodes[0].workshop.head(Self.fragment)
            #expect(head.versions == [4, 4] && head.scalars == [4])
            digests.insert(head.digest)
        }
        #expect(digests.count == 1 && layout.fragments.count == 3)
    }

    @Test func anAbsentTileKeepsEveryBitAndItsVersion() throws {
        let nodes = try (0..<2).map { _ in TestNode(try smallLayout(), rule: Self.rule) }
        let shares = [Self.share, Self.share]
        let live = (0..<2).map { Self.drifted(nodes[0].workshop.head(Self.fragment), $0 + 1) }
        _ = try runRound(nodes, Self.fragment, 1, live: live, shares: shares, owners: [0, 1])
        let before = nodes[0].workshop.head(Self.fragment)
        _ = try runRound(nodes, Self.fragment, 2, live: live, shares: shares, owners: [1, nil])
        let after = nodes[0].workshop.head(Self.fragment)
        #expect(after.versions == [2, 1])
        #expect(after.theta[..<100] != before.theta[..<100] && after.velocity[..<100] != before.velocity[..<100])
        #expect(after.theta[100...] == before.theta[100...] && after.velocity[100...] == before.velocity[100...])
        #expect(after.leaves[1] == before.leaves[1] && after.leaves[0] != before.leaves[0])
        _ = try runRound(nodes, Self.fragment, 3, live: live, shares: shares, owners: [nil, nil])
        let empty = nodes[0].workshop.head(Self.fragment)
        #expect(empty.leaves == after.leaves && empty.digest != after.digest)
    }

    @Test func aCandidateTouchesNothingUntilItIsAdopted() throws {
        let node = TestNode(try smallLayout(), rule: Self.rule)
        let base = node.workshop.head(Self.fragment)
        let step = OuterStepDescription(payloads: [], scalars: [9])
        let stepped = node.workshop.run(.outerStep(fragment: Self.fragment, base: base.digest, step: step))
        guard case .outerStepped(let head) = stepped else { throw UnexpectedResult(result: stepped) }
        #expect(node.workshop.head(Self.fragment) == base && node.store.heads.isEmpty)
        #expect(node.workshop.run(.discard(fragment: Self.fragment, head: head)) == .discarded)
        guard case .failed = node.workshop.run(.adopt(fragment: Self.fragment, head: head)) else {
            Issue.record("a discarded candidate was adopted")
            return
        }
        #expect(node.workshop.run(.outerStep(fragment: Self.fragment, base: base.digest, step: step)) == stepped)
        #expect(node.workshop.run(.adopt(fragment: Self.fragment, head: head)) == .adopted)
        #expect(node.workshop.head(Self.fragment).digest == head && node.store.heads[Self.fragment]?.digest == head)
        #expect(node.workshop.run(.adopt(fragment: Self.fragment, head: head)) == .adopted)
        guard case .failed = node.workshop.run(.outerStep(fragment: Self.fragment, base: base.digest, step: step))
        else {
            Issue.record("a step started from a head that is not current")
            return
        }
    }

    @Test func aSnapshotCarriesTheHeadToANodeThatHasNone() throws {
        let layout = try smallLayout()
        let donor = TestNode(layout, rule: Self.rule)
        let live = [Self.drifted(donor.workshop.head(Self.fragment), 5)]
        let digest = try runRound([donor], Self.fragment, 1, live: live, shares: [Self.share], owners: [0, 0])
        let captured = donor.workshop.run(.captureSnapshot(fragment: Self.fragment))
        guard case .snapshotCaptured(let manifest) = captured else { throw UnexpectedResult(result: captured) }
        #expect(manifest.headDigest == digest && manifest.fits(layout.fragments[0]))

        let joiner = TestNode(layout, rule: Self.rule, seed: 99)
        guard case .failed = joiner.workshop.run(.installSnapshot(fragment: Self.fragment, manifest: manifest)) else {
            Issue.record("a snapshot without its chunks was installed")
            return
        }
        for tile in manifest.tiles { joiner.store.blobs[tile.digest] = donor.store.blobs[tile.digest] }
        let first = try #require(manifest.tiles.first?.digest)
        joiner.store.blobs[first]?[20] ^= 1
        guard
            case .failed(let reason) = joiner.workshop.run(
                .installSnapshot(fragment: Self.fragment, manifest: manifest))
        else {
            Issue.record("a changed chunk was installed")
            return
        }
        #expect(reason.contains("changed"))
        joiner.store.blobs[first] = donor.store.blobs[first]
        #expect(
            joiner.workshop.run(.installSnapshot(fragment: Self.fragment, manifest: manifest))
                == .snapshotInstalled(head: digest))
        #expect(joiner.workshop.head(Self.fragment) == donor.workshop.head(Self.fragment))
        #expect(joiner.store.heads[Self.fragment]?.digest == digest)
    }

    @Test func aRestartFromThePersistedHeadsContinuesWithTheSameBits() throws {
        let layout = try smallLayout()
        let node = TestNode(layout, rule: Self.rule)
        let live = [Self.drifted(node.workshop.head(Self.fragment), 5)]
        _ = try runRound([node], Self.fragment, 1, live: live, shares: [Self.share], owners: [0, 0])
        let stored = try #require(node.store.heads[Self.fragment]).encoded(fragment: layout.fragments[0])
        var heads = node.workshop.currentHeads
        heads[0] = try #require(FragmentHead(decoding: stored, fragment: layout.fragments[0]))
        let restarted = FragmentWorkshop(
            layout: layout, codec: .e3m0, rule: Self.rule, heads: heads, blobs: node.store, headStore: node.store)
        let step = OuterStepDescription(payloads: [], scalars: [2])
        let base = node.workshop.head(Self.fragment).digest
        #expect(
            restarted.run(.outerStep(fragment: Self.fragment, base: base, step: step))
                == node.workshop.run(.outerStep(fragment: Self.fragment, base: base, step: step)))
    }

    @Test func aFullDiskFailsTheJobAndChangesNothing() throws {
        let node = TestNode(try smallLayout(), rule: Self.rule)
        let head = node.workshop.head(Self.fragment)
        node.workshop.keepSnapshot(Self.fragment, RoundIndex(1), live: Self.drifted(head, 5))
        let stepped = node.workshop.run(
            .outerStep(
                fragment: Self.fragment, base: head.digest, step: OuterStepDescription(payloads: [], scalars: [1])))
        guard case .outerStepped(let candidate) = stepped else { throw UnexpectedResult(result: stepped) }
        node.store.isFull = true
        let jobs: [Job] = [
            .encodeContribution(fragment: Self.fragment, round: RoundIndex(1), assignment: [[TileIndex(0)]]),
            .captureSnapshot(fragment: Self.fragment), .adopt(fragment: Self.fragment, head: candidate),
        ]
        for job in jobs { #expect(node.workshop.run(job) == .failed(reason: "the disk is full")) }
        #expect(node.workshop.head(Self.fragment) == head)
        node.store.isFull = false
        #expect(node.workshop.run(.adopt(fragment: Self.fragment, head: candidate)) == .adopted)
    }

    @Test func impossibleJobsFailInWords() throws {
        let node = TestNode(try smallLayout(), rule: Self.rule)
        let head = node.workshop.head(Self.fragment)
        let blob = BlobReference(digest: Digest(hashing: [1]), byteCount: 1)
        let share = Self.share
        func step(_ payloads: [[Int]]) -> Job {
            .outerStep(
                fragment: Self.fragment, base: head.digest,
                step: OuterStepDescription(
                    payloads: payloads.map {
                        CommittedPayload(tiles: $0.map(TileIndex.init), shares: [share], blob: blob)
                    }, scalars: []))
        }
        node.workshop.keepSnapshot(Self.fragment, RoundIndex(1), live: Self.drifted(head, 5))
        let jobs: [(Job, String)] = [
            (.captureSnapshot(fragment: FragmentIndex(3)), "no fragment 3"),
            (.captureSnapshot(fragment: FragmentIndex(-1)), "no fragment -1"),
            (.encodeContribution(fragment: Self.fragment, round: RoundIndex(2), assignment: []), "no live copy"),
            (
                .encodeContribution(fragment: Self.fragment, round: RoundIndex(1), assignment: [[TileIndex(2)]]),
                "not ascending tiles"
            ),
            (step([[0]]), "is not here"), (step([[0], [0]]), "in two payloads"),
            (
                .aggregate(fragment: Self.fragment, round: RoundIndex(1), tiles: [TileIndex(0)], contributions: []),
                "no contribution"
            ),
        ]
        for (job, words) in jobs {
            guard case .failed(let reason) = node.workshop.run(job) else {
                Issue.record("\(job) did not fail")
                continue
            }
            #expect(reason.contains(words), "\(reason)")
        }
    }

    @Test func aLiveCopyIsOnlyMeasuredAgainstTheHeadItWasTakenUnder() throws {
        let node = TestNode(try smallLayout(), rule: Self.rule)
        let head = node.workshop.head(Self.fragment)
        node.workshop.keepSnapshot(Self.fragment, RoundIndex(2), live: Self.drifted(head, 5))
        _ = try runRound([node], Self.fragment, 1, live: [head.theta], shares: [Self.share], owners: [0, 0])
        let job = Job.encodeContribution(fragment: Self.fragment, round: RoundIndex(2), assignment: [[TileIndex(0)]])
        guard case .failed(let reason) = node.workshop.run(job) else {
            Issue.record("a stale copy was encoded")
            return
        }
        #expect(reason.contains("taken against"))
    }
}
