import Compression
import FuzzSupport
import Testing

@testable import OuterSync

/// Means in half precision of contributions in float32, so that what is left over can be told by hand.
@Suite("What encoding a mean leaves over") struct OwnerFeedbackTests {
    private static let fragment = FragmentIndex(0)
    private static let share = TrainingShare(tokens: 10, steps: 10)
    /// Half of the distance between 1 and the next larger half-precision number: it rounds to 1.
    private static let half: Float = 0x1p-11

    /// One tile of 3 values and one of 2.
    private static func layout() throws -> FragmentLayout {
        try FragmentLayout(tensors: [
            TensorDescription(name: "first", shape: [3], block: 0),
            TensorDescription(name: "second", shape: [2], block: 0),
        ])
    }

    private static func workshop(_ store: MemoryStore, decay: Float = 1) throws -> FragmentWorkshop {
        let layout = try layout()
        return FragmentWorkshop(
            layout: layout,
            encoding: PayloadEncoding(contribution: .float32, result: .float16, ownerFeedback: decay),
            rule: OuterRule(learningRate: 1, momentum: 0),
            heads: layout.fragments.map {
                FragmentHead(genesis: [Float](repeating: 0, count: $0.parameterCount), scalars: [0], fragment: $0)
            }, blobs: store, headStore: store)
    }

    /// Averages one contribution of these values for some tiles.
    private static func aggregate(
        _ workshop: FragmentWorkshop, _ store: MemoryStore, _ values: [Float], tiles: [Int] = [0, 1],
        from state: Digest? = nil
    ) throws -> (decoded: [Float], feedback: FeedbackDigests) {
        let fragment = workshop.layout.fragments[0]
        let tiles = tiles.map { TileIndex($0) }
        let bytes = try encodeContribution(
            values, base: workshop.head(Self.fragment).digest, tiles: tiles, of: fragment, codec: .float32)
        let blob = BlobReference(digest: try store.write(bytes), byteCount: bytes.count)
        let result = workshop.run(
            .aggregate(
                fragment: Self.fragment, round: RoundIndex(1), tiles: tiles,
                contributions: [ContributionReference(member: 0, share: share, blob: blob)], feedback: state))
        guard case .aggregated(let reference, [0], [], let feedback?) = result else {
            throw UnexpectedResult(result: result)
        }
        let description = PayloadDescription(
            kind: .result, charterCodec: .float16, fragment: fragment,
            base: workshop.head(Self.fragment).digest, tiles: tiles)
        let bundle = try PayloadBundle(
            decoding: try #require(store.blobs[reference.digest]), expecting: description, of: fragment)
        var decoded: [Float] = []
        var scratch: [Float] = []
        for position in tiles.indices { try bundle.decodeTile(position, scratch: &scratch) { decoded += $0 } }
        return (decoded, feedback)
    }

    private static func digest(_ tiles: [(Int, [Float])]) -> Digest {
        var bytes = Array("atoll owner feedback 1\0".utf8)
        func append(_ word: UInt32) {
            for shift in 0..<4 { bytes.append(UInt8(truncatingIfNeeded: word >> (8 * shift))) }
        }
        append(0)
        append(UInt32(tiles.count))
        for (tile, values) in tiles {
            append(UInt32(tile))
            append(UInt32(values.count))
            for value in values { append(value.bitPattern) }
        }
        return Digest(hashing: bytes)
    }

    @Test func whatIsLeftOverIsSentWithTheNextMean() throws {
        let store = MemoryStore()
        let workshop = try Self.workshop(store)
        let values: [Float] = [1 + Self.half, 2, -1 - Self.half, 0, 1 + Self.half]
        let first = try Self.aggregate(workshop, store, values)
        #expect(first.decoded == [1, 2, -1, 0, 1])
        #expect(first.feedback.before == nil)
        #expect(first.feedback.after == Self.digest([(0, [Self.half, 0, -Self.half]), (1, [0, Self.half])]))
        // Twice the half is a whole step, which half precision has.
        let second = try Self.aggregate(workshop, store, values, from: first.feedback.after)
        #expect(second.decoded == [1 + 2 * Self.half, 2, -1 - 2 * Self.half, 0, 1 + 2 * Self.half])
        #expect(second.feedback.before == first.feedback.after)
        #expect(second.feedback.after == Self.digest([(0, [0, 0, 0]), (1, [0, 0])]))
    }

    @Test func decayWeighsWhatIsLeftOver() throws {
        let store = MemoryStore()
        let workshop = try Self.workshop(store, decay: 0.5)
        let values: [Float] = [1 + Self.half, 0, 0, 0, 0]
        let first = try Self.aggregate(workshop, store, values)
        // 1 + h + h / 2 is nearer to 1 + 2 h.
        let second = try Self.aggregate(workshop, store, values, from: first.feedback.after)
        #expect(second.decoded == [1 + 2 * Self.half, 0, 0, 0, 0])
        #expect(second.feedback.after == Self.digest([(0, [-Self.half / 2, 0, 0]), (1, [0, 0])]))
    }

    @Test func aRestartGoesOnAndALostOrDamagedFileBeginsFromNothing() throws {
        let store = MemoryStore()
        let values: [Float] = [1 + Self.half, 0, 0, 0, 0]
        let first = try Self.aggregate(Self.workshop(store), store, values)
        let second = try Self.aggregate(Self.workshop(store), store, values, from: first.feedback.after)
        #expect(second.feedback.before == first.feedback.after && second.decoded[0] > 1)
        let kept = try #require(store.feedback[Self.fragment])
        for position in stride(from: 0, to: kept.count, by: 5) {
            store.feedback[Self.fragment]?[position] ^= 0x10
            let third = try Self.aggregate(Self.workshop(store), store, values, from: second.feedback.after)
            #expect(third.feedback.before == nil && third.decoded[0] == 1, "byte \(position)")
            store.feedback[Self.fragment] = kept
        }
        store.feedback = [:]
        let lost = try Self.aggregate(Self.workshop(store), store, values, from: second.feedback.after)
        #expect(lost.feedback.before == nil && lost.feedback.after == first.feedback.after)
    }

    @Test func theLedgerSaysWhichResultOfARoundCounted() throws {
        let store = MemoryStore()
        let workshop = try Self.workshop(store)
        let begun = try Self.aggregate(workshop, store, [1 + Self.half, 0, 0, 0, 0])
        // Two attempts of the next round, neither decided.
        // Values of so little are all left over, so every result leaves another state.
        let one = try Self.aggregate(workshop, store, [1, 0x1p-30, 0, 0, 0], from: begun.feedback.after)
        let other = try Self.aggregate(workshop, store, [1, 0x1p-29, 0, 0, 0], from: begun.feedback.after)
        #expect(one.feedback.before == begun.feedback.after && other.feedback.before == begun.feedback.after)
        let kept = store.feedback
        for chosen in [one, other] {
            store.feedback = kept
            let next = try Self.aggregate(workshop, store, [1, 0, 0, 0, 0], from: chosen.feedback.after)
            #expect(next.feedback.before == chosen.feedback.after)
        }
        // A round whose result no commit named: the state from before it.
        store.feedback = kept
        let again = try Self.aggregate(workshop, store, [1 + Self.half, 0, 0, 0, 0], from: begun.feedback.after)
        #expect(again.decoded[0] == 1 + 2 * Self.half)
        // However many attempts: few are kept, and an older one is as good as lost.
        for value in 3..<9 {
            _ = try Self.aggregate(
                workshop, store, [1, Float(value) * 0x1p-30, 0, 0, 0], from: begun.feedback.after)
        }
        let most = OwnerFeedback.byteCountMax(workshop.layout.fragments[0])
        #expect(try #require(store.feedback[Self.fragment]).count <= most)
        #expect(try Self.aggregate(workshop, store, [1, 0, 0, 0, 0], from: one.feedback.after).feedback.before == nil)
    }

    @Test func tilesThatMoveBeginFromNothing() throws {
        let store = MemoryStore()
        let workshop = try Self.workshop(store)
        let values = [Float](repeating: 1 + Self.half, count: 5)
        let all = try Self.aggregate(workshop, store, values)
        // The second tile goes to another owner, and comes back.
        let part = try Self.aggregate(workshop, store, values, tiles: [0], from: all.feedback.after)
        #expect(part.decoded == [Float](repeating: 1 + 2 * Self.half, count: 3))
        #expect(part.feedback == FeedbackDigests(before: all.feedback.after, after: Self.digest([(0, [0, 0, 0])])))
        let back = try Self.aggregate(workshop, store, values, from: part.feedback.after)
        #expect(back.decoded == [1, 1, 1, 1, 1])
    }

    @Test func withoutADiskThereIsNoResult() throws {
        let store = MemoryStore()
        let workshop = try Self.workshop(store)
        _ = try Self.aggregate(workshop, store, [1, 0, 0, 0, 0])
        store.isFull = true
        #expect(throws: (any Error).self) { try Self.aggregate(workshop, store, [1, 0, 0, 0, 0]) }
    }

    @Test func feedbackThatNoResultCanHoldEnds() throws {
        let store = MemoryStore()
        let workshop = try Self.workshop(store)
        let fragment = workshop.layout.fragments[0]
        // A state of values that half precision does not have.
        let description = PayloadDescription(
            kind: .result, charterCodec: .float16, fragment: fragment,
            base: workshop.head(Self.fragment).digest, tiles: [TileIndex(0), TileIndex(1)])
        let bytes = try PayloadBundle.encode(description, of: fragment) { _, output in output.update(repeating: 1) }
        var feedback = OwnerFeedback()
        let state = try feedback.encoded(
            [Float](repeating: 1e30, count: 5), as: bytes, description, of: fragment)
        store.feedback[Self.fragment] = feedback.encoded(Self.fragment)
        let next = try Self.aggregate(workshop, store, [1, 2, 3, 4, 5], from: state)
        #expect(next.decoded == [1, 2, 3, 4, 5] && next.feedback.before == nil)
    }

    @Test func contributionsOfManyAttemptsTakeNoMoreRoomThanAFewFragments() throws {
        var copy = LiveCopy(live: [Float](repeating: 0, count: 5), base: Digest(hashing: [1]), start: [], residual: [])
        let fragment = try Self.layout().fragments[0]
        var digests: [Digest] = []
        for attempt in 0..<40 as Range<UInt8> {
            var rest = SettledResidual()
            rest.tiles[TileIndex(0)] = [1, 2, 3]
            rest.tiles[TileIndex(1)] = [4, Float(attempt)]
            digests.append(Digest(hashing: [attempt]))
            copy.note(rest, of: digests[Int(attempt)])
        }
        #expect(copy.leftOver.count == LiveCopy.fragmentsMax)
        #expect(copy.settled(digests[39], of: fragment)?.tiles[TileIndex(1)] == [4, 39])
        // Of one that made room nothing is left over: it is not sent again, and no value is invented.
        #expect(copy.settled(digests[0], of: fragment)?.tiles[TileIndex(1)] == [0, 0])
        #expect(copy.settled(Digest(hashing: [77]), of: fragment) == nil)
    }
}

extension DecoderFuzzTests {
    /// What an owner keeps on disk: without the digest at its end, which would refuse nearly every change.
    @Test func ownerFeedback() throws {
        var fuzzer = Fuzzer(seed: 22)
        let fragment = try smallLayout().fragments[0]
        let description = PayloadDescription(
            kind: .result, charterCodec: .e3m0, fragment: fragment, base: Digest(hashing: [1]),
            tiles: [TileIndex(0), TileIndex(1)])
        let values = samples(61, 700, 0.01)
        let bytes = try PayloadBundle.encode(description, of: fragment) { tile, output in
            _ = output.update(fromContentsOf: values[tile.range])
        }
        var feedback = OwnerFeedback()
        let state = try feedback.encoded(values, as: bytes, description, of: fragment)
        feedback.begin(from: state)
        _ = try feedback.encoded(values.map { 2 * $0 }, as: bytes, description, of: fragment)
        let whole = feedback.encoded(FragmentIndex(0))
        #expect(OwnerFeedback(decoding: whole, of: fragment)?.start?.digest == state)
        let accepted = fuzzer.run("owner feedback", [Array(whole.dropLast(Digest.byteCount))]) { bytes in
            guard
                let read = OwnerFeedback(decoding: bytes + Digest(hashing: bytes).bytes, of: fragment)
            else { return false }
            #expect(read.made.count <= OwnerFeedback.madeMax)
            return true
        }
        #expect(accepted > 0)
    }
}

@Suite("Low rank in a workshop") struct WarmStartTests {
    /// Gradients whose main direction stays while the rest is noise.
    @Test func aSearchStartsWhereTheLastOneEnded() throws {
        let layout = try FragmentLayout(tensors: [TensorDescription(name: "weight", shape: [96, 100], block: 0)])
        let fragment = layout.fragments[0]
        let codec = Codec.lowRank(rank: 2)
        func error(_ workshop: FragmentWorkshop, _ store: MemoryStore, _ round: UInt64, _ values: [Float]) throws
            -> Double
        {
            workshop.keepSnapshot(FragmentIndex(0), RoundIndex(round), live: values.map { -$0 })
            let result = workshop.run(
                .encodeContribution(
                    fragment: FragmentIndex(0), round: RoundIndex(round), assignment: [[TileIndex(0)]]))
            guard case .contributionEncoded(let blobs, _) = result, let blob = blobs[0] else {
                throw UnexpectedResult(result: result)
            }
            let description = PayloadDescription(
                kind: .contribution, charterCodec: codec, fragment: fragment,
                base: workshop.head(FragmentIndex(0)).digest, tiles: [TileIndex(0)])
            let bundle = try PayloadBundle(
                decoding: try #require(store.blobs[blob.digest]), expecting: description, of: fragment)
            var scratch: [Float] = []
            var squares = 0.0
            try bundle.decodeTile(0, scratch: &scratch) { decoded in
                squares = zip(values, decoded).reduce(0) { $0 + Double(($1.0 - $1.1) * ($1.0 - $1.1)) }
            }
            return squares.squareRoot()
        }
        func workshop(_ store: MemoryStore, feedback: Float) -> FragmentWorkshop {
            FragmentWorkshop(
                layout: layout, encoding: PayloadEncoding(contribution: codec, result: codec, feedback: feedback),
                rule: OuterRule(learningRate: 1, momentum: 0),
                heads: [
                    FragmentHead(
                        genesis: [Float](repeating: 0, count: fragment.parameterCount), scalars: [], fragment: fragment)
                ], blobs: store, headStore: store)
        }
        let left = samples(1, 96, 1)
        let right = samples(2, 100, 1)
        for feedback in [0, 1] as [Float] {
            let store = MemoryStore()
            let warm = workshop(store, feedback: feedback)
            var warmError = 0.0
            var coldError = 0.0
            for round in 1...6 as ClosedRange<UInt64> {
                let noise = samples(10 + round, 9_600, 0.6)
                let values = (0..<9_600).map { noise[$0] + 0.25 * left[$0 / 100] * right[$0 % 100] }
                warmError += try error(warm, store, round, values)
                coldError += try error(workshop(store, feedback: feedback), store, round, values)
            }
            #expect(warmError < coldError, "feedback \(feedback)")
        }
    }
}
