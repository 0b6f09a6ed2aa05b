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
            layout: layout, encoding: PayloadEncoding(.e3m0), rule: Self.rule, heads: heads, blobs: node.store,
            headStore: node.store)
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

@Suite struct ErrorFeedbackTests {
    /// Two nodes, one tile, 8 bits of the truth lost in every message: under feedback with decay 1 the sum of what was
    /// committed follows the sum of what was meant, and what is missing is the residual.
    @Test func residualsAreSettledByTheCommitAndSentWithTheNextContribution() throws {
        let layout = try smallLayout()
        let rule = OuterRule(learningRate: 1, momentum: 0)
        let node = TestNode(layout, codec: .e3m0, feedback: 1, rule: rule)
        let fragment = FragmentIndex(0)
        let count = layout.fragments[0].parameterCount
        let tiles = layout.fragments[0].tiles.indices.map(TileIndex.init)
        let start = node.workshop.head(fragment).theta
        var residual = [Float](repeating: 0, count: count)
        var meant = [Double](repeating: 0, count: count)
        for round in 1...6 as ClosedRange<UInt64> {
            let head = node.workshop.head(fragment)
            let gradient = samples(round + 9, count, 0.01)
            let live = zip(head.theta, gradient).map { $0 - $1 }
            for index in 0..<count { meant[index] += Double(head.theta[index]) - Double(live[index]) }
            node.workshop.keepSnapshot(fragment, RoundIndex(round), live: live, residual: residual)
            let encoded = node.workshop.run(
                .encodeContribution(fragment: fragment, round: RoundIndex(round), assignment: [tiles]))
            guard case .contributionEncoded(let blobs, _) = encoded, let blob = blobs.first ?? nil else {
                throw UnexpectedResult(result: encoded)
            }
            let share = TrainingShare(tokens: 8, steps: 8)
            let aggregated = node.workshop.run(
                .aggregate(
                    fragment: fragment, round: RoundIndex(round), tiles: tiles,
                    contributions: [ContributionReference(member: 0, share: share, blob: blob)]))
            guard case .aggregated(let result, _, _, _) = aggregated else { throw UnexpectedResult(result: aggregated) }
            let step = OuterStepDescription(
                payloads: [CommittedPayload(tiles: tiles, shares: [share], blob: result)], scalars: [UInt8(round)])
            guard
                case .outerStepped(let next) = node.workshop.run(
                    .outerStep(fragment: fragment, base: head.digest, step: step))
            else { throw UnexpectedResult(result: aggregated) }
            #expect(node.workshop.run(.adopt(fragment: fragment, head: next)) == .adopted)
            #expect(node.workshop.takeSettled(fragment) == SettledResidual())
            node.workshop.releaseSnapshot(fragment, RoundIndex(round), committed: [blob.digest])
            node.workshop.takeSettled(fragment).write(into: &residual, of: layout.fragments[0])
            #expect(residual.contains { $0 != 0 })
        }
        let theta = node.workshop.head(fragment).theta
        for index in 0..<count {
            // Encoding a decoded mean of one member again changes nothing, so all loss is the contributor's.
            let sent = Double(start[index]) - Double(theta[index])
            #expect(abs(sent + Double(residual[index]) - meant[index]) < 2e-6)
        }
    }

    @Test func aContributionThatNoCommitCountsSettlesNothing() throws {
        let layout = try smallLayout()
        let node = TestNode(
            layout, codec: .e3m0, feedback: 0.95, rule: OuterRule(learningRate: 1, momentum: 0))
        let fragment = FragmentIndex(1)
        let count = layout.fragments[1].parameterCount
        node.workshop.keepSnapshot(fragment, RoundIndex(1), live: samples(4, count, 0.1))
        let encoded = node.workshop.run(
            .encodeContribution(fragment: fragment, round: RoundIndex(1), assignment: [[TileIndex(0)]]))
        guard case .contributionEncoded = encoded else { throw UnexpectedResult(result: encoded) }
        node.workshop.releaseSnapshot(fragment, RoundIndex(1), committed: [Digest(hashing: [1])])
        #expect(node.workshop.takeSettled(fragment) == SettledResidual())
    }
}
