import CZstd

/// Why packed bytes could not be unpacked.
package enum EntropyError: Error, Hashable, Sendable {
    /// There is not even a flag byte.
    case empty
    /// The flag byte names no known form.
    case unknownForm(UInt8)
    /// The unpacked size is not the expected one (`got` is nil where the frame hides it).
    case wrongByteCount(expected: Int, got: UInt64?)
    /// A frame is cut, changed or followed by something.
    case damaged
    /// Gaps do not give the indices of the sections.
    case indices(IndexGapsError)
}

/// The last stage of a payload: zstd where that makes it smaller, else the bytes as they are.
///
/// A flag byte leads: 0, the raw bytes follow; 1, one zstd frame that states its content size follows; 2, two such frames
/// follow, the gaps of the index sections and all other bytes. So the result is never more than one byte larger than its
/// input.
package enum EntropyStage {
    /// Level 1: on quantized values higher levels cost time and gain nothing (zstd is a Huffman coder there).
    private static let level: Int32 = 1
    /// Below this many bytes the frame's own header eats the gain.
    private static let byteCountMin = 256

    /// Packs some bytes into the smallest of the forms, the first of equals.
    ///
    /// - Parameter indexSections: where runs of ascending 12-bit indices stand; see `IndexGaps`. Bytes whose sections are
    ///   not canonical are packed without them.
    /// - Complexity: O(n); allocations of about the input's size, with sections of three times that.
    package static func pack(_ raw: [UInt8], indexSections: [IndexSection] = []) -> [UInt8] {
        var best: [UInt8]?
        if raw.count >= byteCountMin {
            let plain = frames(form: 1, of: [raw])
            if plain.count <= raw.count { best = plain }
            if !indexSections.isEmpty, let parts = IndexGaps.encode(raw, sections: indexSections),
                parts.gaps.count + parts.rest.count <= raw.count
            {
                let gapped = frames(form: 2, of: [parts.gaps, parts.rest])
                if gapped.count < best?.count ?? raw.count + 1 { best = gapped }
            }
        }
        return best ?? [0] + raw
    }

    /// A flag byte and one zstd frame per part.
    private static func frames(form: UInt8, of parts: [[UInt8]]) -> [UInt8] {
        let bound = parts.reduce(1) { $0 + ZSTD_compressBound($1.count) }
        return [UInt8](unsafeUninitializedCapacity: bound) { output, count in
            output[0] = form
            count = 1
            for part in parts {
                let size = part.withUnsafeBytes { input in
                    ZSTD_compress(
                        output.baseAddress.map { $0 + count }, output.count - count, input.baseAddress, input.count,
                        level)
                }
                precondition(ZSTD_isError(size) == 0, "zstd compresses anything into its own bound")
                count += size
            }
        }
    }

    /// Unpacks bytes from anywhere; total.
    ///
    /// - Parameters:
    ///   - rawByteCount: the size that the result must have; at most twice as much is ever allocated.
    ///   - indexSections: as they were packed; without them the form that needs them is unknown.
    package static func unpack(
        _ packed: [UInt8], rawByteCount: Int, indexSections: [IndexSection] = []
    ) throws(EntropyError) -> [UInt8] {
        try unpack(packed, rawByteCounts: rawByteCount...rawByteCount, indexSections)
    }

    /// Unpacks bytes from anywhere, whose size the sender chose; total. The form that needs sections is unknown here.
    ///
    /// - Parameter rawByteCountMax: the largest size that the result may have; nothing larger is ever allocated.
    package static func unpack(_ packed: [UInt8], rawByteCountMax: Int) throws(EntropyError) -> [UInt8] {
        try unpack(packed, rawByteCounts: 0...max(0, rawByteCountMax), [])
    }

    /// The same where what stands beside the sections tells where they are.
    ///
    /// - Parameter sections: the sections and the size of the whole, from the bytes beside them; nil: they tell nothing.
    package static func unpack(
        _ packed: [UInt8], rawByteCountMax: Int,
        sections: ([UInt8]) -> (sections: [IndexSection], rawByteCount: Int)?
    ) throws(EntropyError) -> [UInt8] {
        guard packed.first == 2 else { return try unpack(packed, rawByteCountMax: rawByteCountMax) }
        let bounds = 0...max(0, rawByteCountMax)
        let (gaps, gapsEnd) = try unpackFrame(in: packed, from: 1, byteCounts: bounds)
        let (rest, end) = try unpackFrame(in: packed, from: gapsEnd, byteCounts: bounds)
        guard end == packed.count else { throw .damaged }
        guard let found = sections(rest), bounds.contains(found.rawByteCount),
            let sizes = IndexGaps.Sizes(found.sections, rawByteCount: found.rawByteCount)
        else { throw .indices(.badSections) }
        guard gaps.count >= sizes.indexCount, gaps.count <= sizes.sectionByteCount, rest.count == sizes.restByteCount
        else { throw .damaged }
        do throws(IndexGapsError) {
            return try IndexGaps.decode(
                gaps: gaps, rest: rest, sections: found.sections, rawByteCount: found.rawByteCount)
        } catch { throw .indices(error) }
    }

    private static func unpack(
        _ packed: [UInt8], rawByteCounts: ClosedRange<Int>, _ indexSections: [IndexSection]
    ) throws(EntropyError) -> [UInt8] {
        guard let form = packed.first else { throw .empty }
        switch form {
        case 0:
            guard rawByteCounts.contains(packed.count - 1) else {
                throw .wrongByteCount(expected: rawByteCounts.upperBound, got: UInt64(packed.count - 1))
            }
            return Array(packed.dropFirst())
        case 1:
            let (raw, end) = try unpackFrame(in: packed, from: 1, byteCounts: rawByteCounts)
            guard end == packed.count else { throw .damaged }
            return raw
        case 2 where !indexSections.isEmpty:
            return try unpackGaps(packed, rawByteCounts.upperBound, indexSections)
        default: throw .unknownForm(form)
        }
    }

    /// The form of two frames: gaps, and what stands beside the sections.
    private static func unpackGaps(
        _ packed: [UInt8], _ rawByteCount: Int, _ sections: [IndexSection]
    ) throws(EntropyError) -> [UInt8] {
        guard let sizes = IndexGaps.Sizes(sections, rawByteCount: rawByteCount) else { throw .indices(.badSections) }
        // Sections smaller than their gaps are not sent in this form.
        let (gaps, gapsEnd) = try unpackFrame(
            in: packed, from: 1, byteCounts: sizes.indexCount...sizes.sectionByteCount)
        let (rest, end) = try unpackFrame(
            in: packed, from: gapsEnd, byteCounts: sizes.restByteCount...sizes.restByteCount)
        guard end == packed.count else { throw .damaged }
        do throws(IndexGapsError) {
            return try IndexGaps.decode(gaps: gaps, rest: rest, sections: sections, rawByteCount: rawByteCount)
        } catch { throw .indices(error) }
    }

    /// The content of one whole zstd frame that begins at `start`, and its end; the size is checked before anything is
    /// allocated.
    private static func unpackFrame(
        in packed: [UInt8], from start: Int, byteCounts: ClosedRange<Int>
    ) throws(EntropyError) -> (content: [UInt8], end: Int) {
        let (content, end, error) = packed.withUnsafeBytes {
            unpackFrame(UnsafeRawBufferPointer(rebasing: $0[start...]), byteCounts)
        }
        if let error { throw error }
        return (content, start + end)
    }

    private static func unpackFrame(
        _ bytes: UnsafeRawBufferPointer, _ byteCounts: ClosedRange<Int>
    ) -> (content: [UInt8], end: Int, EntropyError?) {
        // Skippable frames are frames to zstd, but hold nothing.
        guard bytes.starts(with: [0x28, 0xB5, 0x2F, 0xFD]) else { return ([], 0, .damaged) }
        let stated = ZSTD_getFrameContentSize(bytes.baseAddress, bytes.count)
        // Unknown and erroneous sizes are the two largest numbers.
        guard let byteCount = Int(exactly: stated), byteCounts.contains(byteCount) else {
            let hidden = stated >= UInt64.max - 1
            return ([], 0, .wrongByteCount(expected: byteCounts.upperBound, got: hidden ? nil : stated))
        }
        let end = ZSTD_findFrameCompressedSize(bytes.baseAddress, bytes.count)
        guard ZSTD_isError(end) == 0, end <= bytes.count else { return ([], 0, .damaged) }
        var written = 0
        let content = [UInt8](unsafeUninitializedCapacity: byteCount) { output, count in
            written = ZSTD_decompress(output.baseAddress, byteCount, bytes.baseAddress, end)
            count = written == byteCount ? byteCount : 0
        }
        return written == byteCount ? (content, end, nil) : ([], 0, .damaged)
    }
}
