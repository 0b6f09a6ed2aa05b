import Numerics

/// Takes the tokens of a domain in order; held-out documents and the others come mixed.
protocol TokenSink {
    /// Takes stored ids of the document that is under way.
    mutating func append(_ ids: UnsafeRawBufferPointer, isHeldOut: Bool) throws(CorpusError)
    /// The document under way is complete.
    mutating func endDocument(_ hash: ContentHash, isHeldOut: Bool) throws(CorpusError)
}

/// The second pass over the files of a domain: text becomes tokens.
///
/// While some threads encode a batch, one reads the next and one writes the one before. What comes out, and in which order,
/// depends on the text alone.
struct Tokenization {
    let encoder: UnitEncoder
    let pool: WorkerPool
    let observer: (any PreparationObserver)?

    /// Feeds `sink`, and completes the summary.
    func run(_ domain: inout DomainFiles, into sink: inout some TokenSink) throws(CorpusError) {
        var reader = UnitReader(domain.files)
        var units = try reader.nextBatch()
        var encoded: [EncodedUnit] = []
        while !units.isEmpty || !encoded.isEmpty {
            guard observer?.isCancelled != true else { throw .cancelled }
            var next: [WorkUnit] = []
            var results = [EncodedUnit](repeating: EncodedUnit(), count: units.count)
            var readFailure: CorpusError?
            var writeFailure: CorpusError?
            let written = encoded
            results.withUnsafeMutableBufferPointer { results in
                // Each variable that a task changes is touched by that task alone until `run` returns: reader, next and
                // readFailure by the first, sink, domain and writeFailure by the second, one result by each other.
                pool.run(units.count + 2) { task, _ in
                    switch task {
                    case 0: do throws(CorpusError) { next = try reader.nextBatch() } catch { readFailure = error }
                    case 1:
                        do throws(CorpusError) {
                            for unit in written { try Self.write(unit, into: &sink, &domain.summary) }
                        } catch { writeFailure = error }
                    default: results[task - 2] = encoder.encode(units[task - 2])
                    }
                }
            }
            if let failure = writeFailure ?? readFailure { throw failure }
            observer?.didTokenize(byteCount: results.reduce(0) { $0 + $1.byteCount })
            (units, encoded) = (next, results)
        }
        let summary = domain.summary
        if summary.trainingDocumentCount + summary.heldOutDocumentCount == 0, summary.usableLineCount == 0,
            let example = summary.malformedExample
        {
            throw .noUsableLine(domain: summary.name, lineCount: summary.malformedLineCount, example: example)
        }
    }

    private static func write(
        _ unit: EncodedUnit, into sink: inout some TokenSink, _ summary: inout DomainSummary
    ) throws(CorpusError) {
        summary.byteCount += unit.byteCount
        summary.usableLineCount += unit.usableLineCount
        summary.malformedLineCount += unit.malformedLineCount
        summary.excludedDocumentCount += unit.excludedCount
        if summary.malformedExample == nil { summary.malformedExample = unit.malformedExample }
        for segment in unit.segments {
            let isHeldOut = segment.hash.isHeldOut
            try unit.bytes.withBytes { raw throws(CorpusError) in
                try sink.append(UnsafeRawBufferPointer(rebasing: raw[segment.range]), isHeldOut: isHeldOut)
            }
            guard segment.endsDocument else { continue }
            try sink.endDocument(segment.hash, isHeldOut: isHeldOut)
            if isHeldOut { summary.heldOutDocumentCount += 1 } else { summary.trainingDocumentCount += 1 }
        }
    }
}
