import Numerics
package import Tokenizing

/// The text that a node trains on: named domains, split into training and held-out parts, cut into windows.
///
/// - A document is a plain file, or a line of JSON lines. It is held out by the hash of its text (a twentieth of all
///   hashes), so nodes that have the same document agree wherever it lies. Where that leaves one side without a window, or
///   holds out more than half of the text (a single file, say), the last tenth of the domain's text is held out instead.
/// - Files with equal content count once. Files of a domain follow each other in the order of their hashes, lines in that
///   of the file, each document ended by the tokenizer's end of text if it has one. Windows may span documents, but never
///   domains.
/// - Text is tokenized at once and held in memory, up to a limit per domain; prepared folders (`Preparation`) are read
///   window by window.
package struct Corpus: Sendable {
    /// Tokens that a window predicts.
    package let contextLength: Int
    /// What was loaded, in the order of the sources.
    package var domains: [DomainSummary] { texts.map(\.summary) }

    private let texts: [DomainText]
    /// Sums of the weights up to and including each domain.
    private let cumulativeWeights: [Double]

    /// The most text that is read per domain unless told otherwise.
    package static let byteCountMaxDefault = 256 << 20

    /// Reads and splits the text of all domains.
    ///
    /// - Parameters:
    ///   - byteCountMax: bytes read per domain; files beyond it are left out and counted.
    ///   - excluding: digests of documents that are held out for everybody (`HeldOutFile.digest`).
    package init(
        _ sources: [DomainSource], tokenizer: Tokenizer, contextLength: Int,
        byteCountMax: Int = byteCountMaxDefault, excluding: Set<[UInt8]> = []
    ) throws(CorpusError) {
        precondition(contextLength > 0, "windows predict at least one token")
        try DomainSource.check(sources)
        var sum = 0.0
        let sums = sources.map { source in
            sum += source.weight
            return sum
        }
        var texts: [DomainText] = []
        for source in sources {
            texts.append(
                try DomainText.load(
                    source, tokenizer: tokenizer, contextLength: contextLength, byteCountMax: byteCountMax,
                    excluded: excluding))
        }
        self.texts = texts
        self.contextLength = contextLength
        cumulativeWeights = sums
    }

    /// Draws the next windows of a node's sequence and moves its cursor.
    ///
    /// A domain is drawn by weight for each window; within it every window of an epoch comes once, in an order that depends
    /// on the cursor's seed. The sequence depends on data, seed and position alone, not on how it is cut into calls.
    /// Throws only where a prepared folder can no longer be read.
    package func nextWindows(count: Int, cursor: inout CorpusCursor) throws(CorpusError) -> TokenWindows {
        var windows = TokenWindows(contextLength: contextLength)
        windows.tokens.reserveCapacity(count * (contextLength + 1))
        for _ in 0..<count {
            var random = SeededRandom(seed: cursor.seed, stream: cursor.drawnCount)
            let text = texts[domainIndex(for: random.next())]
            let position = cursor.positions[text.name, default: 0]
            // Domains of one node must not walk in step: each has a stream of its own.
            let seed = cursor.seed ^ ContentHash(of: Array(text.name.utf8)).uniform
            try text.trainingWindow(at: position, seed: seed, into: &windows.tokens)
            cursor.positions[text.name] = position &+ 1
            cursor.drawnCount &+= 1
        }
        return windows
    }

    private func domainIndex(for bits: UInt64) -> Int {
        let target = Double(bits >> 11) * 0x1p-53 * (cumulativeWeights.last ?? 0)
        // The last domain with a weight takes what rounding may leave over.
        return cumulativeWeights.firstIndex { target < $0 } ?? (texts.lastIndex { $0.weight > 0 } ?? 0)
    }

    /// The held-out windows of each domain, at most `countMax` of each, the same at every call and for every node that has
    /// the same files.
    package func heldOutWindows(countMax: Int) throws(CorpusError) -> [(domain: String, windows: TokenWindows)] {
        try texts.map { text throws(CorpusError) in (text.name, try text.heldOutWindows(countMax: countMax)) }
    }
}
