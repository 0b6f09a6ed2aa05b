import Numerics
import Tokenizing

/// The tokens of one domain, split into a part to train on and a part to evaluate on.
struct DomainText: Sendable {
    let name: String
    let weight: Double
    /// Training text, files one after the other in the order of their content hashes.
    let training: [UInt16]
    /// Held-out text, likewise.
    let heldOut: [UInt16]
    let summary: DomainSummary
    let contextLength: Int

    /// A file is held out if its hash, as a fraction of all hashes, lies below this; a twentieth is plenty for a loss
    /// and dear to nobody.
    private static let heldOutThreshold = UInt64.max / 20

    /// Reads the files of a domain and splits them.
    static func load(
        _ source: DomainSource, tokenizer: Tokenizer, contextLength: Int, byteCountMax: Int, excluded: Set<[UInt8]>
    ) throws(CorpusError) -> DomainText {
        let paths = try paths(of: source)
        var summary = DomainSummary(name: source.name)
        let files = try read(paths, of: source, byteCountMax: byteCountMax, excluded: excluded, summary: &summary)
        let byteCount = files.reduce(0) { $0 + $1.content.count }
        let tokens = files.map { tokenizer.encode($0.content).map { UInt16($0) } }
        let window = contextLength + 1
        let (training, heldOut, heldOutFiles) = split(tokens, hashes: files.map(\.hash), window: window)
        guard training.count >= window, heldOut.count >= window else {
            throw .tooSmall(domain: source.name, byteCount: byteCount, byteCountNeeded: 2 * window)
        }
        summary.heldOutFileCount = heldOutFiles
        summary.trainingFileCount = files.count - heldOutFiles
        summary.trainingTokenCount = training.count
        summary.heldOutTokenCount = heldOut.count
        summary.windowCount = windowCount(tokenCount: training.count, contextLength: contextLength)
        return DomainText(
            name: source.name, weight: source.weight, training: training, heldOut: heldOut, summary: summary,
            contextLength: contextLength)
    }

    /// The bytes of all files of a domain, one after the other in the order of their hashes.
    static func allBytes(of source: DomainSource, byteCountMax: Int) throws(CorpusError) -> [UInt8] {
        var summary = DomainSummary(name: source.name)
        let files = try read(
            try paths(of: source), of: source, byteCountMax: byteCountMax, excluded: [], summary: &summary)
        return concatenated(files.map(\.content)[...])
    }

    private static func paths(of source: DomainSource) throws(CorpusError) -> [String] {
        let paths: [String]
        do { paths = try FilePattern.files(matching: source.patterns) } catch {
            throw .tooManyFiles(domain: source.name, limit: FilePattern.fileCountMax)
        }
        guard !paths.isEmpty else { throw .noFileMatched(domain: source.name, patterns: source.patterns) }
        return paths
    }

    private typealias HashedFile = (hash: ContentHash, content: [UInt8])

    /// Reads files in path order until the size limit; gives them in hash order, equal contents once.
    private static func read(
        _ paths: [String], of source: DomainSource, byteCountMax: Int, excluded: Set<[UInt8]>,
        summary: inout DomainSummary
    ) throws(CorpusError) -> [HashedFile] {
        var files: [HashedFile] = []
        var seen = excluded
        var bytesLeft = byteCountMax
        var example = ""
        for path in paths {
            guard bytesLeft > 0 else {
                summary.filesBeyondLimitCount += 1
                continue
            }
            let content: [UInt8]
            do { content = try TextFile.read(path, byteCountMax: bytesLeft) } catch {
                summary.unreadableFileCount += 1
                if example.isEmpty { example = "\(path): \(error.reason)" }
                continue
            }
            if content.count == bytesLeft { summary.filesBeyondLimitCount += 1 }
            let hash = ContentHash(of: content)
            guard !content.isEmpty, seen.insert(hash.bytes).inserted else {
                summary.redundantFileCount += 1
                continue
            }
            bytesLeft -= content.count
            files.append((hash, content))
        }
        if files.isEmpty, summary.unreadableFileCount > 0 {
            throw .nothingReadable(domain: source.name, fileCount: paths.count, example: example)
        }
        return files.sorted { $0.hash < $1.hash }
    }

    /// Splits by file, or, where that leaves one side without a window or most of the text untrained, holds the last
    /// tenth of the text out.
    ///
    /// Files come in hash order, so that those below the threshold are the first.
    private static func split(
        _ files: [[UInt16]], hashes: [ContentHash], window: Int
    ) -> (training: [UInt16], heldOut: [UInt16], heldOutFileCount: Int) {
        let total = files.reduce(0) { $0 + $1.count }
        var count = 0
        var heldOutTokens = 0
        while count < files.count, hashes[count].uniform < heldOutThreshold || heldOutTokens < window {
            heldOutTokens += files[count].count
            count += 1
        }
        if heldOutTokens >= window, total - heldOutTokens >= window, heldOutTokens <= total / 2 {
            return (concatenated(files[count...]), concatenated(files[..<count]), count)
        }
        let all = concatenated(files[...])
        let cut = max(0, total - max(window, total / 10))
        return (Array(all[..<cut]), Array(all[cut...]), 0)
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
    func trainingWindow(at position: UInt64, seed: UInt64, into tokens: inout [Int32]) {
        let windowCount = UInt64(summary.windowCount)
        let epoch = position / windowCount
        let order = Permutation(count: summary.windowCount, seed: seed, stream: epoch)
        var random = SeededRandom(seed: seed, stream: ~epoch)
        let shift = random.nextIndex(
            below: Self.shiftMax(tokenCount: training.count, contextLength: contextLength) + 1)
        let start = shift + order[Int(position % windowCount)] * contextLength
        for token in training[start...(start + contextLength)] { tokens.append(Int32(token)) }
    }

    /// At most `countMax` held-out windows, the same at every call, spread over the text.
    func heldOutWindows(countMax: Int) -> TokenWindows {
        let available = (heldOut.count - 1) / contextLength
        let count = max(0, min(available, countMax))
        // A fixed seed: losses of different runs and nodes are to be comparable.
        let order = Permutation(count: available, seed: 0x6865_6c64_206f_7574, stream: 0)
        let chosen = (0..<count).map { order[$0] }.sorted()
        var windows = TokenWindows(contextLength: contextLength)
        for index in chosen {
            let start = index * contextLength
            windows.tokens += heldOut[start...(start + contextLength)].map { Int32($0) }
        }
        return windows
    }
}

/// One array of all parts; `joined()` would go element by element.
private func concatenated<Element>(_ parts: ArraySlice<[Element]>) -> [Element] {
    var all: [Element] = []
    all.reserveCapacity(parts.reduce(0) { $0 + $1.count })
    for part in parts { all.append(contentsOf: part) }
    return all
}
