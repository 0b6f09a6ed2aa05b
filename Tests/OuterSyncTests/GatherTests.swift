import Compression
import OuterSync
import Testing

/// Everybody averages the contributions that a commit lists.
@Suite struct GatherTests {
    private static let rule = OuterRule(learningRate: 0.7, momentum: 0.9)
    private static let shares = [
        TrainingShare(tokens: 24_000, steps: 30), TrainingShare(tokens: 8_000, steps: 10),
        TrainingShare(tokens: 30_000, steps: 29),
    ]

    /// Three packed contributions, of which the last is so large that its norm is clipped.
    private static func contributions(
        _ codec: Codec, _ fragment: FragmentLayout.Fragment, base: Digest
    ) throws -> [[UInt8]] {
        try (0..<3).map { member in
            try encodeContribution(
                samples(UInt64(40 + member), fragment.parameterCount, member == 2 ? 3 : 0.02), base: base,
                tiles: fragment.tiles.indices.map(TileIndex.init), of: fragment, codec: codec)
        }
    }

    private static func step(
        _ contributions: [[UInt8]], _ fragment: FragmentLayout.Fragment
    ) -> OuterStepDescription {
        OuterStepDescription(
            payloads: zip(contributions, shares).map { bytes, share in
                CommittedPayload(
                    tiles: fragment.tiles.indices.map(TileIndex.init), shares: [share],
                    blob: BlobReference(digest: Digest(ofBlob: bytes), byteCount: bytes.count))
            }, scalars: [1], kind: .contribution)
    }

    private static func blobs(_ contributions: [[UInt8]]) -> [Digest: [UInt8]] {
        Dictionary(uniqueKeysWithValues: contributions.map { (Digest(ofBlob: $0), $0) })
    }

    @Test(arguments: [
        Codec.float32, .e3m0, .topK(kept: 256), .statistical(bits: 2), .lowRank(rank: 2),
    ]) func aGatheredHeadIsTheOneThatAnOwnersExactMeanGives(codec: Codec) throws {
        let fragment = try smallLayout().fragments[0]
        let head = FragmentHead(
            genesis: samples(1, fragment.parameterCount, 0.5), scalars: [0], fragment: fragment)
        let contributions = try Self.contributions(codec, fragment, base: head.digest)
        let blobs = Self.blobs(contributions)
        let gathered = try head.advanced(
            by: Self.step(contributions, fragment), rule: Self.rule, codec: codec, fragment: fragment
        ) { blobs[$0] }

        let tiles = fragment.tiles.indices.map(TileIndex.init)
        var aggregation = Aggregation(
            fragment: fragment, codec: codec, resultCodec: .float32, base: head.digest, tiles: tiles, rule: Self.rule)
        let outcome = try aggregation.run(
            contributions.enumerated().map { .init(member: $0, share: Self.shares[$0], bytes: $1) })
        let result = try #require(outcome.result)
        let scattered = try head.advanced(
            by: OuterStepDescription(
                payloads: [
                    CommittedPayload(
                        tiles: tiles, shares: Self.shares,
                        blob: BlobReference(digest: Digest(ofBlob: result), byteCount: result.count))
                ], scalars: [1]), rule: Self.rule, codec: .float32, fragment: fragment
        ) { _ in result }
        #expect(gathered.digest == scattered.digest)
        #expect(gathered.digest != head.digest && gathered.versions.allSatisfy { $0 == 1 })
    }

    @Test func theOrderOfTheMembersDoesNotMatterToTheMean() throws {
        let fragment = try smallLayout().fragments[0]
        let head = FragmentHead(genesis: samples(1, fragment.parameterCount, 0.5), scalars: [0], fragment: fragment)
        let contributions = try Self.contributions(.e3m0, fragment, base: head.digest)
        let blobs = Self.blobs(contributions)
        var step = Self.step(contributions, fragment)
        let first = try head.advanced(by: step, rule: Self.rule, codec: .e3m0, fragment: fragment) { blobs[$0] }
        step.payloads.reverse()
        let second = try head.advanced(by: step, rule: Self.rule, codec: .e3m0, fragment: fragment) { blobs[$0] }
        #expect(first.digest == second.digest)
    }

    @Test func aCommitThatNamesAnUnfitContributionGivesNoHead() throws {
        let fragment = try smallLayout().fragments[0]
        let head = FragmentHead(genesis: samples(1, fragment.parameterCount, 0.5), scalars: [0], fragment: fragment)
        var contributions = try Self.contributions(.e3m0, fragment, base: head.digest)
        contributions[1] = try Self.contributions(.e3m0, fragment, base: Digest(hashing: [3]))[1]
        let blobs = Self.blobs(contributions)
        let step = Self.step(contributions, fragment)
        #expect(throws: FragmentHead.StepError.self) {
            try head.advanced(by: step, rule: Self.rule, codec: .e3m0, fragment: fragment) { blobs[$0] }
        }
        // A commit that gathers nothing moves nothing.
        let empty = try head.advanced(
            by: OuterStepDescription(payloads: [], scalars: [1], kind: .contribution), rule: Self.rule, codec: .e3m0,
            fragment: fragment
        ) { _ in nil }
        #expect(empty.theta == head.theta && empty.versions == head.versions)
    }

    @Test func theWorkshopTellsUnfitContributionsApart() throws {
        let layout = try smallLayout()
        let node = TestNode(layout, rule: Self.rule)
        let base = node.workshop.head(FragmentIndex(0)).digest
        let contributions = try Self.contributions(.e3m0, layout.fragments[0], base: base)
        func check(_ bytes: [UInt8], share: TrainingShare = Self.shares[0]) throws -> JobResult {
            let digest = try node.store.write(bytes)
            return node.workshop.run(
                .checkContribution(
                    fragment: FragmentIndex(0), base: base,
                    contribution: ContributionReference(
                        member: 0, share: share, blob: BlobReference(digest: digest, byteCount: bytes.count))))
        }
        #expect(try check(contributions[0]) == .payloadChecked(refusal: nil))
        let impossible = TrainingShare(tokens: 1, steps: 2)
        for result in [
            try check(Array(contributions[0].dropLast())), try check([9] + contributions[0]),
            try check(contributions[0], share: impossible),
        ] {
            guard case .payloadChecked(let refusal?) = result else {
                Issue.record("an unfit contribution passed: \(result)")
                continue
            }
            #expect(!refusal.isEmpty)
        }
    }

    @Test func theWorkshopTellsUnfitResultsApart() throws {
        let layout = try smallLayout()
        let node = TestNode(layout, codec: .float32, rule: Self.rule)
        let fragment = layout.fragments[0]
        let base = node.workshop.head(FragmentIndex(0)).digest
        let tiles = fragment.tiles.indices.map(TileIndex.init)
        func check(_ value: Float, kind: PayloadDescription.Kind = .result) throws -> JobResult {
            let description = PayloadDescription(
                kind: kind, charterCodec: .float32, fragment: fragment, base: base, tiles: tiles)
            let bytes = try PayloadBundle.encode(description, of: fragment) { _, output in
                output.update(repeating: value)
            }
            let blob = BlobReference(digest: try node.store.write(bytes), byteCount: bytes.count)
            return node.workshop.run(
                .checkResult(fragment: FragmentIndex(0), base: base, tiles: tiles, resultLevel: 0, blob: blob))
        }
        #expect(try check(PayloadBundle.resultMagnitudeMax) == .payloadChecked(refusal: nil))
        for result in [try check(-0x1p25), try check(1, kind: .contribution)] {
            guard case .payloadChecked(_?) = result else {
                Issue.record("an unfit result passed: \(result)")
                continue
            }
        }
    }
}
