import NumericsBaseline

/// The max-min uniform codec: blocks of 256 values, each of which is one of 2^bits levels from the block's least value to
/// its largest.
///
/// A tile's bytes are the blocks' headers (least value and step, float32), then all codes. Format: protocols/payload.md.
/// - SeeAlso: Markov et al., CGX (arXiv:2111.08617), with blocks of 256 instead of 512.
struct Uniform {
    /// Bits of a code, 1 to 8.
    let bits: Int
    /// Blocks whose codes are unpacked together: 4096 values.
    private static let blocksPerTurn = 16
    /// The smallest step but 0: a block that spans less than 2^-100 has step 0.
    private static let stepMin: Float = 0x1p-108

    init(bits: UInt8) {
        precondition((1...8).contains(bits), "uniform codes have 1 to 8 bits")
        self.bits = Int(bits)
    }

    /// Least value and step.
    private static let headerByteCount = 8
    /// Bytes of a block's codes.
    private var codeByteCount: Int { bits * Codec.blockLength / 8 }

    /// The size of an encoded tile.
    func byteCount(ofValues count: Int) -> Int {
        (count + Codec.blockLength - 1) / Codec.blockLength * (Self.headerByteCount + codeByteCount)
    }

    /// Encodes the values of one tile; `bytes` has the exact size.
    func encode(_ values: UnsafeBufferPointer<Float>, into bytes: UnsafeMutableRawBufferPointer) throws(CodecError) {
        guard let input = values.baseAddress, let output = bytes.baseAddress else { return }
        let whole = values.count / Codec.blockLength
        let blocks = (values.count + Codec.blockLength - 1) / Codec.blockLength
        let packed = output + Self.headerByteCount * blocks
        let bad = withUnsafeTemporaryAllocation(of: UInt8.self, capacity: Self.blocksPerTurn * Codec.blockLength) {
            scratch -> Int in
            guard let codes = scratch.baseAddress else { return 0 }
            for first in stride(from: 0, to: whole, by: Self.blocksPerTurn) {
                let count = min(Self.blocksPerTurn, whole - first)
                let bad = commitUniformEncode(
                    input + first * Codec.blockLength, blockCount: count, bits: bits,
                    headers: output + Self.headerByteCount * first, codes: codes)
                if bad >= 0 { return first + bad }
                commitPack(
                    codes, groupCount: count * Codec.blockLength / 8, bits: bits, packed: packed + first * codeByteCount
                )
            }
            guard whole < blocks else { return -1 }
            return encodeLast(values, header: output + Self.headerByteCount * whole, codes: codes)
                ? pack(codes, into: packed + whole * codeByteCount) : whole
        }
        guard bad < 0 else { throw .firstOutOfRange(in: values, from: bad * Codec.blockLength) }
    }

    /// Packs one block's codes; -1, which stands for no bad block.
    private func pack(_ codes: UnsafePointer<UInt8>, into packed: UnsafeMutableRawPointer) -> Int {
        commitPack(codes, groupCount: Codec.blockLength / 8, bits: bits, packed: packed)
        return -1
    }

    /// Quantizes the last, short block: filled up with its last value, which changes neither bound; the padding's codes
    /// are 0.
    private func encodeLast(
        _ values: UnsafeBufferPointer<Float>, header: UnsafeMutableRawPointer, codes: UnsafeMutablePointer<UInt8>
    ) -> Bool {
        let rest = values[(values.count / Codec.blockLength * Codec.blockLength)...]
        return withUnsafeTemporaryAllocation(of: Float.self, capacity: Codec.blockLength) { block in
            block.initialize(repeating: values[values.count - 1])
            _ = block.update(fromContentsOf: rest)
            guard let block = block.baseAddress,
                commitUniformEncode(block, blockCount: 1, bits: bits, headers: header, codes: codes) < 0
            else { return false }
            for index in rest.count..<Codec.blockLength { codes[index] = 0 }
            return true
        }
    }

    /// Decodes one tile; `bytes` has the exact size.
    func decode(_ bytes: UnsafeRawBufferPointer, into values: UnsafeMutableBufferPointer<Float>) throws(CodecError) {
        guard let input = bytes.baseAddress, let output = values.baseAddress else { return }
        let blocks = (values.count + Codec.blockLength - 1) / Codec.blockLength
        let packed = input + Self.headerByteCount * blocks
        for block in 0..<blocks {
            let low = input.float(at: Self.headerByteCount * block)
            let step = input.float(at: Self.headerByteCount * block + 4)
            guard hasRange(low: low, step: step) else { throw .badScale(blockIndex: block) }
            if step == 0 {
                let codes = UnsafeRawBufferPointer(start: packed + block * codeByteCount, count: codeByteCount)
                guard codes.allSatisfy({ $0 == 0 }) else { throw .notCanonical(blockIndex: block) }
            }
        }
        let isCanonical = withUnsafeTemporaryAllocation(
            of: UInt8.self, capacity: Self.blocksPerTurn * Codec.blockLength
        ) { scratch -> Bool in
            guard let codes = scratch.baseAddress else { return false }
            let whole = values.count / Codec.blockLength
            for first in stride(from: 0, to: whole, by: Self.blocksPerTurn) {
                let count = min(Self.blocksPerTurn, whole - first)
                commitUnpack(
                    packed + first * codeByteCount, groupCount: count * Codec.blockLength / 8, bits: bits, codes: codes)
                commitUniformDecode(
                    headers: input + Self.headerByteCount * first, codes: codes, blockCount: count,
                    values: output + first * Codec.blockLength)
            }
            guard whole < blocks else { return true }
            commitUnpack(
                packed + whole * codeByteCount, groupCount: Codec.blockLength / 8, bits: bits, codes: codes)
            let count = values.count - whole * Codec.blockLength
            guard (count..<Codec.blockLength).allSatisfy({ codes[$0] == 0 }) else { return false }
            let header = input + Self.headerByteCount * whole
            withUnsafeTemporaryAllocation(of: Float.self, capacity: Codec.blockLength) { block in
                guard let block = block.baseAddress else { return }
                commitUniformDecode(headers: header, codes: codes, blockCount: 1, values: block)
                (output + whole * Codec.blockLength).update(from: block, count: count)
            }
            return true
        }
        guard isCanonical else { throw .notCanonical(blockIndex: blocks - 1) }
    }

    /// Whether every code of a block gives a value in the range; one pattern for zero.
    private func hasRange(low: Float, step: Float) -> Bool {
        guard low.magnitude <= Codec.magnitudeMax, low.bitPattern != (-Float.zero).bitPattern else { return false }
        guard step.bitPattern == 0 || (step >= Self.stepMin && step <= 2 * Codec.magnitudeMax) else { return false }
        return low + Float(1 << bits - 1) * step <= Codec.magnitudeMax
    }
}
