package import Tokenizing

/// Text to measure a model on: all of it, or the part that training would hold out.
package struct EvaluationText: Sendable {
    /// One domain's windows.
    package struct Domain: Sendable {
        /// The domain's name.
        package let name: String
        /// The windows, none of which overlap in what they predict.
        package let windows: TokenWindows
        /// Bytes that the predicted tokens stand for.
        package let byteCount: Int
    }

    /// The domains in the order of the sources.
    package let domains: [Domain]
    /// Tokens that each window predicts: the context, or less where a domain is shorter than that.
    package let contextLength: Int

    /// Which part of the text.
    package enum Part: Hashable, Sendable {
        /// All of it.
        case all
        /// What `Corpus` holds out.
        case heldOut
    }

    /// Reads the text.
    ///
    /// - Parameter windowCountMax: windows per domain; longer text is sampled evenly.
    package init(
        _ sources: [DomainSource], part: Part, tokenizer: Tokenizer, contextLength: Int, windowCountMax: Int,
        byteCountMax: Int = Corpus.byteCountMaxDefault
    ) throws(CorpusError) {
        let domains: [(name: String, windows: TokenWindows)]
        switch part {
        case .heldOut:
            let corpus = try Corpus(
                sources, tokenizer: tokenizer, contextLength: contextLength, byteCountMax: byteCountMax)
            domains = try corpus.heldOutWindows(countMax: windowCountMax).map { ($0.domain, $0.windows) }
            self.contextLength = contextLength
        case .all:
            guard !sources.isEmpty else { throw .noDomains }
            var texts: [(name: String, tokens: TokenStore)] = []
            for source in sources {
                let text = try LoadedText.load(
                    source, tokenizer: tokenizer, byteCountMax: byteCountMax, excluded: [])
                guard text.tokens.count >= 2 else {
                    throw .tooSmall(domain: source.name, byteCount: text.summary.byteCount, byteCountNeeded: 2)
                }
                texts.append((source.name, text.tokens))
            }
            let length = min(contextLength, texts.reduce(Int.max) { min($0, $1.tokens.count - 1) })
            var cut: [(name: String, windows: TokenWindows)] = []
            for text in texts {
                cut.append(
                    (text.name, try TokenWindows(text.tokens, contextLength: length, countMax: windowCountMax)))
            }
            domains = cut
            self.contextLength = length
        }
        self.domains = domains.map { name, windows in
            Domain(
                name: name, windows: windows,
                byteCount: windows.targets.reduce(0) { $0 + (tokenizer.byteCount(of: $1) ?? 0) })
        }
    }
}
