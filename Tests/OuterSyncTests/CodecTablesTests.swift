import Compression
import Testing

@testable import OuterSync

/// Members that choose codecs for slow links, and owners that take what they chose.
@Suite struct CodecTablesTests {
    private static let fragment = FragmentIndex(0)
    private static let round = RoundIndex(1)
    private static let rule = OuterRule(learningRate: 0.7, momentum: 0.6)
    private static let encoding = PayloadEncoding(
        contribution: .e3m0, result: .e3m0, feedback: 1,
        ladder: [.statistical(bits: 2), .topK(kept: 256), .topK(kept: 64)])

    /// One fragment of four matrices and a norm; the norm is too small for anything but the charter's codec.
    private static func layout() throws -> FragmentLayout {
        try FragmentLayout(
            tensors: (0..<4).map { TensorDescription(name: "m\($0)", shape: [64, 96], block: nil) }
                + [TensorDescription(name: "norm", shape: [64], block: nil)])
    }

    private static func workshop(_ layout: FragmentLayout, _ encoding: PayloadEncoding = encoding) -> (
        FragmentWorkshop, MemoryStore
    ) {
        let store = MemoryStore()
        let heads = layout.fragments.map {
            FragmentHead(genesis: samples(1, $0.parameterCount, 0.5), scalars: [0], fragment: $0)
        }
        return (
            FragmentWorkshop(
                layout: layout, encoding: encoding, rule: rule, heads: heads, blobs: store, headStore: store), store
        )
    }

    /// Live values whose matrices changed by very different amounts.
    private static func live(_ workshop: FragmentWorkshop, seed: UInt64 = 7) -> [Float] {
        let theta = workshop.head(fragment).theta
        let noise = samples(seed, theta.count, 1)
        return theta.indices.map { theta[$0] - noise[$0] * (0.001 + 0.01 * Float($0 / 6144)) }
    }

    private static let owners = (tiles: [[0, 1], [2, 3, 4]].map { $0.map(TileIndex.init) }, count: 2)

    private static func encode(
        _ workshop: FragmentWorkshop, _ room: ContributionRoom, round: RoundIndex = round
    ) throws -> (blobs: [BlobReference], tables: [CodecTable]) {
        workshop.keepSnapshot(fragment, round, live: live(workshop, seed: round.value + 6))
        let result = workshop.run(
            .encodeContribution(fragment: fragment, round: round, assignment: owners.tiles, room: room))
        guard case .contributionEncoded(let blobs, let tables) = result else { throw UnexpectedResult(result: result) }
        return (blobs.compactMap { $0 }, tables.compactMap { $0 })
    }

    @Test func withoutLimitsTheErrorIsThatOfTheCharterAndTheBytesAreNotMore() throws {
        let layout = try Self.layout()
        let (workshop, _) = Self.workshop(layout)
        let (blobs, tables) = try Self.encode(workshop, ContributionRoom())
        #expect(blobs.count == 2 && tables.count == 2)
        for (table, tiles) in zip(tables, Self.owners.tiles) {
            let uniform = PayloadDescription.headerByteCount(tileCount: tiles.count)
            let bytes = tiles.reduce(uniform) { sum, tile in
                sum + Codec.e3m0.byteCount(of: layout.fragments[0].tiles[tile.value].shape)
            }
            #expect(table.byteCount <= bytes + 4 * tiles.count)
            #expect(table.codecs.allSatisfy { !$0.isSparse })
        }
        #expect(tables[1].codecs.last == .e3m0)
    }

    @Test func aNarrowLinkGetsWhatItCarries() throws {
        let layout = try Self.layout()
        let (workshop, store) = Self.workshop(layout)
        let room = ContributionRoom(byteCountMax: 3_600, owners: [.init(), .init()])
        let (blobs, tables) = try Self.encode(workshop, room)
        #expect(tables.reduce(0) { $0 + $1.byteCount } <= 3_600)
        // The entropy stage adds one byte where it can do nothing.
        for (blob, table) in zip(blobs, tables) { #expect(blob.byteCount <= table.byteCount + 1) }
        #expect(Set(tables.flatMap(\.codecs)).count > 1)
        // The owner takes it, and the contributor keeps what was not sent.
        let aggregated = workshop.run(
            .aggregate(
                fragment: Self.fragment, round: Self.round, tiles: Self.owners.tiles[0],
                contributions: [
                    ContributionReference(member: 0, share: TrainingShare(tokens: 10, steps: 10), blob: blobs[0])
                ], resultLevel: 1))
        guard case .aggregated(let blob, [0], [], _) = aggregated else { throw UnexpectedResult(result: aggregated) }
        let step = OuterStepDescription(
            payloads: [
                CommittedPayload(
                    tiles: Self.owners.tiles[0], shares: [TrainingShare(tokens: 10, steps: 10)], blob: blob)
            ], scalars: [1], resultLevel: 1)
        let base = workshop.head(Self.fragment).digest
        let stepped = workshop.run(.outerStep(fragment: Self.fragment, base: base, step: step))
        guard case .outerStepped = stepped else { throw UnexpectedResult(result: stepped) }
        var finer = step
        finer.resultLevel = 0
        guard case .failed = workshop.run(.outerStep(fragment: Self.fragment, base: base, step: finer)) else {
            Issue.record("a result of level 1 passed for one of level 0")
            return
        }
        #expect(store.blobs[blob.digest] != nil)
        workshop.releaseSnapshot(Self.fragment, Self.round, committed: [blobs[0].digest])
        let settled = workshop.takeSettled(Self.fragment)
        #expect(Set(settled.tiles.keys) == Set(Self.owners.tiles[0]))
        #expect(settled.tiles.values.contains { $0.contains { $0 != 0 } })
    }

    @Test func whatNoLinkCarriesIsSentAsCoarselyAsCanBe() throws {
        let (workshop, _) = Self.workshop(try Self.layout())
        let (_, tables) = try Self.encode(
            workshop, ContributionRoom(byteCountMax: 10, owners: [.init(), .init()]))
        #expect(tables[0].codecs == [.topK(kept: 64), .topK(kept: 64)])
        #expect(tables[1].codecs == [.topK(kept: 64), .topK(kept: 64), .e3m0])
    }

    @Test func ownLinkFamiliesAndTheEncoderItselfCount() throws {
        let (workshop, _) = Self.workshop(try Self.layout())
        let (_, tables) = try Self.encode(
            workshop, ContributionRoom(byteCountMax: 10, owners: [nil, .init(families: [1, 4])]))
        #expect(tables[0].codecs == [.e3m0, .e3m0])
        #expect(tables[1].codecs == [.statistical(bits: 2), .statistical(bits: 2), .e3m0])
        let (_, narrow) = try Self.encode(
            workshop, ContributionRoom(owners: [.init(byteCountMax: 700), .init()]), round: RoundIndex(2))
        #expect(narrow[0].byteCount <= 700)
        #expect(narrow[1].codecs.allSatisfy { !$0.isSparse })
    }

    @Test func aTableStaysForSomeRounds() throws {
        let (workshop, _) = Self.workshop(try Self.layout())
        func tables(_ round: UInt64, _ byteCountMax: Int) throws -> [CodecTable] {
            try Self.encode(
                workshop, ContributionRoom(byteCountMax: byteCountMax, owners: [.init(), .init()]),
                round: RoundIndex(round)
            ).tables
        }
        let first = try tables(1, 3_600)
        // More room changes nothing before its time, less room does.
        #expect(try tables(2, 20_000) == first)
        let narrow = try tables(3, 2_000)
        #expect(narrow.reduce(0) { $0 + $1.byteCount } <= 2_000)
        #expect(narrow.allSatisfy { $0.fromRound == RoundIndex(3) })
        for round in 4...6 as ClosedRange<UInt64> { #expect(try tables(round, 20_000) == narrow) }
        let wide = try tables(7, 20_000)
        #expect(wide.allSatisfy { $0.codecs.allSatisfy({ !$0.isSparse }) && $0.fromRound == RoundIndex(7) })
    }

    @Test func anOwnerRefusesWhatTheCharterDoesNotAllow() throws {
        let layout = try Self.layout()
        let (workshop, store) = Self.workshop(layout)
        let fragment = layout.fragments[0]
        let tiles = Self.owners.tiles[1]
        func reason(_ codecs: [Codec]) throws -> String? {
            let description = PayloadDescription(
                kind: .contribution, codecs: codecs, fragment: Self.fragment,
                base: workshop.head(Self.fragment).digest, tiles: tiles)
            let bytes = try PayloadBundle.encode(description, of: fragment) { tile, output in
                _ = output.update(fromContentsOf: samples(3, tile.count, 0.01))
            }
            let blob = BlobReference(digest: try store.write(bytes), byteCount: bytes.count)
            let result = workshop.run(
                .aggregate(
                    fragment: Self.fragment, round: Self.round, tiles: tiles,
                    contributions: [.init(member: 0, share: TrainingShare(tokens: 1, steps: 1), blob: blob)]))
            if case .failed(let reason) = result { return reason }
            return nil
        }
        #expect(try reason([.e3m0, .topK(kept: 64), .e3m0]) == nil)
        // Every codec leaves the small norm to E3M0; nothing of the charter is in half precision.
        #expect(try reason([.e3m0, .topK(kept: 64), .float16]) != nil)
        #expect(try reason([.float16, .e3m0, .e3m0]) != nil)
        #expect(try reason([.topK(kept: 64), .topK(kept: 64), .float32])?.contains("not allowed") == true)
        #expect(try reason([.topK(kept: 128), .e3m0, .e3m0])?.contains("not allowed") == true)
        #expect(try reason([.float32, .float32, .float32]) != nil)
        #expect(try reason([.uniform(bits: 8), .e3m0, .e3m0]) != nil)
    }

    @Test func sizesAreKnownBeforeAnythingIsFetched() throws {
        let fragment = try Self.layout().fragments[0]
        let most = fragment.payloadByteCountMax(Self.encoding)
        #expect(most >= fragment.byteCount(.e3m0) + 1)
        #expect(most <= fragment.byteCount(.e3m0) + 1 + 8 * fragment.tiles.count + 256)
        #expect(Self.encoding.resultCodecs == [.e3m0, .statistical(bits: 2), .topK(kept: 256), .topK(kept: 64)])
        #expect(fragment.byteCount(.statistical(bits: 2)) * 19 < fragment.byteCount(.e3m0) * 10)
    }
}

extension Codec {
    fileprivate var isSparse: Bool { if case .topK = self { true } else { false } }
}
