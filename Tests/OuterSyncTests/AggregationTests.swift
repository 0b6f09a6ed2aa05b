import Compression
import OuterSync
import Testing

@Suite struct AggregationTests {
    private static let base = Digest(hashing: [7])
    private static let share = TrainingShare(tokens: 24_000, steps: 30)

    private static func fragment() throws -> FragmentLayout.Fragment { try smallLayout().fragments[0] }

    /// A packed contribution of some values for all tiles.
    private static func contribution(
        _ member: Int, _ values: [Float], share: TrainingShare = share, codec: Codec = .e3m0, base: Digest = base
    ) throws -> Aggregation.Contribution {
        let fragment = try fragment()
        let description = PayloadDescription(
            kind: .contribution, codec: codec, fragment: fragment.index, base: base,
            tiles: fragment.tiles.indices.map(TileIndex.init))
        let bytes = try PayloadBundle.encode(description, of: fragment) { tile, output in
            _ = output.update(fromContentsOf: values[tile.range])
        }
        return Aggregation.Contribution(member: member, share: share, bytes: bytes)
    }

    private static func run(
        _ contributions: [Aggregation.Contribution], codec: Codec = .e3m0
    ) throws -> (Aggregation.Outcome, [Float]) {
        let fragment = try fragment()
        let tiles = fragment.tiles.indices.map(TileIndex.init)
        var aggregation = Aggregation(
            fragment: fragment, codec: codec, base: base, tiles: tiles,
            rule: OuterRule(learningRate: 0.7, momentum: 0.9))
        let outcome = try aggregation.run(contributions)
        var mean: [Float] = []
        if let result = outcome.result {
            let description = PayloadDescription(
                kind: .result, codec: codec, fragment: fragment.index, base: base, tiles: tiles)
            let bundle = try PayloadBundle(decoding: result, expecting: description, of: fragment)
            var scratch: [Float] = []
            for position in tiles.indices { try bundle.decodeTile(position, scratch: &scratch) { mean += $0 } }
        }
        return (outcome, mean)
    }

    @Test func theMeanIsExactAndFreeOfOrder() throws {
        let values = (0..<4).map { samples(UInt64(20 + $0), 700, 0.01) }
        let contributions = try values.enumerated().map { try Self.contribution($0, $1, codec: .float32) }
        let (reference, mean) = try Self.run(contributions, codec: .float32)
        #expect(reference.members == [0, 1, 2, 3] && reference.refused.isEmpty)
        for index in 0..<700 {
            let exact = values.reduce(0.0) { $0 + Double($1[index]) } / 4
            #expect(abs(Double(mean[index]) - exact) <= Double(Float(exact).ulp) * 0.51 + 0x1p-50)
        }
        var random = SplitMix(9)
        for _ in 0..<8 {
            let (outcome, _) = try Self.run(contributions.shuffled(using: &random), codec: .float32)
            #expect(outcome.result == reference.result)
        }
    }

    @Test func aLoneContributorsMeanIsItsOwnMessage() throws {
        let contribution = try Self.contribution(2, samples(30, 700, 0.02))
        let (outcome, mean) = try Self.run([contribution])
        #expect(outcome.members == [2])
        let again = try Self.contribution(0, mean)
        #expect(try Self.run([again]).1 == mean)
    }

    @Test func unfitContributionsAreRefusedWithTheirReason() throws {
        let good = try Self.contribution(0, samples(31, 700, 0.01))
        var missing = good
        (missing.member, missing.bytes) = (1, nil)
        var impossible = good
        (impossible.member, impossible.share) = (2, TrainingShare(tokens: 3, steps: 4))
        let stale = try Self.contribution(3, samples(31, 700, 0.01), base: Digest(hashing: [8]))
        let huge = try Self.contribution(4, samples(31, 700, 1e6))
        var cut = good
        cut.member = 5
        cut.bytes?.removeLast()
        let (outcome, mean) = try Self.run([cut, huge, stale, impossible, missing, good, good])
        #expect(outcome.members == [0])
        #expect(outcome.refused.map(\.member) == [0, 1, 2, 3, 4, 5])
        let words = ["twice", "not here", "impossible", "header", "above", "packed"]
        for (refused, word) in zip(outcome.refused, words) {
            #expect(refused.reason.contains(word), "\(refused.reason)")
        }
        #expect(try Self.run([good]).1 == mean)
        #expect(try Self.run([missing]).0.result == nil)
    }

    @Test func aNormFarAboveTheMedianIsClippedToFourTimes() throws {
        let values = (0..<3).map { samples(UInt64(40 + $0), 700, 0.01) }
        let honest = try values.enumerated().map { try Self.contribution($0, $1, codec: .float32) }
        let shout = try Self.contribution(3, samples(43, 700, 100), codec: .float32)
        let (_, mean) = try Self.run(honest + [shout], codec: .float32)
        let norm = mean.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
        let one = values[0].reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
        // A quarter of four times the median, and the three others.
        #expect(norm > 0.8 * one && norm < 2 * one)
    }

    @Test func normsAreComparedPerStepSoThatAFastNodeIsNotClipped() throws {
        let slow = TrainingShare(tokens: 2_400, steps: 3)
        let fast = TrainingShare(tokens: 48_000, steps: 60)
        let contributions = [
            try Self.contribution(0, samples(50, 700, 0.001), share: slow, codec: .float32),
            try Self.contribution(1, samples(51, 700, 0.001), share: slow, codec: .float32),
            try Self.contribution(2, samples(52, 700, 0.02), share: fast, codec: .float32),
        ]
        let (_, mean) = try Self.run(contributions, codec: .float32)
        let coefficients = Coefficients([slow, slow, fast], cap: 4).fixed.map { Double($0) / 0x1p24 }
        let values = [samples(50, 700, 0.001), samples(51, 700, 0.001), samples(52, 700, 0.02)]
        for index in 0..<700 {
            let expected = zip(values, coefficients).reduce(0.0) { $0 + Double($1.0[index]) * $1.1 }
            #expect(abs(Double(mean[index]) - expected) < 1e-9)
        }
    }

    @Test func zerosAreAContributionAndClipNobody() throws {
        let zeros = [Float](repeating: 0, count: 700)
        let contributions = [try Self.contribution(0, zeros), try Self.contribution(1, zeros)]
        #expect(try Self.run(contributions).1 == zeros)
        let third = try Self.contribution(2, samples(53, 700, 0.01))
        let (outcome, mean) = try Self.run(contributions + [third])
        #expect(outcome.members == [0, 1, 2] && mean.contains { $0 != 0 })
    }
}

@Suite struct PayloadBundleTests {
    private static func bundle() throws -> ([UInt8], PayloadDescription, FragmentLayout.Fragment) {
        let fragment = try smallLayout().fragments[0]
        let description = PayloadDescription(
            kind: .contribution, codec: .e3m0, fragment: fragment.index, base: Digest(hashing: [1]),
            tiles: [TileIndex(0), TileIndex(1)])
        let values = samples(60, 700, 0.01)
        let bytes = try PayloadBundle.encode(description, of: fragment) { tile, output in
            _ = output.update(fromContentsOf: values[tile.range])
        }
        return (bytes, description, fragment)
    }

    private static func decodes(
        _ bytes: [UInt8], _ description: PayloadDescription, _ fragment: FragmentLayout.Fragment
    ) -> [Float]? {
        guard let bundle = try? PayloadBundle(decoding: bytes, expecting: description, of: fragment) else { return nil }
        var values: [Float] = []
        var scratch: [Float] = []
        for position in description.tiles.indices {
            guard (try? bundle.decodeTile(position, scratch: &scratch) { values += $0 }) != nil else { return nil }
        }
        return values
    }

    @Test func aPayloadForAnythingElseIsRefused() throws {
        let (bytes, description, fragment) = try Self.bundle()
        #expect(Self.decodes(bytes, description, fragment)?.count == 700)
        let others: [(inout PayloadDescription) -> Void] = [
            { $0.kind = .result }, { $0.codecs = [.float32, .float32] }, { $0.codecs = [.e3m0, .float32] },
            { $0.codecs = [.e3m0] }, { $0.fragment = FragmentIndex(1) },
            { $0.base = Digest(hashing: [2]) }, { $0.tiles = [TileIndex(1)] },
            { $0.tiles = [TileIndex(1), TileIndex(0)] },
            { $0.tiles = [TileIndex(0), TileIndex(2)] },
        ]
        for change in others {
            var other = description
            change(&other)
            #expect(Self.decodes(bytes, other, fragment) == nil)
        }
    }

    @Test func everyTruncationIsRefusedAndEveryChangeIsRefusedOrFinite() throws {
        let (packed, description, fragment) = try Self.bundle()
        let byteCount = PayloadDescription.headerByteCount(tileCount: 2) + 132 + 3 * 132
        let stored = [0] + (try EntropyStage.unpack(packed, rawByteCount: byteCount))
        let original = try #require(Self.decodes(packed, description, fragment))
        #expect(Self.decodes(stored, description, fragment) == original)
        for bytes in [packed, stored] {
            for count in 0..<bytes.count { #expect(Self.decodes(Array(bytes[..<count]), description, fragment) == nil) }
            for index in bytes.indices {
                var changed = bytes
                changed[index] ^= 0x81
                if let values = Self.decodes(changed, description, fragment) {
                    #expect(values.allSatisfy(\.isFinite) && values.count == 700)
                }
            }
        }
        // In the stored form nothing in the header may change.
        for index in 0..<1 + PayloadDescription.headerByteCount(tileCount: 2) {
            var changed = stored
            changed[index] ^= 0x81
            #expect(Self.decodes(changed, description, fragment) == nil)
        }
    }

    @Test func aLayoutsPayloadSizeIsTheFormulas() throws {
        let fragment = try FragmentLayout(
            tensors: [TensorDescription(name: "weight", shape: [1 << 16], block: nil)]
        ).fragments[0]
        let description = PayloadDescription(
            kind: .result, codec: .e3m0, fragment: fragment.index, base: Digest(hashing: [1]), tiles: [TileIndex(0)])
        let values = samples(61, 1 << 16, 0.01)
        let packed = try PayloadBundle.encode(description, of: fragment) { tile, output in
            _ = output.update(fromContentsOf: values[tile.range])
        }
        let raw = try EntropyStage.unpack(packed, rawByteCount: 56 + 33 * (1 << 10))
        // 4.125 bits per value and a header of 52 bytes and 4 per tile.
        #expect(raw.count == 56 + 33 * (1 << 16) / 64 && packed.count < raw.count)
        #expect(fragment.payloadByteCountMax(PayloadEncoding(.e3m0)) == 1 + raw.count)
        #expect(fragment.chunkByteCountMax == 8 + 8 * (1 << 16))
    }
}
