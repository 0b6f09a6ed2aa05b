/// Where the text of one domain comes from, and how often it is drawn.
package struct DomainSource: Hashable, Sendable {
    /// The name, unique in the corpus.
    package var name: String
    /// Globs, folders or files; see `FilePattern`.
    package var patterns: [String]
    /// The share of windows that come from this domain, relative to the other weights.
    package var weight: Double

    /// Wraps the three.
    package init(name: String, patterns: [String], weight: Double = 1) {
        self.name = name
        self.patterns = patterns
        self.weight = weight
    }
}

extension DomainSource {
    /// Throws unless there are domains, with names of their own and weights that add up to something.
    static func check(_ sources: [DomainSource]) throws(CorpusError) {
        guard !sources.isEmpty else { throw .noDomains }
        guard sources.count <= CorpusCursor.domainCountMax else {
            throw .tooManyDomains(limit: CorpusCursor.domainCountMax)
        }
        var names: Set<String> = []
        var sum = 0.0
        for source in sources {
            guard (1...CorpusCursor.nameBytesMax).contains(source.name.utf8.count) else {
                throw .invalidName(byteCountMax: CorpusCursor.nameBytesMax)
            }
            guard names.insert(source.name).inserted else { throw .duplicateDomain(source.name) }
            guard source.weight.isFinite, source.weight >= 0 else { throw .invalidWeight(domain: source.name) }
            sum += source.weight
        }
        guard sum > 0, sum.isFinite else { throw .invalidWeight(domain: sources[0].name) }
    }
}

/// What loading or preparing a domain took and what it left out.
package struct DomainSummary: Hashable, Sendable {
    /// The domain's name.
    package var name: String
    /// Files that were read; 0 for prepared text.
    package var fileCount = 0
    /// Bytes of text, decompressed.
    package var byteCount = 0
    /// Documents that are trained on: plain files, and lines of JSON lines.
    package var trainingDocumentCount = 0
    /// Documents that are held out for evaluation; 0 where the end of the text is.
    package var heldOutDocumentCount = 0
    /// Tokens that are trained on.
    package var trainingTokenCount = 0
    /// Tokens that are held out.
    package var heldOutTokenCount = 0
    /// Windows in one epoch.
    package var windowCount = 0
    /// Files that could not be read, or whose compressed data is damaged; nothing of them is used.
    package var unreadableFileCount = 0
    /// The first of them, with the reason.
    package var unreadableExample: String?
    /// Empty files, files with the same content as another, and files that are held out for everybody.
    package var redundantFileCount = 0
    /// Files that were left out, or cut, because the domain reached the size limit.
    package var filesBeyondLimitCount = 0
    /// Lines of JSON lines that hold text.
    package var usableLineCount = 0
    /// Lines of JSON lines that are no JSON, have no text, or are too long.
    package var malformedLineCount = 0
    /// The first of them, with the reason.
    package var malformedExample: String?
    /// Lines of JSON lines that are held out for everybody.
    package var excludedDocumentCount = 0
}
