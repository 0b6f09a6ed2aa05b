import Numerics

/// Counts the pieces of text, which are the words that a vocabulary is trained on, by several threads.
///
/// Memory grows with the distinct words, not with the text. Totals do not depend on the number of threads.
struct WordCounter {
    private let preTokenizer: PreTokenizer
    private let pool: WorkerPool
    /// One table per worker.
    private var tables: [PieceTable]

    /// Bytes that one task counts.
    private static let taskBytes = 1 << 18

    init(preTokenizer: PreTokenizer, pool: WorkerPool) {
        self.preTokenizer = preTokenizer
        self.pool = pool
        tables = (0..<pool.threadCount).map { _ in PieceTable() }
    }

    /// Bytes of distinct words held, some of them by several workers.
    var byteCount: Int { tables.reduce(0) { $0 + $1.bytes.count } }

    /// Counts the words of documents; a word never spans two of them.
    mutating func add(_ documents: [[UInt8]]) {
        let texts = documents.map { document in
            document.withUnsafeBufferPointer { UTF8Repair.repaired($0) } ?? document
        }
        var parts: [(text: Int, range: Range<Int>)] = []
        for (index, text) in texts.enumerated() {
            text.withUnsafeBufferPointer { text in
                guard let base = text.baseAddress else { return }
                var start = 0
                while start < text.count {
                    let stop =
                        preTokenizer.endsPiecesAtLines
                        ? PieceCut.position(atOrAfter: start + Self.taskBytes, of: base, end: text.count) : text.count
                    parts.append((index, start..<stop))
                    start = stop
                }
            }
        }
        var tables: [PieceTable] = []
        swap(&tables, &self.tables)
        ScalarClassTable.shared.withView { classes in
            tables.withUnsafeMutableBufferPointer { tables in
                // No two tasks of one worker run at once, so each table has one user at a time.
                pool.run(parts.count) { task, worker in
                    let (index, range) = parts[task]
                    texts[index].withUnsafeBufferPointer { text in
                        guard let base = text.baseAddress else { return }
                        count(range, of: base, end: text.count, classes, into: &tables[worker])
                    }
                }
            }
        }
        self.tables = tables
    }

    private func count(
        _ range: Range<Int>, of text: UnsafePointer<UInt8>, end: Int, _ classes: ScalarClassView,
        into table: inout PieceTable
    ) {
        var scanner = PieceScanner(text: text, classes: classes, pattern: preTokenizer.pattern, end: end)
        var start = range.lowerBound
        while start < range.upperBound {
            scanner.end = end
            if preTokenizer.digits != .none {
                scanner.end = scanner.digitSegmentEnd(from: start, single: preTokenizer.digits == .single)
            }
            let stop = min(scanner.end, range.upperBound)
            while start < stop {
                let pieceEnd = scanner.pieceEnd(from: start)
                table.add(1, to: UnsafeBufferPointer(start: text + start, count: pieceEnd - start))
                start = pieceEnd
            }
        }
    }

    /// All words with their counts; the counter is empty afterwards.
    mutating func takeTotal() -> PieceTable {
        var total = tables.removeFirst()
        for table in tables {
            table.bytes.withUnsafeBufferPointer { bytes in
                for index in 0..<table.count {
                    let word = UnsafeBufferPointer(rebasing: bytes[table.starts[index]..<table.starts[index + 1]])
                    total.add(table.values[index], to: word)
                }
            }
        }
        tables = (0..<pool.threadCount).map { _ in PieceTable() }
        return total
    }
}
