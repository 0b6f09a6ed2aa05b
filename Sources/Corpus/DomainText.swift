import Numerics
import Tokenizing

/// The tokens of one domain, split into a part to train on and a part to evaluate on.
struct DomainText: Sendable {
    let name: String
    let weight: Double
    let tokens: TokenStore
    /// Where in `tokens` the text to train on is.
    let training: Range<Int>
    /// Where the held-out text is.
    let heldOut: Range<Int>
    let summary: DomainSummary
    let contextLength: Int

    /// Reads the text of a domain and splits it.
    static func load(
        _ source: DomainSource, tokenizer: Tokenizer, contextLength: Int, byteCountMax: Int, excluded: Set<[UInt8]>
    ) throws(CorpusError) -> DomainText {
        let text = try LoadedText.load(source, tokenizer: tokenizer, byteCountMax: byteCountMax, excluded: excluded)
        let window = contextLength + 1
        let split = try split(text, window: window)
        guard split.training.count >= window, split.heldOut.count >= window else {
            throw .tooSmall(domain: source.name, byteCount: text.summary.byteCount, byteCountNeeded: 2 * window)
        }
        var summary = text.summary
        let documentCount = summary.heldOutDocumentCount + summary.trainingDocumentCount
        summary.heldOutDocumentCount = split.heldOutDocumentCount
        summary.trainingDocumentCount = documentCount - split.heldOutDocumentCount
        summary.trainingTokenCount = split.training.count
        summary.heldOutTokenCount = split.heldOut.count
        summary.windowCount = windowCount(tokenCount: split.training.count, contextLength: contextLength)
        return DomainText(
            name: source.name, weight: source.weight, tokens: text.tokens, training: split.training,
            heldOut: split.heldOut, summary: summary, contextLength: contextLength)
    }

    /// Splits by document, or, where that leaves one side without a window or most of the text untrained, holds the last
    /// tenth of the text out.
    private static func split(
        _ text: LoadedText, window: Int
    ) throws(CorpusError) -> (training: Range<Int>, heldOut: Range<Int>, heldOutDocumentCount: Int) {
        let total = text.tokens.count
        var count = text.summary.heldOutDocumentCount
        var end = text.heldOutTokenCount
        if end < window {
            // Too few fell below the threshold: those that follow join them.
            try text.forEachTrainingEnd { trainingEnd in
                end = text.heldOutTokenCount + trainingEnd
                count += 1
                return end < window
            }
        }
        if end >= window, total - end >= window, end <= total / 2 { return (end..<total, 0..<end, count) }
        let cut = max(0, total - max(window, total / 10))
        return (0..<cut, cut..<total, 0)
    }

    // MARK: Windows

    /// Windows of one epoch: each predicts `contextLength` tokens that no other of the epoch predicts.
    private static func windowCount(tokenCount: Int, contextLength: Int) -> Int {
        max(1, (tokenCount - 1 - shiftMax(tokenCount: tokenCount, contextLength: contextLength)) / contextLength)
    }

    private static func shiftMax(tokenCount: Int, contextLength: Int) -> Int {
        min(contextLength - 1, tokenCount - 1 - contextLength)
    }

    /// The window number `position` of an endless sequence: epoch after epoch, each in an order of its own and cut at an
    /// offset of its own.
    func trainingWindow(at position: UInt64, seed: UInt64, into ids: inout [Int32]) throws(CorpusError) {
        let windowCount = UInt64(summary.windowCount)
        let epoch = position / windowCount
        let order = Permutation(count: summary.windowCount, seed: seed, stream: epoch)
        var random = SeededRandom(seed: seed, stream: ~epoch)
        let shift = random.nextIndex(
            below: Self.shiftMax(tokenCount: training.count, contextLength: contextLength) + 1)
        let start = training.lowerBound + shift + order[Int(position % windowCount)] * contextLength
        try tokens.read(start..<start + contextLength + 1, into: &ids)
    }

    /// At most `countMax` held-out windows, the same at every call, spread over the text.
    func heldOutWindows(countMax: Int) throws(CorpusError) -> TokenWindows {
        let available = (heldOut.count - 1) / contextLength
        let count = max(0, min(available, countMax))
        // A fixed seed: losses of different runs and nodes are to be comparable.
        let order = Permutation(count: available, seed: 0x6865_6c64_206f_7574, stream: 0)
        let chosen = (0..<count).map { order[$0] }.sorted()
        var windows = TokenWindows(contextLength: contextLength)
        for index in chosen {
            let start = heldOut.lowerBound + index * contextLength
            try tokens.read(start..<start + contextLength + 1, into: &windows.tokens)
        }
        return windows
    }
}
