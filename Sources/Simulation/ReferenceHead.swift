import Compression
import OuterSync

/// A head as the checker computes it: the obvious scalar form, apart from the shipped arithmetic.
///
/// Only the codec's decoder and the entropy stage are the shipped ones; they have their own tests against a scalar form.
struct ReferenceHead: Sendable {
    var theta: [Float]
    var velocity: [Float]
    var versions: [UInt32]
    var scalars: [UInt8]
    var drift = OuterDrift.none

    /// The head before the first round.
    init(genesis head: FragmentHead, of fragment: FragmentLayout.Fragment) {
        theta = head.theta
        velocity = Array(repeating: 0, count: theta.count)
        versions = Array(repeating: 0, count: fragment.tiles.count)
        scalars = head.scalars
    }

    /// The digest of everything above, from the floats.
    func digest(of fragment: FragmentLayout.Fragment) -> Digest {
        var root = Array("atoll head 1".utf8) + Digest(hashing: scalars).bytes
        if drift.lastStep != 0 || drift.largestGradient != 0 {
            for word in [drift.lastStep.bitPattern, drift.largestGradient.bitPattern] {
                for shift in 0..<8 { root.append(UInt8(truncatingIfNeeded: word >> UInt64(8 * shift))) }
            }
        }
        for (index, tile) in fragment.tiles.enumerated() {
            var chunk: [UInt8] = []
            Self.append(versions[index], to: &chunk)
            Self.append(UInt32(tile.count), to: &chunk)
            for position in tile.range { Self.append(theta[position].bitPattern, to: &chunk) }
            for position in tile.range { Self.append(velocity[position].bitPattern, to: &chunk) }
            root += Digest(ofBlob: chunk).bytes
        }
        return Digest(hashing: root)
    }

    private static func append(_ word: UInt32, to bytes: inout [UInt8]) {
        for shift in [0, 8, 16, 24] as [UInt32] { bytes.append(UInt8(truncatingIfNeeded: word >> shift)) }
    }

    /// Applies one commit by the rule on the tiles that a payload covers, and not one bit anywhere else.
    ///
    /// - Returns: nil, or a reason where a payload is not what the description says.
    mutating func advance(
        by step: OuterStepDescription, base: Digest, of fragment: FragmentLayout.Fragment, rule: OuterRule,
        encoding: PayloadEncoding, payload: (Digest) -> [UInt8]?
    ) -> String? {
        let codec = step.kind == .result ? encoding.resultCodecs[step.resultLevel] : encoding.contribution
        var decoded: [[TileIndex: [Float]]] = []
        for committed in step.payloads {
            switch Self.decode(committed, base: base, of: fragment, codec: codec, payload: payload) {
            case .success(let tiles): decoded.append(tiles)
            case .failure(let problem): return problem.text
            }
        }
        var means: [TileIndex: [Float]] = [:]
        if step.kind == .contribution {
            if step.payloads.contains(where: { $0.shares.count != 1 || $0.tiles.count != fragment.tiles.count }) {
                return "a gathered payload is not one member's for all tiles"
            }
            means = ReferenceMean.of(decoded, shares: step.payloads.map { $0.shares[0] }, rule: rule)
        } else {
            for tiles in decoded {
                for (index, values) in tiles where means.updateValue(values, forKey: index) != nil {
                    return "tile \(index.value) is in two payloads"
                }
            }
        }
        switch rule.method {
        case .nesterov: move(by: means, of: fragment, rule: rule)
        case .staleHeavyBall(let penalty, let clip):
            // Sums of squares go over the tiles in commit order.
            let order = step.kind == .contribution ? means.keys.sorted() : step.payloads.flatMap(\.tiles)
            move(by: means, in: order, of: fragment, rule: rule, penalty, clip)
        }
        scalars = step.scalars
        return nil
    }

    /// Nesterov on the tiles that have a mean.
    private mutating func move(
        by means: [TileIndex: [Float]], of fragment: FragmentLayout.Fragment, rule: OuterRule
    ) {
        for (index, mean) in means {
            for (position, change) in zip(fragment.tiles[index.value].range, mean) {
                velocity[position] = rule.momentum * velocity[position] + change
                let step = rule.learningRate * (change + rule.momentum * velocity[position])
                theta[position] = theta[position] - step
            }
            versions[index.value] += 1
        }
    }

    /// CO2's heavy ball: v = mu v + mean / Lambda, clipped; Theta = Theta - eta v.
    private mutating func move(
        by means: [TileIndex: [Float]], in order: [TileIndex], of fragment: FragmentLayout.Fragment, rule: OuterRule,
        _ penalty: StalenessPenalty, _ clip: MomentumClip
    ) {
        let squares = order.reduce(0.0) { $0 + ReferenceMean.squares(of: means[$1] ?? []) }
        drift.largestGradient = max(drift.largestGradient, squares.squareRoot())
        let ratio = drift.largestGradient > 0 ? drift.lastStep / drift.largestGradient : 0
        let divisor =
            switch penalty {
            case .none: 1.0
            case .gap: 1 + ratio
            case .excess: max(1, ratio)
            }
        let scale = Float(1 / divisor)
        for index in order {
            for (position, change) in zip(fragment.tiles[index.value].range, means[index] ?? []) {
                velocity[position] = rule.momentum * velocity[position] + scale * change
            }
        }
        func moved() -> Double {
            order.reduce(0.0) { $0 + ReferenceMean.squares(of: Array(velocity[fragment.tiles[$1.value].range])) }
        }
        var bound = Float.greatestFiniteMagnitude
        let count = order.reduce(0) { $0 + fragment.tiles[$1.value].count }
        if case .rootMeanSquares(let factor) = clip, count > 0 {
            bound = Float(Double(factor) * (moved() / Double(count)).squareRoot())
        }
        for index in order {
            for position in fragment.tiles[index.value].range {
                velocity[position] = min(max(velocity[position], -bound), bound)
                theta[position] = theta[position] - rule.learningRate * velocity[position]
            }
            versions[index.value] += 1
        }
        drift.lastStep = Double(rule.learningRate) * moved().squareRoot()
    }

    private struct Problem: Error { var text: String }

    /// Unpacks one payload into its tiles' values.
    private static func decode(
        _ committed: CommittedPayload, base: Digest, of fragment: FragmentLayout.Fragment, codec: Codec,
        payload: (Digest) -> [UInt8]?
    ) -> Result<[TileIndex: [Float]], Problem> {
        guard let packed = payload(committed.blob.digest) else {
            return .failure(Problem(text: "payload \(committed.blob.digest.short) is nowhere"))
        }
        let codecs = PayloadEncoding.codecs(codec, for: committed.tiles.map { fragment.tiles[$0.value] })
        let valueByteCounts = zip(codecs, committed.tiles).map { codec, tile in
            codec.byteCount(of: fragment.tiles[tile.value].shape)
        }
        let isMixed = Set(codecs).count > 1
        let headerByteCount = 8 + 4 + 4 + 32 + 4 + (isMixed ? 8 : 4) * committed.tiles.count
        let byteCount = headerByteCount + valueByteCounts.reduce(0, +)
        var sections: [IndexSection] = []
        var start = headerByteCount
        for ((index, codec), count) in zip(zip(committed.tiles, codecs), valueByteCounts) {
            sections += codec.indexSections(ofValues: fragment.tiles[index.value].count, at: start)
            start += count
        }
        guard let raw = try? EntropyStage.unpack(packed, rawByteCount: byteCount, indexSections: sections) else {
            return .failure(Problem(text: "a payload does not unpack"))
        }
        guard Array(raw[16..<48]) == base.bytes else {
            return .failure(Problem(text: "a payload is measured against another head"))
        }
        var values: [TileIndex: [Float]] = [:]
        var offset = headerByteCount
        for ((index, codec), count) in zip(zip(committed.tiles, codecs), valueByteCounts) {
            let tile = fragment.tiles[index.value]
            var delta = [Float](repeating: 0, count: tile.count)
            let isDecoded = delta.withUnsafeMutableBufferPointer { delta in
                raw.withUnsafeBytes { raw in
                    let bytes = UnsafeRawBufferPointer(rebasing: raw[offset..<offset + count])
                    return (try? codec.decode(bytes, shape: tile.shape, into: delta)) != nil
                }
            }
            guard isDecoded else { return .failure(Problem(text: "tile \(index.value) does not decode")) }
            values[index] = delta
            offset += count
        }
        return .success(values)
    }

    /// Whether a node's head has these very bits.
    func hasSameBits(as head: FragmentHead) -> Bool {
        versions == head.versions && scalars == head.scalars && drift == head.drift
            && theta.elementsEqual(head.theta) { $0.bitPattern == $1.bitPattern }
            && velocity.elementsEqual(head.velocity) { $0.bitPattern == $1.bitPattern }
    }
}
