package import Numerics

/// The text of some domains for those who learn from it as it is: a vocabulary, say.
///
/// Two passes like `Preparation`, whose rules about order, copies and damage hold. Memory does not grow with the text.
package struct TextReader {
    /// What was read and left out; complete after the last batch.
    package private(set) var domains: [DomainSummary]
    /// Bytes of files' text, JSON lines with all that they hold.
    package let byteCount: Int

    private let pool: WorkerPool
    private var readers: [UnitReader]

    /// Finds the files and reads them once.
    package init(
        _ sources: [DomainSource], pool: WorkerPool, observer: any PreparationObserver
    ) throws(CorpusError) {
        try DomainSource.check(sources)
        domains = []
        readers = []
        var byteCount = 0
        for source in sources {
            let found = try FilePattern.files(of: source)
            guard found.prepared.isEmpty else { throw .alreadyPrepared(path: found.prepared[0]) }
            let files = try DomainFiles.scan(found.files, of: source, pool: pool, observer: observer)
            domains.append(files.summary)
            readers.append(UnitReader(files.files))
            byteCount += files.byteCount
        }
        self.pool = pool
        self.byteCount = byteCount
        observer.didFinishScan(textByteCount: byteCount)
    }

    /// The next texts, a few MiB: documents, and pieces of long ones; nil at the end. `byteCount` of files went into them.
    package mutating func next() throws(CorpusError) -> (texts: [[UInt8]], byteCount: Int)? {
        while let index = readers.indices.first(where: { !readers[$0].isAtEnd }) {
            let units = try readers[index].nextBatch()
            guard !units.isEmpty else { continue }
            var results = [UnitText](repeating: UnitText(), count: units.count)
            results.withUnsafeMutableBufferPointer { results in
                // Every task writes one element, its own.
                pool.run(units.count) { task, _ in results[task] = UnitText(units[task]) }
            }
            var texts: [[UInt8]] = []
            for result in results {
                texts += result.texts
                domains[index].byteCount += result.texts.reduce(0) { $0 + $1.count }
                domains[index].usableLineCount += result.usableLineCount
                domains[index].malformedLineCount += result.malformedLineCount
                if domains[index].malformedExample == nil { domains[index].malformedExample = result.malformedExample }
            }
            return (texts, units.reduce(0) { $0 + $1.bytes.count })
        }
        for domain in domains where domain.byteCount == 0 {
            guard let example = domain.malformedExample else { continue }
            throw .noUsableLine(domain: domain.name, lineCount: domain.malformedLineCount, example: example)
        }
        return nil
    }
}

/// The texts of one unit.
private struct UnitText: Sendable {
    var texts: [[UInt8]] = []
    var usableLineCount = 0
    var malformedLineCount = 0
    var malformedExample: String?

    init() {}

    init(_ unit: WorkUnit) {
        switch unit.kind {
        case .piece: texts = [unit.bytes]
        case .overlongLine(let path, let number):
            malformedLineCount = 1
            malformedExample = "\(path), line \(number): it is longer than \(UnitEncoder.lineByteCountMax >> 20) MiB"
        case .lines(let path, let first):
            let lines = unit.bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
            for (index, line) in lines.enumerated() where line.contains(where: { $0 > 0x20 }) {
                do throws(UnitEncoder.MalformedLine) {
                    texts.append(try UnitEncoder.text(of: Array(line)))
                    usableLineCount += 1
                } catch {
                    malformedLineCount += 1
                    if malformedExample == nil { malformedExample = "\(path), line \(first + index): \(error.reason)" }
                }
            }
        }
    }
}
