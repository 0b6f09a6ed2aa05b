import NumericsBaseline

/// The top-k codec: of every chunk of 4096 values the largest magnitudes, each as its place, its sign and one of two
/// magnitudes of the tile; everything else is 0.
///
/// A tile's bytes are the two magnitudes (float32), then the indices of all chunks (12 bits each), then the codes (2 bits
/// each). A last chunk of n values keeps kept * n / 4096 of them, rounded up. Format: protocols/payload.md.
/// - SeeAlso: Sarfi et al., SparseLoCo (arXiv:2508.15706); there two magnitudes per chunk, here per tile.
struct TopK {
    /// Values kept of a whole chunk.
    let kept: Int
    /// The two magnitudes.
    private static let headerByteCount = 8
    /// Rounds after which the search for the two magnitudes ends.
    private static let roundsMax = 6

    init(kept: UInt16) {
        precondition((2...1024).contains(kept) && kept % 2 == 0, "an even number of 2 to 1024 values is kept")
        self.kept = Int(kept)
    }

    private static func chunks(ofValues count: Int) -> Int { (count + Codec.rowLength - 1) / Codec.rowLength }

    /// Values kept of a chunk of `length` values.
    private func kept(ofChunk length: Int) -> Int { (kept * length + Codec.rowLength - 1) / Codec.rowLength }

    /// Values kept of a tile.
    private func kept(ofTile count: Int) -> Int {
        count / Codec.rowLength * kept + kept(ofChunk: count % Codec.rowLength)
    }

    /// The size of an encoded tile.
    func byteCount(ofValues count: Int) -> Int {
        let kept = kept(ofTile: count)
        return Self.headerByteCount + (3 * kept + 1) / 2 + (kept + 3) / 4
    }

    /// Where the indices of each chunk stand in a tile whose bytes begin at `offset`.
    func indexSections(ofValues count: Int, at offset: Int) -> [IndexSection] {
        var sections: [IndexSection] = []
        var position = 0
        for start in stride(from: 0, to: count, by: Codec.rowLength) {
            let kept = kept(ofChunk: min(Codec.rowLength, count - start))
            sections.append(
                IndexSection(offset: offset + Self.headerByteCount + 3 * position / 2, indexCount: kept))
            position += kept
        }
        return sections
    }

    // MARK: Encoding

    /// Encodes the values of one tile; `bytes` has the exact size.
    func encode(_ values: UnsafeBufferPointer<Float>, into bytes: UnsafeMutableRawBufferPointer) throws(CodecError) {
        guard let output = bytes.baseAddress else { return }
        guard let input = values.baseAddress, !values.isEmpty else {
            bytes.initializeMemory(as: UInt8.self, repeating: 0)
            return
        }
        guard commitLargestMagnitudeBits(input, count: values.count) <= Codec.magnitudeMax.bitPattern else {
            throw .firstOutOfRange(in: values)
        }
        let total = kept(ofTile: values.count)
        // The kept values, the selection's own scratch, the indices of one chunk, and the codes.
        let scratchByteCount = 4 * (total + 8) + 4 * (Codec.rowLength + 2048) + 2 * Codec.rowLength + total
        withUnsafeTemporaryAllocation(byteCount: scratchByteCount, alignment: 16) { scratch in
            guard let scratch = scratch.baseAddress else { return }
            let selected = scratch.bindMemory(to: Float.self, capacity: total)
            let words = (scratch + 4 * (total + 8)).bindMemory(to: Int32.self, capacity: Codec.rowLength + 2048)
            let indices = (scratch + 4 * (total + 8 + Codec.rowLength + 2048)).bindMemory(
                to: UInt16.self, capacity: Codec.rowLength)
            let codes = (scratch + scratchByteCount - total).bindMemory(to: UInt8.self, capacity: total)
            let packed = (output + Self.headerByteCount).assumingMemoryBound(to: UInt8.self)
            var position = 0
            for chunk in 0..<Self.chunks(ofValues: values.count) {
                let start = chunk * Codec.rowLength
                let length = min(Codec.rowLength, values.count - start)
                let count = kept(ofChunk: length)
                commitSelectLargest(input + start, count: length, kept: count, indices: indices, scratch: words)
                commitPackIndices(indices, count: count, packed: packed + 3 * position / 2)
                for index in 0..<count { selected[position + index] = input[start + Int(indices[index])] }
                position += count
            }
            let (small, large) = Self.magnitudes(of: selected, count: total)
            output.store(small, at: 0)
            output.store(large, at: 4)
            Self.writeCodes(
                of: selected, count: total, small: small, large: large, scratch: codes,
                into: packed + (3 * total + 1) / 2)
        }
    }

    /// Two magnitudes of small squared error: the means below and above a bound half-way between them.
    ///
    /// Where a 0 is kept the smaller one is 0, so that no value is invented.
    private static func magnitudes(of selected: UnsafePointer<Float>, count: Int) -> (small: Float, large: Float) {
        let all = commitSumAbove(0, selected, count: count)
        let isZeroKept = commitSumAbove(.leastNonzeroMagnitude, selected, count: count).count < count
        var small = 0.0
        var large = all.sum / Double(count)
        var bound = Float(large)
        var before = -1
        for _ in 0..<roundsMax {
            let above = commitSumAbove(bound, selected, count: count)
            guard above.count != before else { break }
            before = above.count
            if above.count > 0 { large = above.sum / Double(above.count) }
            let rest = count - above.count
            small = isZeroKept ? 0 : rest > 0 ? (all.sum - above.sum) / Double(rest) : large
            bound = Float((small + large) / 2)
        }
        let magnitudes = (Float(max(0, small)), Float(large))
        return magnitudes.0 <= magnitudes.1 ? magnitudes : (magnitudes.1, magnitudes.1)
    }

    /// Writes the codes, four to a byte, the padding 0.
    private static func writeCodes(
        of selected: UnsafePointer<Float>, count: Int, small: Float, large: Float, scratch: UnsafeMutablePointer<UInt8>,
        into packed: UnsafeMutablePointer<UInt8>
    ) {
        // Half of each, so that the sum of the largest is in range.
        commitSignCodes(
            selected, count: count, bound: 0.5 * small + 0.5 * large, signOfSmall: small > 0 ? 2 : 0, codes: scratch)
        let groups = count / 8
        commitPack(scratch, groupCount: groups, bits: 2, packed: packed)
        for byte in 2 * groups..<(count + 3) / 4 {
            var four: UInt8 = 0
            for index in 4 * byte..<min(4 * byte + 4, count) { four |= scratch[index] << UInt8(2 * (index % 4)) }
            packed[byte] = four
        }
    }

    // MARK: Decoding

    /// Decodes one tile; `bytes` has the exact size.
    func decode(_ bytes: UnsafeRawBufferPointer, into values: UnsafeMutableBufferPointer<Float>) throws(CodecError) {
        guard let input = bytes.baseAddress else { return }
        let small = input.float(at: 0)
        let large = input.float(at: 4)
        guard small.sign == .plus, large.sign == .plus, small <= large, large <= Codec.magnitudeMax,
            !values.isEmpty || large == 0
        else { throw .badScale(blockIndex: 0) }
        guard let output = values.baseAddress, !values.isEmpty else { return }
        let packed = (input + Self.headerByteCount).assumingMemoryBound(to: UInt8.self)
        let total = kept(ofTile: values.count)
        let codes = packed + (3 * total + 1) / 2
        guard total % 4 == 0 || codes[total / 4] >> UInt8(2 * (total % 4)) == 0 else {
            throw .notCanonical(blockIndex: Self.chunks(ofValues: values.count) - 1)
        }
        values.update(repeating: 0)
        let error = withUnsafeTemporaryAllocation(of: UInt16.self, capacity: kept + 1) { indices -> CodecError? in
            guard let indices = indices.baseAddress else { return nil }
            var position = 0
            for chunk in 0..<Self.chunks(ofValues: values.count) {
                let start = chunk * Codec.rowLength
                let length = min(Codec.rowLength, values.count - start)
                let count = kept(ofChunk: length)
                guard commitUnpackIndices(packed + 3 * position / 2, count: count, indices: indices) else {
                    return .notCanonical(blockIndex: chunk)
                }
                var last = -1
                for slot in 0..<count {
                    let index = Int(indices[slot])
                    guard index > last, index < length else { return .badIndex(chunkIndex: chunk) }
                    last = index
                    let place = position + slot
                    let code = UInt32(codes[place >> 2] >> UInt8(2 * (place & 3)) & 3)
                    let magnitude = code & 1 == 0 ? small.bitPattern : large.bitPattern
                    // No negative zero.
                    guard code & 2 == 0 || magnitude != 0 else { return .notCanonical(blockIndex: chunk) }
                    output[start + index] = Float(bitPattern: magnitude | (code & 2) << 30)
                }
                position += count
            }
            return nil
        }
        if let error { throw error }
    }
}
