/// A long sequence of ids, in memory or in the shards of prepared folders.
///
/// Shards are read, not mapped: pages of a mapped file count as resident memory of the process for as long as the system
/// likes, a window that is read costs its own size. A shard is opened for each read, so that no corpus is too large for
/// the limit on open files.
struct TokenStore: Sendable {
    /// Part of the sequence.
    enum Segment: Sendable {
        case memory([UInt8])
        case file(path: String, tokenCount: Int)
    }

    private let segments: [Segment]
    /// Where each segment starts in the sequence, and the end.
    private let starts: [Int]
    private let width: TokenWidth
    private let vocabularySize: Int

    /// - Precondition: the counts add up to less than `Int.max / 4`, and files hold what is said of them.
    init(_ segments: [Segment], width: TokenWidth, vocabularySize: Int) {
        var starts = [0]
        var end = 0
        for segment in segments {
            switch segment {
            case .memory(let bytes): end += bytes.count / width.rawValue
            case .file(_, let tokenCount): end += tokenCount
            }
            starts.append(end)
        }
        self.segments = segments
        self.starts = starts
        self.width = width
        self.vocabularySize = vocabularySize
    }

    /// Ids in the sequence.
    var count: Int { starts[segments.count] }

    /// Appends the ids of a range.
    func read(_ range: Range<Int>, into ids: inout [Int32]) throws(CorpusError) {
        precondition(range.lowerBound >= 0 && range.upperBound <= count, "the range lies in the text")
        var position = range.lowerBound
        while position < range.upperBound {
            let index = segmentIndex(at: position)
            let part = position..<min(range.upperBound, starts[index + 1])
            let offset = (part.lowerBound - starts[index]) * width.rawValue
            let byteCount = part.count * width.rawValue
            switch segments[index] {
            case .memory(let bytes):
                bytes.withUnsafeBytes {
                    width.decode(UnsafeRawBufferPointer(rebasing: $0[offset..<offset + byteCount]), into: &ids)
                }
            case .file(let path, _): try read(path, offset: offset, byteCount: byteCount, into: &ids)
            }
            position = part.upperBound
        }
    }

    /// The segment that holds a position, by bisection.
    private func segmentIndex(at position: Int) -> Int {
        var (low, high) = (0, segments.count - 1)
        while low < high {
            let middle = (low + high + 1) / 2
            if starts[middle] <= position { low = middle } else { high = middle - 1 }
        }
        return low
    }

    private func read(_ path: String, offset: Int, byteCount: Int, into ids: inout [Int32]) throws(CorpusError) {
        var failure: Unreadable?
        let first = ids.count
        // On the stack for short windows, and freed at once for long ones.
        withUnsafeTemporaryAllocation(byteCount: byteCount, alignment: 8) { raw in
            do throws(Unreadable) {
                guard try PlainFile(path).read(into: raw, from: offset) else {
                    throw Unreadable("it is shorter than its index says")
                }
            } catch {
                failure = error
                return
            }
            width.decode(UnsafeRawBufferPointer(raw), into: &ids)
        }
        if let failure { throw .unreadable(path: path, reason: failure.reason) }
        // A model's tables are indexed with what comes from this file.
        guard ids[first...].allSatisfy({ $0 >= 0 && Int($0) < vocabularySize }) else {
            throw .damaged(path: path, reason: "it holds ids outside the vocabulary of \(vocabularySize)")
        }
    }
}
