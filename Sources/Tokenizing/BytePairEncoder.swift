import Numerics

/// The tables that turn text into ids by one `BytePairModel`.
final class BytePairEncoder: Sendable {
    let tokenBytes: TokenBytes
    let specialIDs: Set<Int32>
    private let preTokenizer: PreTokenizer
    /// Added tokens that are looked for first, and those that are looked for in what remains.
    private let matchers: [AddedTokenMatcher]
    private let merger: PieceMerger
    /// Buffers and caches of finished calls, for the next ones.
    private let idle = Lock<[EncodingScratch]>([])

    init(_ model: BytePairModel) {
        tokenBytes = TokenBytes(model)
        specialIDs = Set(model.addedTokens.filter(\.isSpecial).map(\.id))
        preTokenizer = model.preTokenizer
        matchers = [model.addedTokens.filter { !$0.isNormalized }, model.addedTokens.filter(\.isNormalized)]
            .map { AddedTokenMatcher($0) }.filter { !$0.isEmpty }
        merger = PieceMerger(model)
    }

    /// Scratch memory that is kept between calls, at most this many.
    private static let idleMax = 16

    /// Text shorter than this is not worth a second thread.
    private static let parallelBytesMin = 1 << 16
    /// Bytes that one task of a parallel call encodes: some hundred tasks for a large text, milliseconds each.
    private static let taskBytes = 1 << 17

    /// The ids of some bytes.
    func encode(_ bytes: [UInt8], pool: WorkerPool?) -> [Int32] {
        precondition(bytes.count < 1 << 32, "positions take 32 bits")
        return bytes.withUnsafeBufferPointer { original in
            guard let repaired = UTF8Repair.repaired(original) else { return encodeValid(original, pool) }
            return repaired.withUnsafeBufferPointer { encodeValid($0, pool) }
        }
    }

    private func encodeValid(_ text: UnsafeBufferPointer<UInt8>, _ pool: WorkerPool?) -> [Int32] {
        guard let base = text.baseAddress, !text.isEmpty else { return [] }
        return ScalarClassTable.shared.withView { classes in
            let stretches = stretches(of: base, count: text.count, classes)
            guard let pool, pool.threadCount > 1, text.count >= Self.parallelBytesMin, preTokenizer.endsPiecesAtLines
            else {
                var scratch = takeScratch()
                var ids: [Int32] = []
                ids.reserveCapacity(text.count / 3)
                for stretch in stretches { encode(Part(stretch), of: base, classes, &scratch, into: &ids) }
                keep(scratch)
                return ids
            }
            return encode(stretches.flatMap { Self.parts(of: $0, base) }, of: base, classes, pool)
        }
    }

    /// A part of a stretch of text that one task encodes: it ends where a piece ends.
    private struct Part {
        let range: Range<Int>
        /// The end of the stretch, to which the patterns may look.
        let end: Int
        let id: Int32

        init(_ stretch: TextStretch) {
            (range, end, id) = (stretch.range, stretch.range.upperBound, stretch.id)
        }

        init(range: Range<Int>, end: Int) { (self.range, self.end, id) = (range, end, -1) }
    }

    private static func parts(of stretch: TextStretch, _ text: UnsafePointer<UInt8>) -> [Part] {
        guard stretch.id < 0 else { return [Part(stretch)] }
        var parts: [Part] = []
        var start = stretch.range.lowerBound
        while start < stretch.range.upperBound {
            let stop = PieceCut.position(atOrAfter: start + taskBytes, of: text, end: stretch.range.upperBound)
            parts.append(Part(range: start..<stop, end: stretch.range.upperBound))
            start = stop
        }
        return parts
    }

    private func encode(
        _ parts: [Part], of text: UnsafePointer<UInt8>, _ classes: ScalarClassView, _ pool: WorkerPool
    ) -> [Int32] {
        var scratches = (0..<pool.threadCount).map { _ in takeScratch() }
        var results = [[Int32]](repeating: [], count: parts.count)
        scratches.withUnsafeMutableBufferPointer { scratches in
            results.withUnsafeMutableBufferPointer { results in
                // A task alone touches its result, and no two tasks of one worker run at once.
                pool.run(parts.count) { task, worker in
                    results[task].reserveCapacity(parts[task].range.count / 3)
                    encode(parts[task], of: text, classes, &scratches[worker], into: &results[task])
                }
            }
        }
        for scratch in scratches { keep(scratch) }
        var ids: [Int32] = []
        ids.reserveCapacity(results.reduce(0) { $0 + $1.count })
        for result in results { ids += result }
        return ids
    }

    private func stretches(
        of text: UnsafePointer<UInt8>, count: Int, _ classes: ScalarClassView
    ) -> [TextStretch] {
        var stretches = [TextStretch(range: 0..<count, id: -1)]
        for matcher in matchers {
            var finer: [TextStretch] = []
            for stretch in stretches {
                if stretch.id >= 0 {
                    finer.append(stretch)
                } else {
                    matcher.split(stretch.range, of: text, classes: classes, into: &finer)
                }
            }
            stretches = finer
        }
        return stretches
    }

    /// Encodes one part.
    private func encode(
        _ part: Part, of text: UnsafePointer<UInt8>, _ classes: ScalarClassView, _ scratch: inout EncodingScratch,
        into ids: inout [Int32]
    ) {
        guard part.id < 0 else { return ids.append(part.id) }
        var scanner = PieceScanner(text: text, classes: classes, pattern: preTokenizer.pattern, end: part.end)
        merger.withView { merger in
            if preTokenizer.digits == .none {
                encodeSegment(part.range, scanner, merger, &scratch, into: &ids)
                return
            }
            var start = part.range.lowerBound
            while start < part.range.upperBound {
                scanner.end = part.end
                let end = scanner.digitSegmentEnd(from: start, single: preTokenizer.digits == .single)
                scanner.end = end
                let stop = min(end, part.range.upperBound)
                encodeSegment(start..<stop, scanner, merger, &scratch, into: &ids)
                start = stop
            }
        }
    }

    @inline(__always)
    private func encodeSegment(
        _ range: Range<Int>, _ scanner: PieceScanner, _ merger: PieceMergerView, _ scratch: inout EncodingScratch,
        into ids: inout [Int32]
    ) {
        if preTokenizer.addsPrefixSpace, scanner.text[range.lowerBound] != UInt8(ascii: " ") {
            // The whole segment again with a space before it; such files are rare.
            let spaced =
                [UInt8(ascii: " ")]
                + UnsafeBufferPointer(start: scanner.text + range.lowerBound, count: range.count)
            spaced.withUnsafeBufferPointer { spaced in
                guard let text = spaced.baseAddress else { return }
                let scanner = PieceScanner(
                    text: text, classes: scanner.classes, pattern: scanner.pattern, end: spaced.count)
                encodePieces(0..<spaced.count, scanner, merger, &scratch, into: &ids)
            }
        } else {
            encodePieces(range, scanner, merger, &scratch, into: &ids)
        }
    }

    private func encodePieces(
        _ range: Range<Int>, _ scanner: PieceScanner, _ merger: PieceMergerView, _ scratch: inout EncodingScratch,
        into ids: inout [Int32]
    ) {
        var start = range.lowerBound
        while start < range.upperBound {
            let end = scanner.pieceEnd(from: start)
            merger.encode(
                UnsafeBufferPointer(start: scanner.text + start, count: end - start), &scratch, into: &ids)
            start = end
        }
    }

    // MARK: Scratch

    private func takeScratch() -> EncodingScratch { idle.withLock { $0.popLast() } ?? EncodingScratch() }

    private func keep(_ scratch: EncodingScratch) {
        idle.withLock { idle in
            if idle.count < Self.idleMax { idle.append(scratch) }
        }
    }
}

/// Places where every known pattern ends a piece, whatever stands before and after.
enum PieceCut {
    /// The first place at or after `position` that lies between a line feed and an ASCII letter, or `end`.
    ///
    /// A line feed joins nothing that follows it but white space, and a letter joins no line feed before it.
    static func position(atOrAfter position: Int, of text: UnsafePointer<UInt8>, end: Int) -> Int {
        var cut = max(position, 1)
        while cut < end {
            let next = text[cut] | 0x20
            if text[cut - 1] == 0x0a, next >= UInt8(ascii: "a"), next <= UInt8(ascii: "z") { return cut }
            cut += 1
        }
        return end
    }
}
