package import Compression
import NumericsBaseline

/// Averages the contributions of one round for some tiles: exact integer sums, so the result depends on the set of
/// contributions alone, never on their order.
///
/// Per tile, with S the largest magnitude among the included values, the quantum is q = 2^(floor(log2 S) - 44). A value
/// times its coefficient c (an integer w = c 2^24, at most 2^28) is rounded to a multiple of q: the float64 product of a
/// 24-bit significand and a 29-bit integer is exact, and at most 2^(45 + 4) q. Sums of at most 2^13 of them stay
/// below 2^62, inside Int64. The sum times q, rounded to float32, is the mean, which the codec encodes once.
package struct Aggregation {
    /// One contribution as it arrived.
    package struct Contribution {
        /// The contributor's position among the round's members.
        package var member: Int
        /// Its training.
        package var share: TrainingShare
        /// The payload's bytes, from anywhere; nil if they are not here.
        package var bytes: [UInt8]?

        /// Wraps the fields.
        package init(member: Int, share: TrainingShare, bytes: [UInt8]?) {
            self.member = member
            self.share = share
            self.bytes = bytes
        }
    }

    /// What came of it.
    package struct Outcome {
        /// The packed result payload, or nil where no contribution was fit.
        package var result: [UInt8]?
        /// The members in it, ascending.
        package var members: [Int]
        /// Those left out, ascending by member.
        package var refused: [RefusedContribution]
        /// What was encoded, residual included: the values of the tiles, one tile after the other.
        package var encoded: [Float] = []
    }

    /// A contribution that passed, with what was measured of it.
    private struct Checked {
        var member: Int
        var share: TrainingShare
        var bundle: PayloadBundle
        /// Per tile the largest magnitude.
        var magnitudes: [Float]
        /// Root of the sum of squares over its tiles, per inner step.
        var normPerStep: Double
    }

    private let fragment: FragmentLayout.Fragment
    private let contributed: PayloadDescription
    private let resultCodec: Codec
    private let rule: OuterRule
    /// Where contributors choose their codecs: among which, and the most bytes that this makes.
    private let choice: (encoding: PayloadEncoding, byteCountMax: Int)?
    private var scratch: [Float] = []
    /// What the encoder of the mean keeps of earlier ones, by tile.
    package var memories: [TileIndex: EncoderMemory] = [:]

    /// Prepares to average contributions against one base.
    ///
    /// - Parameter resultCodec: encodes the mean; nil: as contributions are.
    package init(
        fragment: FragmentLayout.Fragment, codec: Codec, resultCodec: Codec? = nil, base: Digest, tiles: [TileIndex],
        rule: OuterRule
    ) {
        self.fragment = fragment
        self.rule = rule
        self.resultCodec = resultCodec ?? codec
        choice = nil
        contributed = PayloadDescription(
            kind: .contribution, charterCodec: codec, fragment: fragment, base: base, tiles: tiles)
    }

    /// Prepares to average contributions whose makers chose each tile's codec from the charter's ladder.
    ///
    /// - Parameter resultCodec: encodes the mean.
    package init(
        fragment: FragmentLayout.Fragment, encoding: PayloadEncoding, resultCodec: Codec, base: Digest,
        tiles: [TileIndex], rule: OuterRule
    ) {
        self.fragment = fragment
        self.rule = rule
        self.resultCodec = resultCodec
        contributed = PayloadDescription(
            kind: .contribution, charterCodec: encoding.contribution, fragment: fragment, base: base, tiles: tiles)
        let known = fragment.tiles(at: tiles) ?? []
        choice =
            encoding.ladder.isEmpty
            ? nil : (encoding, fragment.rawContributionByteCountMax(encoding, tiles: known))
    }

    /// Checks, weighs and averages.
    ///
    /// - Parameter residual: what the owner's own encoding has left over, [parameterCount] float32 in the fragment's order; it is added to the
    ///   mean before that is encoded. Empty: the owner keeps none.
    /// - Complexity: O(contributions × parameters); holds the unpacked payloads and one tile's sums.
    package mutating func run(
        _ contributions: [Contribution], adding residual: [Float] = []
    ) throws(PayloadError) -> Outcome {
        let (checked, refused) = checkAll(contributions)
        guard !checked.isEmpty else { return Outcome(result: nil, members: [], refused: refused) }
        var encoded: [Float] = []
        let result = try average(checked, weights: weights(checked), residual: residual, encoded: &encoded)
        return Outcome(result: result, members: checked.map(\.member), refused: refused, encoded: encoded)
    }

    /// The same mean as float32 values, unencoded, where everybody averages.
    ///
    /// - Parameter body: receives every tile with its mean, in order.
    /// - Returns: those left out, ascending by member; nothing is averaged unless this is empty.
    package mutating func average(
        _ contributions: [Contribution], _ body: (FragmentLayout.Tile, UnsafeBufferPointer<Float>) -> Void
    ) throws(PayloadError) -> [RefusedContribution] {
        let (checked, refused) = checkAll(contributions)
        guard !checked.isEmpty, refused.isEmpty else { return refused }
        guard let tiles = fragment.tiles(at: contributed.tiles) else { throw .badTiles }
        let weights = weights(checked)
        var sums = [Int64](repeating: 0, count: tiles.map(\.count).max() ?? 0)
        var mean = [Float](repeating: 0, count: sums.count)
        for (position, tile) in tiles.enumerated() {
            var failure: PayloadError?
            mean.withUnsafeMutableBufferPointer { mean in
                let mean = UnsafeMutableBufferPointer(rebasing: mean[..<tile.count])
                do throws(PayloadError) {
                    try writeMean(checked, weights, of: tile, at: position, sums: &sums, to: mean)
                    body(tile, UnsafeBufferPointer(mean))
                } catch { failure = error }
            }
            if let failure { throw failure }
        }
        return []
    }

    /// Why a contribution would be left out, whatever the others are; nil: it would not.
    package mutating func refusal(of contribution: Contribution) -> String? {
        do throws(Refusal) {
            _ = try check(contribution)
            return nil
        } catch { return error.reason }
    }

    /// Sorts out what can be averaged.
    private mutating func checkAll(
        _ contributions: [Contribution]
    ) -> (checked: [Checked], refused: [RefusedContribution]) {
        var checked: [Checked] = []
        var refused: [RefusedContribution] = []
        for contribution in contributions.sorted(by: { $0.member < $1.member }) {
            if checked.last?.member == contribution.member {
                refused.append(RefusedContribution(member: contribution.member, reason: "it contributed twice"))
                continue
            }
            do throws(Refusal) {
                guard checked.count < Coefficients.contributorCountMax else { throw Refusal("the mean is full") }
                checked.append(try check(contribution))
            } catch { refused.append(RefusedContribution(member: contribution.member, reason: error.reason)) }
        }
        return (checked, refused)
    }

    /// The coefficients of checked contributions, norm clipping included.
    private func weights(_ checked: [Checked]) -> [UInt32] {
        Coefficients(
            checked.map(\.share), cap: rule.weightCap, weighting: rule.weighting,
            clips: Self.clips(checked.map(\.normPerStep), cap: rule.weightCap)
        ).fixed
    }

    /// Why one contribution is left out.
    private struct Refusal: Error {
        var reason: String
        init(_ reason: String) { self.reason = reason }
    }

    /// Decodes one contribution once, to measure and check all of it.
    private mutating func check(_ contribution: Contribution) throws(Refusal) -> Checked {
        guard contribution.share.contributes else { throw Refusal("its share is impossible: \(contribution.share)") }
        guard let bytes = contribution.bytes else { throw Refusal("its payload is not here") }
        do throws(PayloadError) {
            let bundle = try bundle(of: bytes)
            var magnitudes: [Float] = []
            var squares = 0.0
            for position in bundle.tiles.indices {
                try bundle.decodeTile(position, scratch: &scratch) { values in
                    guard let start = values.baseAddress else { return }
                    let measure = commitMeasure(start, count: values.count)
                    magnitudes.append(Float(bitPattern: measure.largestMagnitudeBits))
                    squares += measure.squares
                }
                guard magnitudes[position] <= PayloadBundle.magnitudeMax else {
                    throw .tooLarge(contributed.tiles[position])
                }
            }
            return Checked(
                member: contribution.member, share: contribution.share, bundle: bundle, magnitudes: magnitudes,
                normPerStep: squares.squareRoot() / Double(contribution.share.steps))
        } catch { throw Refusal(error.description) }
    }

    /// Unpacks a contribution, in the charter's one codec or in those that its maker chose.
    private func bundle(of bytes: [UInt8]) throws(PayloadError) -> PayloadBundle {
        guard let choice else { return try PayloadBundle(decoding: bytes, expecting: contributed, of: fragment) }
        let bundle = try PayloadBundle(
            decoding: bytes, expecting: contributed, of: fragment, byteCountMax: choice.byteCountMax
        ) { $0 == .e3m0 || choice.encoding.contributionCodecs.contains($0) }
        for (codec, tile) in zip(bundle.description.codecs, bundle.tiles)
        where !choice.encoding.contributionCodecs.contains(where: { PayloadEncoding.codecs($0, for: [tile]) == [codec] }
        ) {
            throw .badCodec
        }
        return bundle
    }

    /// The factors that bring every norm per step down to at most `cap` times the upper median.
    ///
    /// Per step, or a fast node would be clipped for its speed; the upper median, so that of two nobody is clipped for
    /// the other's being small; nobody is where the median is 0.
    static func clips(_ norms: [Double], cap: Double) -> [Double] {
        let limit = cap * upperMedian(norms)
        return norms.map { norm in limit > 0 && norm > limit ? limit / norm : 1 }
    }

    /// 2^(floor(log2 largest) - 44), built from its exponent; subnormal magnitudes count as 2^-127.
    static func quantum(largestMagnitude largest: Float) -> Double {
        Double(bitPattern: (UInt64(largest.bitPattern >> 23) + (1023 - 127 - 44)) << 52)
    }

    /// The weighted mean of checked contributions, encoded and packed.
    private mutating func average(
        _ included: [Checked], weights: [UInt32], residual: [Float], encoded: inout [Float]
    ) throws(PayloadError) -> [UInt8] {
        precondition(
            residual.isEmpty || residual.count == fragment.parameterCount, "a residual has the fragment's shape")
        let description = PayloadDescription(
            kind: .result, charterCodec: resultCodec, fragment: fragment, base: contributed.base,
            tiles: contributed.tiles)
        guard let tiles = fragment.tiles(at: description.tiles) else { throw .badTiles }
        var sums = [Int64](repeating: 0, count: tiles.map(\.count).max() ?? 0)
        var position = 0
        var failure: PayloadError?
        var memories = memories
        let packed = try PayloadBundle.encode(description, of: fragment, memories: &memories) { tile, output in
            defer { position += 1 }
            guard let start = output.baseAddress else { return }
            let mean = UnsafeMutableBufferPointer(start: start, count: tile.count)
            do throws(PayloadError) {
                try writeMean(included, weights, of: tile, at: position, sums: &sums, to: mean)
            } catch { failure = error }
            Self.add(residual, of: tile, to: mean, keeping: &encoded)
        }
        if let failure { throw failure }
        self.memories = memories
        return packed
    }

    /// The weighted mean of one tile.
    ///
    /// - Parameters:
    ///   - position: the tile's among the contributions' tiles.
    ///   - sums: room for the tile's values at least.
    ///   - mean: the tile's values.
    private mutating func writeMean(
        _ included: [Checked], _ weights: [UInt32], of tile: FragmentLayout.Tile, at position: Int,
        sums: inout [Int64], to mean: UnsafeMutableBufferPointer<Float>
    ) throws(PayloadError) {
        let largest = included.reduce(Float(0)) { max($0, $1.magnitudes[position]) }
        guard largest > 0, let output = mean.baseAddress else { return mean.update(repeating: 0) }
        let quantum = Self.quantum(largestMagnitude: largest)
        for index in 0..<tile.count { sums[index] = 0 }
        for (contribution, weight) in zip(included, weights) {
            let factor = Double(weight) / (quantum * 0x1p24)
            try contribution.bundle.decodeTile(position, scratch: &scratch) { values in
                guard let values = values.baseAddress else { return }
                sums.withUnsafeMutableBufferPointer { sums in
                    guard let sums = sums.baseAddress else { return }
                    commitAccumulate(values, count: tile.count, factor: factor, into: sums)
                }
            }
        }
        sums.withUnsafeBufferPointer { sums in
            guard let sums = sums.baseAddress else { return }
            commitMean(sums, count: tile.count, quantum: quantum, into: output)
        }
    }

    /// Adds a tile's residual to its mean and keeps the sum; nothing happens without residual.
    private static func add(
        _ residual: [Float], of tile: FragmentLayout.Tile, to mean: UnsafeMutableBufferPointer<Float>,
        keeping encoded: inout [Float]
    ) {
        guard !residual.isEmpty else { return }
        for index in mean.indices { mean[index] += residual[tile.offset + index] }
        encoded.append(contentsOf: mean)
    }
}
