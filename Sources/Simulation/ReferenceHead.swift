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

    /// Applies one commit: Nesterov on the tiles that a payload covers, and not one bit anywhere else.
    ///
    /// - Returns: nil with a reason where a payload is not what the description says.
    mutating func advance(
        by step: OuterStepDescription, base: Digest, of fragment: FragmentLayout.Fragment, rule: OuterRule,
        codec: Codec,
        payload: (Digest) -> [UInt8]?
    ) -> String? {
        var seen: Set<TileIndex> = []
        for committed in step.payloads {
            guard let packed = payload(committed.blob.digest) else {
                return "payload \(committed.blob.digest.short) is nowhere"
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
                return "a payload does not unpack"
            }
            guard Array(raw[16..<48]) == base.bytes else { return "a payload is measured against another head" }
            var offset = headerByteCount
            for ((index, codec), count) in zip(zip(committed.tiles, codecs), valueByteCounts) {
                guard seen.insert(index).inserted else { return "tile \(index.value) is in two payloads" }
                let tile = fragment.tiles[index.value]
                var delta = [Float](repeating: 0, count: tile.count)
                let isDecoded = delta.withUnsafeMutableBufferPointer { delta in
                    raw.withUnsafeBytes { raw in
                        let bytes = UnsafeRawBufferPointer(rebasing: raw[offset..<offset + count])
                        return (try? codec.decode(bytes, shape: tile.shape, into: delta)) != nil
                    }
                }
                guard isDecoded else { return "tile \(index.value) does not decode" }
                for (position, change) in zip(tile.range, delta) {
                    velocity[position] = rule.momentum * velocity[position] + change
                    let step = rule.learningRate * (change + rule.momentum * velocity[position])
                    theta[position] = theta[position] - step
                }
                versions[index.value] += 1
                offset += count
            }
        }
        scalars = step.scalars
        return nil
    }

    /// Whether a node's head has these very bits.
    func hasSameBits(as head: FragmentHead) -> Bool {
        versions == head.versions && scalars == head.scalars
            && theta.elementsEqual(head.theta) { $0.bitPattern == $1.bitPattern }
            && velocity.elementsEqual(head.velocity) { $0.bitPattern == $1.bitPattern }
    }
}
