import Compression
import OuterSync
import Testing

/// What nodes keep where means come a whole round late.
@Suite struct LateFragmentTests {
    private static let rule = OuterRule(learningRate: 0.4, momentum: 0.8)

    @Test func eachModeNamesTheHeadThatItsRoundsAreMeasuredFrom() {
        func heads(_ mode: SyncMode) -> [UInt64] { (1...5).map { mode.measuredFrom(RoundIndex($0)).value } }
        #expect(heads(.windowed) == [0, 1, 2, 3, 4])
        #expect(heads(.fullOverlap) == [0, 1, 1, 2, 3])
        #expect(heads(.eager) == [0, 0, 1, 2, 3])
    }

    /// The copy that follows the head, against the one that makes every eager step itself.
    @Test func theEagerStartIsTheHeadWithTheOwnShareOnTop() throws {
        let fragment = try smallLayout().fragments[0]
        let count = fragment.parameterCount
        var head = FragmentHead(genesis: samples(1, count, 0.5), scalars: [0], fragment: fragment)
        var eager = EagerFragment(head)
        var late = LateFragment(start: head.theta, mode: .eager)
        var lateMean: [Float]?
        for round in 1...6 {
            let live = zip(late.start, samples(UInt64(round), count, 0.01)).map { $0 - $1 }
            let own = zip(late.start, live).map { $0 - $1 }
            if let mean = lateMean { head = try Self.step(head, by: mean, of: fragment) }
            eager.step(own: own, lateMean: lateMean, share: 0.5, rule: Self.rule)
            let turned = late.turn(live: live, theta: head.theta, share: 0.5, rule: Self.rule)
            #expect(turned == late.start)
            for index in 0..<count { #expect(abs(turned[index] - eager.theta[index]) < 1e-5) }
            lateMean = zip(own, samples(UInt64(100 + round), count, 0.01)).map { ($0 + $1) / 2 }
        }
        #expect(late.start != head.theta)
        late.reset(to: head.theta)
        #expect(late == LateFragment(start: head.theta, mode: .eager))
    }

    private static func step(
        _ head: FragmentHead, by mean: [Float], of fragment: FragmentLayout.Fragment
    ) throws -> FragmentHead {
        let tiles = fragment.tiles.indices.map(TileIndex.init)
        let bytes = try encodeContribution(mean, base: head.digest, tiles: tiles, of: fragment, codec: .float32)
        let payload = CommittedPayload(
            tiles: tiles, shares: [TrainingShare(tokens: 10, steps: 1)],
            blob: BlobReference(digest: Digest(ofBlob: bytes), byteCount: bytes.count))
        return try head.advanced(
            by: OuterStepDescription(payloads: [payload], scalars: [1], kind: .contribution), rule: rule,
            codec: .float32, fragment: fragment
        ) { _ in bytes }
    }

    @Test func fullOverlapGoesOnWithTheHeadAlone() {
        var late = LateFragment(start: [1, 2], mode: .fullOverlap)
        #expect(late.turn(live: [0, 0], theta: [5, 6], share: 0.5, rule: Self.rule) == [5, 6])
        #expect(late.start == [5, 6] && late.momentum.isEmpty)
    }

    /// A contribution to a round after the second: the workshop's head has moved on, the copy has not.
    @Test(arguments: [Float(0), 0.9]) func aContributionIsMeasuredFromWhatTheLiveValueWasOverwrittenWith(
        feedback: Float
    ) throws {
        let layout = try smallLayout()
        let node = TestNode(layout, codec: .float32, feedback: feedback, rule: Self.rule)
        let fragment = layout.fragments[0]
        let old = node.workshop.head(fragment.index)
        let live = old.theta.map { $0 - 0.25 }
        let tiles = fragment.tiles.indices.map(TileIndex.init)
        _ = try runRound(
            [node], fragment.index, 1, live: [live], shares: [TrainingShare(tokens: 10, steps: 1)],
            owners: tiles.map { _ in 0 })
        let current = node.workshop.head(fragment.index).digest
        #expect(current != old.digest)

        node.workshop.keepSnapshot(fragment.index, RoundIndex(2), live: live, start: (old.theta, old.digest))
        let stale = node.workshop.run(
            .encodeContribution(fragment: fragment.index, round: RoundIndex(2), assignment: [tiles]))
        guard case .failed = stale else {
            Issue.record("a copy that rests on an older head was taken for a new one: \(stale)")
            return
        }
        let result = node.workshop.run(
            .encodeContribution(
                fragment: fragment.index, round: RoundIndex(2), assignment: [tiles], measuredFrom: old.digest))
        guard case .contributionEncoded(let blobs, _) = result, let blob = try #require(blobs.first) else {
            Issue.record("not encoded: \(result)")
            return
        }
        let bundle = try PayloadBundle(
            decoding: try #require(node.store.read(blob.digest)),
            expecting: PayloadDescription(
                kind: .contribution, charterCodec: .float32, fragment: fragment, base: old.digest, tiles: tiles),
            of: fragment)
        var scratch: [Float] = []
        for position in tiles.indices {
            try bundle.decodeTile(position, scratch: &scratch) { values in
                #expect(values.allSatisfy { abs($0 - 0.25) < 1e-6 })
            }
        }
        let payload = CommittedPayload(tiles: tiles, shares: [TrainingShare(tokens: 10, steps: 1)], blob: blob)
        var step = OuterStepDescription(payloads: [payload], scalars: [2], kind: .contribution)
        guard case .failed = node.workshop.run(.outerStep(fragment: fragment.index, base: current, step: step)) else {
            Issue.record("a step took a contribution that is measured from another head")
            return
        }
        step.measuredFrom = old.digest
        guard case .outerStepped = node.workshop.run(.outerStep(fragment: fragment.index, base: current, step: step))
        else {
            Issue.record("the step fails")
            return
        }
    }
}
