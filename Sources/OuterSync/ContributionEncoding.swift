package import Compression
import NumericsBaseline

/// One member's packed contribution for some tiles: base minus live, encoded.
///
/// - Parameters:
///   - head: the base that the plan names.
///   - live: [parameterCount] float32, the member's live values at its snapshot.
///   - memories: what the encoders keep of earlier messages, by tile.
/// - Complexity: O(parameters of the tiles).
func encodeContribution(
    head: FragmentHead, live: [Float], tiles: [TileIndex], of fragment: FragmentLayout.Fragment, codec: Codec,
    memories: inout [TileIndex: EncoderMemory]
) throws(PayloadError) -> [UInt8] {
    precondition(live.count == head.theta.count, "a live copy must have its head's shape")
    let description = PayloadDescription(
        kind: .contribution, charterCodec: codec, fragment: fragment, base: head.digest, tiles: tiles)
    return try PayloadBundle.encode(description, of: fragment, memories: &memories) { tile, output in
        head.theta.withUnsafeBufferPointer { base in
            live.withUnsafeBufferPointer { live in
                guard let base = base.baseAddress, let live = live.baseAddress, let output = output.baseAddress else {
                    return
                }
                commitDifference(base + tile.offset, live + tile.offset, count: tile.count, into: output)
            }
        }
    }
}

/// The same by encoders without memory.
package func encodeContribution(
    head: FragmentHead, live: [Float], tiles: [TileIndex], of fragment: FragmentLayout.Fragment, codec: Codec
) throws(PayloadError) -> [UInt8] {
    var memories: [TileIndex: EncoderMemory] = [:]
    return try encodeContribution(
        head: head, live: live, tiles: tiles, of: fragment, codec: codec, memories: &memories)
}

/// The same for values that are there already, as under error feedback.
///
/// - Parameters:
///   - values: [parameterCount] float32 (`LocalFragment.accumulated`).
///   - memories: what the encoders keep of earlier messages, by tile.
package func encodeContribution(
    _ values: [Float], base: Digest, tiles: [TileIndex], of fragment: FragmentLayout.Fragment, codec: Codec,
    memories: inout [TileIndex: EncoderMemory]
) throws(PayloadError) -> [UInt8] {
    precondition(values.count == fragment.parameterCount, "values must have their fragment's shape")
    let description = PayloadDescription(
        kind: .contribution, charterCodec: codec, fragment: fragment, base: base, tiles: tiles)
    return try PayloadBundle.encode(description, of: fragment, memories: &memories) { tile, output in
        _ = output.update(fromContentsOf: values[tile.range])
    }
}

/// The same by encoders without memory.
package func encodeContribution(
    _ values: [Float], base: Digest, tiles: [TileIndex], of fragment: FragmentLayout.Fragment, codec: Codec
) throws(PayloadError) -> [UInt8] {
    var memories: [TileIndex: EncoderMemory] = [:]
    return try encodeContribution(values, base: base, tiles: tiles, of: fragment, codec: codec, memories: &memories)
}
