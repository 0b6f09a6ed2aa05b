import Numerics
import Tokenizing

/// The tokens of one domain, in memory or in prepared folders: first the documents that their hashes hold out, then the
/// others.
struct LoadedText: Sendable {
    let tokens: TokenStore
    /// Tokens of the documents that their hashes hold out.
    let heldOutTokenCount: Int
    /// Counts the documents; the split is not made yet.
    let summary: DomainSummary
    private let trainingEnds: Ends

    /// Where documents that are not held out end, counted from the first of them.
    private enum Ends: Sendable {
        /// The first ones, with as many tokens as the longest window needs.
        case memory([Int])
        case prepared([(folder: PreparedFolder, part: PreparedIndex.Part)])
    }

    static func load(
        _ source: DomainSource, tokenizer: Tokenizer, byteCountMax: Int, excluded: Set<[UInt8]>
    ) throws(CorpusError) -> LoadedText {
        let found = try FilePattern.files(of: source)
        guard found.prepared.isEmpty || found.files.isEmpty else { throw .preparedAndText(domain: source.name) }
        return found.prepared.isEmpty
            ? try read(found.files, of: source, tokenizer, byteCountMax: byteCountMax, excluded: excluded)
            : try open(found.prepared, of: source, tokenizer, excluded: excluded)
    }

    /// Calls `body` with the end of each document that is not held out, until it returns false or, in memory, ends are no
    /// longer known.
    func forEachTrainingEnd(_ body: (Int) -> Bool) throws(CorpusError) {
        switch trainingEnds {
        case .memory(let ends): _ = ends.allSatisfy(body)
        case .prepared(let parts):
            var start = 0
            for (folder, part) in parts {
                var goesOn = true
                try folder.forEachDocument(of: part) { document in
                    goesOn = body(start + document.end)
                    return goesOn
                }
                if !goesOn { return }
                start += part.tokenCount
            }
        }
    }

    private static func read(
        _ paths: [String], of source: DomainSource, _ tokenizer: Tokenizer, byteCountMax: Int, excluded: Set<[UInt8]>
    ) throws(CorpusError) -> LoadedText {
        var domain = try DomainFiles.scan(paths, of: source, byteCountMax: byteCountMax, excluded: excluded)
        let width = TokenWidth(vocabularySize: tokenizer.vocabularySize)
        var sink = MemorySink()
        let tokenization = Tokenization(
            encoder: UnitEncoder(
                tokenizer: tokenizer, width: width, endOfText: tokenizer.roles.eos, excluded: excluded),
            pool: WorkerPool(threadCount: WorkerPool.processorCount), observer: nil)
        try tokenization.run(&domain, into: &sink)
        return LoadedText(
            tokens: TokenStore(
                [.memory(sink.heldOut), .memory(sink.training)], width: width,
                vocabularySize: tokenizer.vocabularySize),
            heldOutTokenCount: sink.heldOut.count / width.rawValue, summary: domain.summary,
            trainingEnds: .memory(sink.trainingEnds.map { $0 / width.rawValue }))
    }

    private static func open(
        _ paths: [String], of source: DomainSource, _ tokenizer: Tokenizer, excluded: Set<[UInt8]>
    ) throws(CorpusError) -> LoadedText {
        var heldOut: [TokenStore.Segment] = []
        var training: [TokenStore.Segment] = []
        var heldOutTokenCount = 0
        var parts: [(PreparedFolder, PreparedIndex.Part)] = []
        var summary = DomainSummary(name: source.name)
        for path in paths {
            let folder = try PreparedFolder(path)
            try folder.check(tokenizer)
            let domain = try folder.domain(named: source.name)
            try folder.check(domain.training, excluding: excluded)
            heldOut += folder.segments(of: domain.heldOut)
            training += folder.segments(of: domain.training)
            heldOutTokenCount += domain.heldOut.tokenCount
            parts.append((folder, domain.training))
            summary.byteCount += domain.byteCount
            summary.heldOutDocumentCount += domain.heldOut.documentCount
            summary.trainingDocumentCount += domain.training.documentCount
        }
        return LoadedText(
            tokens: TokenStore(
                heldOut + training, width: TokenWidth(vocabularySize: tokenizer.vocabularySize),
                vocabularySize: tokenizer.vocabularySize),
            heldOutTokenCount: heldOutTokenCount, summary: summary, trainingEnds: .prepared(parts))
    }
}

/// Keeps the tokens of a domain in memory.
private struct MemorySink: TokenSink {
    var heldOut: [UInt8] = []
    var training: [UInt8] = []
    /// Where documents end in `training`, in bytes.
    var trainingEnds: [Int] = []

    /// Nobody asks where documents end behind the first window; no context is as long as this.
    private static let endsByteCountMax = 64 << 20

    mutating func append(_ ids: UnsafeRawBufferPointer, isHeldOut: Bool) {
        if isHeldOut { heldOut.append(contentsOf: ids) } else { training.append(contentsOf: ids) }
    }

    mutating func endDocument(_ hash: ContentHash, isHeldOut: Bool) {
        if !isHeldOut, (trainingEnds.last ?? 0) < Self.endsByteCountMax { trainingEnds.append(training.count) }
    }
}
