/// Windows of `contextLength + 1` tokens, one after the other: the first `contextLength` of each are the inputs, the last
/// `contextLength` the targets.
package struct TokenWindows: Hashable, Sendable {
    /// Tokens that a window predicts.
    package let contextLength: Int
    /// [count, contextLength + 1] ids.
    package var tokens: [Int32] = []

    /// No windows.
    package init(contextLength: Int) { self.contextLength = contextLength }

    /// Windows of a text that do not overlap in what they predict, at most `countMax`, evenly spread; none if the text is
    /// shorter than one.
    init(_ text: [Int32], contextLength: Int, countMax: Int) {
        self.init(contextLength: contextLength)
        for start in Self.spread(text.count, contextLength, countMax) {
            tokens += text[start...(start + contextLength)]
        }
    }

    /// The same of a text that may be in files.
    init(_ text: TokenStore, contextLength: Int, countMax: Int) throws(CorpusError) {
        self.init(contextLength: contextLength)
        for start in Self.spread(text.count, contextLength, countMax) {
            try text.read(start..<start + contextLength + 1, into: &tokens)
        }
    }

    private static func spread(_ tokenCount: Int, _ contextLength: Int, _ countMax: Int) -> [Int] {
        let available = max(0, (tokenCount - 1) / contextLength)
        let count = max(0, min(available, countMax))
        return (0..<count).map { index in
            // In full width: long text times many windows may be beyond an Int.
            let (high, low) = index.multipliedFullWidth(by: available)
            return count.dividingFullWidth((high, low)).quotient * contextLength
        }
    }

    /// The number of windows.
    package var count: Int { tokens.count / (contextLength + 1) }

    /// One window.
    package subscript(index: Int) -> ArraySlice<Int32> {
        tokens[(index * (contextLength + 1))..<((index + 1) * (contextLength + 1))]
    }

    /// [count, contextLength] input ids.
    package var inputs: [Int32] { (0..<count).flatMap { self[$0].dropLast() } }
    /// [count, contextLength] target ids.
    package var targets: [Int32] { (0..<count).flatMap { self[$0].dropFirst() } }
}
