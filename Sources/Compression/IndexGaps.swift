/// Where in some bytes a run of ascending 12-bit indices stands: the kept positions of one chunk of 4096 values.
package struct IndexSection: Hashable, Sendable {
    /// The first byte.
    package let offset: Int
    /// The number of indices, 1 to 4096.
    package let indexCount: Int

    /// Names a section.
    package init(offset: Int, indexCount: Int) {
        self.offset = offset
        self.indexCount = indexCount
    }

    /// The section's bytes: two indices in three, an odd last one in two.
    package var byteCount: Int { (3 * indexCount + 1) / 2 }
}

/// Why gaps could not become indices.
package enum IndexGapsError: Error, Hashable, Sendable {
    /// The sections overlap, are not ascending, or are not inside the bytes.
    case badSections
    /// The bytes beside the sections are not as many as they must be.
    case wrongRestByteCount(expected: Int, got: Int)
    /// The gaps end too early, lead past the last index, or go on after the last.
    case damaged
}

/// Kept indices as gaps: what an entropy coder can shrink.
///
/// Packed indices look random to zstd, but the gaps between them are mostly small: at a density of 64 in 4096 they hold
/// about 7.4 bits instead of 12. Each section's indices, strictly ascending, become gaps, an index minus the one before
/// it minus 1 (the one before the first is -1). A gap is as many bytes 255 as 255 fits into it, and one byte below 255
/// with the rest; so there is exactly one way to write it. The gap bytes of all sections stand together, and apart from
/// the bytes beside the sections, so that each kind gets a code of its own. Format: protocols/payload.md.
package enum IndexGaps {
    /// The number of values that indices of 12 bits tell apart.
    package static let chunkLength = 1 << 12
    /// The byte that stands for 255 positions and is followed by more.
    private static let escape: UInt8 = 255
    /// The escapes that a chunk can need beyond one byte per index.
    private static let escapesMax = chunkLength / 255

    /// Gaps and what stood beside the sections.
    package struct Parts: Hashable, Sendable {
        /// The gap bytes of all sections, in order.
        package let gaps: [UInt8]
        /// All other bytes, in order.
        package let rest: [UInt8]
    }

    /// Takes the index sections out of some bytes and turns them into gaps.
    ///
    /// - Returns: nil where the sections do not fit, where indices do not ascend strictly, and where the bits after an odd
    ///   last index are not 0, since the bytes could then not be restored.
    /// - Complexity: O(n); two allocations, together below twice the input plus 17 bytes per section.
    package static func encode(_ raw: [UInt8], sections: [IndexSection]) -> Parts? {
        guard let sizes = Sizes(sections, rawByteCount: raw.count) else { return nil }
        var isCanonical = true
        let gaps = [UInt8](unsafeUninitializedCapacity: sizes.gapByteCountMax) { gaps, count in
            count = raw.withUnsafeBytes { raw -> Int in
                guard let start = gaps.baseAddress, let bytes = raw.baseAddress else { return 0 }
                var end = start
                for section in sections {
                    guard let next = encode(bytes + section.offset, count: section.indexCount, to: end) else {
                        isCanonical = false
                        return 0
                    }
                    end = next
                }
                return end - start
            }
        }
        guard isCanonical else { return nil }
        var rest: [UInt8] = []
        rest.reserveCapacity(sizes.restByteCount)
        var offset = 0
        for section in sections {
            rest.append(contentsOf: raw[offset..<section.offset])
            offset = section.offset + section.byteCount
        }
        rest.append(contentsOf: raw[offset...])
        return Parts(gaps: gaps, rest: rest)
    }

    /// Writes one section's gaps; returns their end, or nil where the section is not canonical.
    private static func encode(
        _ bytes: UnsafeRawPointer, count: Int, to start: UnsafeMutablePointer<UInt8>
    ) -> UnsafeMutablePointer<UInt8>? {
        var end = start
        var next = 0
        func write(_ index: Int) -> Bool {
            var gap = index - next
            guard gap >= 0 else { return false }
            while gap >= 255 {
                end.pointee = escape
                end += 1
                gap -= 255
            }
            end.pointee = UInt8(truncatingIfNeeded: gap)
            end += 1
            next = index + 1
            return true
        }
        var source = bytes.assumingMemoryBound(to: UInt8.self)
        for _ in 0..<count / 2 {
            let middle = Int(source[1])
            guard write(Int(source[0]) | (middle & 15) << 8), write(middle >> 4 | Int(source[2]) << 4) else {
                return nil
            }
            source += 3
        }
        if count % 2 == 1 {
            guard source[1] < 16, write(Int(source[0]) | Int(source[1]) << 8) else { return nil }
        }
        return end
    }

    /// Puts indices back where they stood; total.
    ///
    /// - Parameter rawByteCount: the bytes of the result; nothing larger is ever allocated.
    /// - Complexity: O(n), one allocation, after all sizes are checked.
    package static func decode(
        gaps: [UInt8], rest: [UInt8], sections: [IndexSection], rawByteCount: Int
    ) throws(IndexGapsError) -> [UInt8] {
        guard let sizes = Sizes(sections, rawByteCount: rawByteCount) else { throw .badSections }
        guard rest.count == sizes.restByteCount else {
            throw .wrongRestByteCount(expected: sizes.restByteCount, got: rest.count)
        }
        guard gaps.count >= sizes.indexCount, gaps.count <= sizes.gapByteCountMax else { throw .damaged }
        var isWhole = false
        let raw = [UInt8](unsafeUninitializedCapacity: rawByteCount) { raw, count in
            isWhole = gaps.withUnsafeBufferPointer { gaps in
                rest.withUnsafeBytes { restore(gaps, $0, sections, into: UnsafeMutableRawBufferPointer(raw)) }
            }
            count = isWhole ? rawByteCount : 0
        }
        guard isWhole else { throw .damaged }
        return raw
    }

    /// Fills `raw`, whose size fits the sections and the rest; whether the gaps were right.
    private static func restore(
        _ gaps: UnsafeBufferPointer<UInt8>, _ rest: UnsafeRawBufferPointer, _ sections: [IndexSection],
        into raw: UnsafeMutableRawBufferPointer
    ) -> Bool {
        var unread = Unread(gaps)
        var offset = 0
        var restOffset = 0
        func copyRest(upTo end: Int) {
            UnsafeMutableRawBufferPointer(rebasing: raw[offset..<end])
                .copyMemory(from: UnsafeRawBufferPointer(rebasing: rest[restOffset..<restOffset + end - offset]))
            restOffset += end - offset
        }
        for section in sections {
            copyRest(upTo: section.offset)
            offset = section.offset + section.byteCount
            let output = UnsafeMutableRawBufferPointer(rebasing: raw[section.offset..<offset])
            guard unread.decode(section.indexCount, into: output) else { return false }
        }
        copyRest(upTo: raw.count)
        return unread.isEmpty
    }

    /// Gap bytes from anywhere, read in order.
    private struct Unread {
        private var position: UnsafePointer<UInt8>?
        private let end: UnsafePointer<UInt8>?

        init(_ gaps: UnsafeBufferPointer<UInt8>) {
            position = gaps.baseAddress
            end = gaps.baseAddress.map { $0 + gaps.count }
        }

        var isEmpty: Bool { position == end }

        /// Packs one section's indices; false where the gaps end or lead too far.
        mutating func decode(_ indexCount: Int, into output: UnsafeMutableRawBufferPointer) -> Bool {
            guard var position, let end, var target = output.baseAddress?.assumingMemoryBound(to: UInt8.self) else {
                return false
            }
            var last = -1
            for _ in 0..<indexCount / 2 {
                guard let first = IndexGaps.next(&position, end, after: last) else { return false }
                guard let second = IndexGaps.next(&position, end, after: first) else { return false }
                target[0] = UInt8(truncatingIfNeeded: first)
                target[1] = UInt8(truncatingIfNeeded: first >> 8 | second << 4)
                target[2] = UInt8(truncatingIfNeeded: second >> 4)
                target += 3
                last = second
            }
            if indexCount % 2 == 1 {
                guard let index = IndexGaps.next(&position, end, after: last) else { return false }
                target[0] = UInt8(truncatingIfNeeded: index)
                target[1] = UInt8(truncatingIfNeeded: index >> 8)
            }
            self.position = position
            return true
        }
    }

    /// Reads one gap; the index after `last`, or nil where the bytes end or the index needs more than 12 bits.
    @inline(__always)
    private static func next(
        _ position: inout UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>, after last: Int
    ) -> Int? {
        var index = last + 1
        while position < end {
            let byte = position.pointee
            position += 1
            index += Int(byte)
            guard index < chunkLength else { return nil }
            if byte != escape { return index }
        }
        return nil
    }

    /// What sections that fit into some bytes come to.
    struct Sizes {
        /// Indices of all sections.
        private(set) var indexCount = 0
        /// Bytes of all sections.
        private(set) var sectionByteCount = 0
        /// Bytes beside the sections.
        let restByteCount: Int
        /// No canonical gaps of these sections are more.
        let gapByteCountMax: Int

        /// Checks the sections; nil where they do not ascend inside the bytes.
        init?(_ sections: [IndexSection], rawByteCount: Int) {
            guard rawByteCount >= 0 else { return nil }
            var end = 0
            for section in sections {
                guard (1...IndexGaps.chunkLength).contains(section.indexCount), section.offset >= end,
                    section.offset <= rawByteCount, section.byteCount <= rawByteCount - section.offset
                else { return nil }
                end = section.offset + section.byteCount
                indexCount += section.indexCount
                sectionByteCount += section.byteCount
            }
            restByteCount = rawByteCount - sectionByteCount
            gapByteCountMax = indexCount + sections.count * IndexGaps.escapesMax
        }
    }
}
