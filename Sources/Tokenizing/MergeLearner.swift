/// Learns merges from counted words: again and again the most frequent pair of neighbouring symbols becomes a symbol.
///
/// The choices are those of `tokenizers` (BpeTrainer): among equal counts the pair with the least ids, left before right;
/// a pair whose text is a token already gives that token; the count of a merged pair is left as it is, which matters if it
/// comes up again through such a token. Counts have 64 bits here and 32 there.
struct MergeLearner {
    /// A pair that may be merged, and the words that may hold it.
    private struct Candidate {
        var count: Int64
        /// `left << 32 | right`.
        let key: UInt64
        /// Where its words lie in `wordLists`; also its age.
        let words: Range<Int>

        /// Whether it comes before another.
        @inline(__always)
        func precedes(_ other: Candidate) -> Bool {
            if count != other.count { return count > other.count }
            if key != other.key { return key < other.key }
            return words.lowerBound < other.words.lowerBound
        }
    }

    /// The symbols of all words of at least two bytes, one word after the other; words shrink in place.
    private var symbols: [Int32] = []
    private var starts: [Int] = []
    private var lengths: [Int32] = []
    private var counts: [Int64] = []
    private var pairCounts = FlatMap(capacity: 1 << 16)
    private var heap: [Candidate] = []
    /// Word numbers, a range per candidate. Every merge of two symbols adds two at most and takes a symbol away, so this
    /// is never longer than three times the text.
    private var wordLists: [Int32] = []
    private var neighbours: (left: NeighbourCounts, right: NeighbourCounts)

    /// - Parameters:
    ///   - words: bytes and counts.
    ///   - byteIDs: the symbol of each byte.
    ///   - vocabularySize: no id reaches it.
    init(words: PieceTable, byteIDs: [Int32], vocabularySize: Int) {
        neighbours = (NeighbourCounts(count: vocabularySize), NeighbourCounts(count: vocabularySize))
        symbols.reserveCapacity(words.bytes.count)
        for index in 0..<words.count {
            let range = words.starts[index]..<words.starts[index + 1]
            guard range.count > 1 else { continue }
            starts.append(symbols.count)
            lengths.append(Int32(range.count))
            counts.append(words.values[index])
            for byte in words.bytes[range] { symbols.append(byteIDs[Int(byte)]) }
        }
        countPairs(byteIDs)
    }

    /// Counts the pairs of bytes and lists the words of each.
    private mutating func countPairs(_ byteIDs: [Int32]) {
        let size = Int(byteIDs.max() ?? 0) + 1
        var totals = [Int64](repeating: 0, count: size * size)
        var occurrences = [Int](repeating: 0, count: size * size)
        var last = [Int32](repeating: -1, count: size * size)
        eachPair(size) { pair, word, count in
            totals[pair] += count
            if last[pair] != word {
                last[pair] = word
                occurrences[pair] += 1
            }
        }
        var places = [Int](repeating: 0, count: size * size)
        var place = 0
        for pair in 0..<(size * size) {
            places[pair] = place
            place += occurrences[pair]
            last[pair] = -1
        }
        wordLists = [Int32](repeating: 0, count: place)
        var lists = wordLists
        var cursors = places
        eachPair(size) { pair, word, _ in
            guard last[pair] != word else { return }
            last[pair] = word
            lists[cursors[pair]] = word
            cursors[pair] += 1
        }
        wordLists = lists
        for pair in 0..<(size * size) where totals[pair] > 0 {
            let key = PieceMerger.key(Int32(pair / size), Int32(pair % size))
            _ = pairCounts.add(totals[pair], to: key)
            push(Candidate(count: totals[pair], key: key, words: places[pair]..<(places[pair] + occurrences[pair])))
        }
    }

    private func eachPair(_ size: Int, _ body: (_ pair: Int, _ word: Int32, _ count: Int64) -> Void) {
        symbols.withUnsafeBufferPointer { symbols in
            for word in 0..<starts.count {
                let start = starts[word]
                for index in start..<(start + Int(lengths[word]) - 1) {
                    body(
                        Int(symbols[index]) * size + Int(symbols[index + 1]), Int32(truncatingIfNeeded: word),
                        counts[word])
                }
            }
        }
    }

    /// The strongest pair that is left, and its words; nil if none comes at least `countMin` times.
    private mutating func next(countMin: Int64) -> Candidate? {
        while var top = pop() {
            let count = Int64(bitPattern: pairCounts[top.key] ?? 0)
            guard top.count == count else {
                // Fewer are left than when it was listed: back to its place.
                top.count = count
                push(top)
                continue
            }
            return count >= max(1, countMin) ? top : nil
        }
        return nil
    }

    /// Takes the strongest pair and merges it in all its words; nil if none comes at least `countMin` times.
    ///
    /// - Parameter result: gives the id of the merged pair.
    mutating func merge(
        countMin: Int64, result: (_ left: Int32, _ right: Int32) -> Int32
    ) -> (left: Int32, right: Int32, result: Int32)? {
        guard let top = next(countMin: countMin) else { return nil }
        let (left, right) = (
            Int32(truncatingIfNeeded: top.key >> 32), Int32(truncatingIfNeeded: top.key & 0xffff_ffff)
        )
        let id = result(left, right)
        apply(left, right, id, to: top.words)
        update(left, right, id)
        return (left, right, id)
    }

    /// Replaces the pair in the words of a list and counts its neighbours.
    private mutating func apply(_ left: Int32, _ right: Int32, _ id: Int32, to words: Range<Int>) {
        // Taken out for the time, so that the rest can be changed meanwhile.
        var (symbols, wordLists): ([Int32], [Int32]) = ([], [])
        swap(&symbols, &self.symbols)
        swap(&wordLists, &self.wordLists)
        defer {
            swap(&symbols, &self.symbols)
            swap(&wordLists, &self.wordLists)
        }
        symbols.withUnsafeMutableBufferPointer { symbols in
            wordLists.withUnsafeBufferPointer { wordLists in
                for place in words {
                    let word = wordLists[place]
                    let start = starts[Int(word)]
                    let end = start + Int(lengths[Int(word)])
                    var index = start
                    while index + 1 < end, symbols[index] != left || symbols[index + 1] != right { index += 1 }
                    guard index + 1 < end else { continue }
                    let count = counts[Int(word)]
                    var kept = index
                    while index < end {
                        guard index + 1 < end, symbols[index] == left, symbols[index + 1] == right else {
                            symbols[kept] = symbols[index]
                            kept += 1
                            index += 1
                            continue
                        }
                        if kept > start { neighbours.left.add(symbols[kept - 1], word, count) }
                        if index + 2 < end { neighbours.right.add(symbols[index + 2], word, count) }
                        symbols[kept] = id
                        kept += 1
                        index += 2
                    }
                    lengths[Int(word)] = Int32(truncatingIfNeeded: kept - start)
                }
            }
        }
    }

    /// Moves the neighbours' counts from the old pairs to the new ones and lists these.
    private mutating func update(_ left: Int32, _ right: Int32, _ id: Int32) {
        // Every change before any list: a later change may take from a pair that an earlier one made.
        for other in neighbours.left.touched {
            let count = neighbours.left.count(of: other)
            _ = pairCounts.add(-count, to: PieceMerger.key(other, left))
            _ = pairCounts.add(count, to: PieceMerger.key(other, id))
        }
        for other in neighbours.right.touched {
            let count = neighbours.right.count(of: other)
            _ = pairCounts.add(-count, to: PieceMerger.key(right, other))
            _ = pairCounts.add(count, to: PieceMerger.key(id, other))
        }
        // The pair of two results may have been found from both sides: one list for it.
        let both = neighbours.right.takeWords(of: id, ifTouchedIn: neighbours.left)
        let lefts = neighbours.left.takeLists(into: &wordLists, adding: both, to: id)
        let rights = neighbours.right.takeLists(into: &wordLists, adding: [], to: -1)
        for (other, words) in lefts { list(PieceMerger.key(other, id), words) }
        for (other, words) in rights where !words.isEmpty { list(PieceMerger.key(id, other), words) }
    }

    private mutating func list(_ key: UInt64, _ words: Range<Int>) {
        let count = Int64(bitPattern: pairCounts[key] ?? 0)
        if count > 0 { push(Candidate(count: count, key: key, words: words)) }
    }

    // MARK: Heap

    /// Children per node: a wide heap has fewer levels, and pushes are cheap.
    private static let arity = 8

    private mutating func push(_ candidate: Candidate) {
        heap.append(candidate)
        heap.withUnsafeMutableBufferPointer { heap in
            var index = heap.count - 1
            while index > 0 {
                let parent = (index - 1) / Self.arity
                guard candidate.precedes(heap[parent]) else { break }
                heap[index] = heap[parent]
                index = parent
            }
            heap[index] = candidate
        }
    }

    private mutating func pop() -> Candidate? {
        guard let top = heap.first, let last = heap.popLast() else { return nil }
        guard !heap.isEmpty else { return top }
        heap.withUnsafeMutableBufferPointer { heap in
            var index = 0
            while Self.arity * index + 1 < heap.count {
                let first = Self.arity * index + 1
                var best = first
                for child in first..<min(first + Self.arity, heap.count) where heap[child].precedes(heap[best]) {
                    best = child
                }
                guard heap[best].precedes(last) else { break }
                heap[index] = heap[best]
                index = best
            }
            heap[index] = last
        }
        return top
    }
}

/// How often each symbol stands on one side of a pair that is being merged, and in which words.
private struct NeighbourCounts {
    /// The symbols seen, in the order of first sight.
    private(set) var touched: [Int32] = []
    private var counts: [Int64]
    private var listLengths: [Int32]
    private var lastWords: [Int32]
    private var places: [Int]
    /// (symbol, word), each once, in the order of the words.
    private var events: [(symbol: Int32, word: Int32)] = []

    init(count: Int) {
        counts = [Int64](repeating: 0, count: count)
        listLengths = [Int32](repeating: 0, count: count)
        lastWords = [Int32](repeating: -1, count: count)
        places = [Int](repeating: 0, count: count)
    }

    func count(of symbol: Int32) -> Int64 { counts[Int(symbol)] }

    @inline(__always)
    mutating func add(_ symbol: Int32, _ word: Int32, _ count: Int64) {
        let index = Int(symbol)
        if lastWords[index] != word {
            if lastWords[index] < 0 { touched.append(symbol) }
            lastWords[index] = word
            listLengths[index] += 1
            events.append((symbol, word))
        }
        counts[index] += count
    }

    /// Removes and gives the words of a symbol if `other` has seen it too.
    mutating func takeWords(of symbol: Int32, ifTouchedIn other: NeighbourCounts) -> [Int32] {
        guard other.listLengths[Int(symbol)] > 0, listLengths[Int(symbol)] > 0 else { return [] }
        let words = events.filter { $0.symbol == symbol }.map(\.word)
        events.removeAll { $0.symbol == symbol }
        listLengths[Int(symbol)] = 0
        return words
    }

    /// Appends the words of every symbol to `lists`, one range each, and forgets everything.
    ///
    /// - Parameters:
    ///   - extra: more words for the symbol `owner`; a word may then be listed twice, which does no harm.
    mutating func takeLists(
        into lists: inout [Int32], adding extra: [Int32], to owner: Int32
    ) -> [(symbol: Int32, words: Range<Int>)] {
        var ranges: [(symbol: Int32, words: Range<Int>)] = []
        ranges.reserveCapacity(touched.count)
        var place = lists.count
        lists.append(contentsOf: repeatElement(0, count: events.count + extra.count))
        for symbol in touched {
            let length = Int(listLengths[Int(symbol)]) + (symbol == owner ? extra.count : 0)
            ranges.append((symbol, place..<(place + length)))
            places[Int(symbol)] = place
            place += length
        }
        for (symbol, word) in events {
            lists[places[Int(symbol)]] = word
            places[Int(symbol)] += 1
        }
        for word in extra {
            lists[places[Int(owner)]] = word
            places[Int(owner)] += 1
        }
        for symbol in touched {
            counts[Int(symbol)] = 0
            listLengths[Int(symbol)] = 0
            lastWords[Int(symbol)] = -1
        }
        touched.removeAll(keepingCapacity: true)
        events.removeAll(keepingCapacity: true)
        return ranges
    }
}
