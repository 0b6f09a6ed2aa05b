import NumericsBaseline

/// The E3M0 codec: blocks of 256 values with one float32 scale, one sign and three exponent bits per value.
///
/// A tile's bytes are all scales, then all codes, so that the entropy stage sees like beside like. The last block is
/// padded with zeros. Format: protocols/payload.md.
enum E3M0 {
    /// A scale and 128 bytes of codes.
    static let blockByteCount = 4 + Codec.blockLength / 2

    /// Encodes the values of one tile; `bytes` has the exact size.
    static func encode(
        _ values: UnsafeBufferPointer<Float>, into bytes: UnsafeMutableRawBufferPointer
    ) throws(CodecError) {
        guard let input = values.baseAddress, let output = bytes.baseAddress else { return }
        let whole = values.count / Codec.blockLength
        let blocks = (values.count + Codec.blockLength - 1) / Codec.blockLength
        let codes = (output + 4 * blocks).assumingMemoryBound(to: UInt8.self)
        let padded = values[(whole * Codec.blockLength)...]
        let bad = withUnsafeTemporaryAllocation(of: UInt8.self, capacity: Codec.blockLength) { scratch -> Int in
            guard let scratch = scratch.baseAddress else { return 0 }
            let bad = commitE3M0Encode(input, blockCount: whole, scales: output, codes: codes, scratch: scratch)
            guard bad < 0, whole < blocks else { return bad }
            return withUnsafeTemporaryAllocation(of: Float.self, capacity: Codec.blockLength) { block in
                block.initialize(repeating: 0)
                _ = block.update(fromContentsOf: padded)
                guard let block = block.baseAddress else { return whole }
                let last = commitE3M0Encode(
                    block, blockCount: 1, scales: output + 4 * whole, codes: codes + whole * Codec.blockLength / 2,
                    scratch: scratch)
                return last < 0 ? -1 : whole
            }
        }
        guard bad < 0 else { throw firstBad(in: values, fromBlock: bad) }
    }

    /// Decodes one tile; `bytes` has the exact size.
    static func decode(
        _ bytes: UnsafeRawBufferPointer, into values: UnsafeMutableBufferPointer<Float>
    ) throws(CodecError) {
        guard let output = values.baseAddress, let input = bytes.baseAddress else { return }
        let whole = values.count / Codec.blockLength
        let blocks = (values.count + Codec.blockLength - 1) / Codec.blockLength
        let codes = (input + 4 * blocks).assumingMemoryBound(to: UInt8.self)
        for block in 0..<blocks {
            let scale = Float(
                bitPattern: UInt32(littleEndian: input.loadUnaligned(fromByteOffset: 4 * block, as: UInt32.self)))
            // One bit pattern per value: -0 is refused like any other negative scale.
            guard scale.bitPattern == 0 || (scale >= 0x1p-100 && scale <= Codec.magnitudeMax) else {
                throw .badScale(blockIndex: block)
            }
        }
        commitE3M0Decode(scales: input, codes: codes, blockCount: whole, values: output)
        guard whole < blocks else { return }
        let count = values.count - whole * Codec.blockLength
        let paddingIsZero = withUnsafeTemporaryAllocation(of: Float.self, capacity: Codec.blockLength) { padded in
            guard let start = padded.baseAddress else { return false }
            commitE3M0Decode(
                scales: input + 4 * whole, codes: codes + whole * Codec.blockLength / 2, blockCount: 1, values: start)
            (output + whole * Codec.blockLength).update(from: start, count: count)
            return (count..<Codec.blockLength).allSatisfy { start[$0].bitPattern == 0 }
        }
        guard paddingIsZero else { throw .notCanonical(blockIndex: whole) }
    }

    /// Names the value that made a block unfit.
    private static func firstBad(in values: UnsafeBufferPointer<Float>, fromBlock block: Int) -> CodecError {
        for index in block * Codec.blockLength..<values.count where !(values[index].magnitude <= Codec.magnitudeMax) {
            return .outOfRange(valueIndex: index)
        }
        preconditionFailure("a block is refused only for a value in it")
    }
}
