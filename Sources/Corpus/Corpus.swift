import Numerics
package import Tokenizing

/// The text that a node trains on: named domains, split into training and held-out parts, cut into windows.
///
/// - A file is held out by the hash of its content (a twentieth of all hashes), so nodes that have the same file agree
///   wherever it lies. Where that leaves one side without a window, or holds out more than half of the text (a single
///   file, say), the last tenth of the domain's text is held out instead.
/// - Files with equal content count once. Files of a domain follow each other without a separator, in the order of their
///   hashes: the byte-level vocabulary has no token for it, and windows may span two files.
/// - Everything is held in memory, two bytes per token, up to a limit per domain.
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
    ///   - excluding: digests of files that are held out for everybody (`HeldOutFile.digest`).
    package init(
        _ sources: [DomainSource], tokenizer: Tokenizer, contextLength: Int,
        byteCountMax: Int = byteCountMaxDefault, excluding: Set<[UInt8]> = []
    ) throws(CorpusError) {
        precondition(contextLength > 0, "windows predict at least one token")
        precondition(tokenizer.vocabularySize <= 1 << 16, "ids are stored in 16 bits")
        guard !sources.isEmpty else { throw .noDomains }
        guard sources.count <= CorpusCursor.domainCountMax else {
            throw .tooManyDomains(limit: CorpusCursor.domainCountMax)
        }
        var names: Set<String> = []
        var sum = 0.0
        var sums: [Double] = []
        for source in sources {
            guard (1...CorpusCursor.nameBytesMax).contains(source.name.utf8.count) else {
                throw .invalidName(byteCountMax: CorpusCursor.nameBytesMax)
            }
            guard names.insert(source.name).inserted else { throw .duplicateDomain(source.name) }
            guard source.weight.isFinite, source.weight >= 0 else { throw .invalidWeight(domain: source.name) }
            sum += source.weight
            sums.append(sum)
        }
        guard sum > 0, sum.isFinite else { throw .invalidWeight(domain: sources[0].name) }
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
    package func nextWindows(count: Int, cursor: inout CorpusCursor) -> TokenWindows {
        var windows = TokenWindows(contextLength: contextLength)
        windows.tokens.reserveCapacity(count * (contextLength + 1))
        for _ in 0..<count {
            var random = SeededRandom(seed: cursor.seed, stream: cursor.drawnCount)
            let text = texts[domainIndex(for: random.next())]
            let position = cursor.positions[text.name, default: 0]
            // Domains of one node must not walk in step: each has a stream of its own.
            let seed = cursor.seed ^ ContentHash(of: Array(text.name.utf8)).uniform
            text.trainingWindow(at: position, seed: seed, into: &windows.tokens)
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
    package func heldOutWindows(countMax: Int) -> [(domain: String, windows: TokenWindows)] {
        texts.map { ($0.name, $0.heldOutWindows(countMax: countMax)) }
    }
}
