/// The merges of a model as tables.
struct PieceMerger: Sendable {
    /// The id of each byte, or -1.
    private var byteIDs = [Int32](repeating: -1, count: 256)
    /// `left << 32 | right` -> `rank << 32 | result`.
    private var merges: FlatMap
    /// The id of whole pieces, if they are to be taken as they are.
    private var wholePieces = PieceTable()
    private let ignoresMerges: Bool
    /// The id for bytes without one, or -1.
    private var unknown: Int32 = -1
    private let fusesUnknown: Bool

    init(_ model: BytePairModel) {
        ignoresMerges = model.ignoresMerges
        fusesUnknown = model.fusesUnknown
        merges = FlatMap(capacity: model.merges.count)
        for (rank, merge) in model.merges.enumerated() {
            merges[Self.key(merge.left, merge.right)] =
                UInt64(rank) << 32 | UInt64(UInt32(bitPattern: merge.result))
        }
        for entry in model.entries {
            if entry.name == model.unknownToken { unknown = entry.id }
            guard let bytes = ByteCharacters.bytes(ofName: entry.name) else { continue }
            if bytes.count == 1 { byteIDs[Int(bytes[0])] = entry.id }
            if ignoresMerges { wholePieces.insert(bytes, entry.id) }
        }
    }

    @inline(__always)
    static func key(_ left: Int32, _ right: Int32) -> UInt64 {
        UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
    }

    func withView(_ body: (PieceMergerView) -> Void) {
        byteIDs.withUnsafeBufferPointer { byteIDs in
            guard let bytes = byteIDs.baseAddress else { return }
            merges.withView { merges in
                body(
                    PieceMergerView(
                        byteIDs: bytes, merges: merges, wholePieces: ignoresMerges ? wholePieces : nil,
                        unknown: unknown, fusesUnknown: fusesUnknown))
            }
        }
    }
}

/// What the merging of one piece needs; valid inside `PieceMerger.withView`.
struct PieceMergerView {
    fileprivate let byteIDs: UnsafePointer<Int32>
    fileprivate let merges: FlatMapView
    fileprivate let wholePieces: PieceTable?
    fileprivate let unknown: Int32
    fileprivate let fusesUnknown: Bool

    /// Pieces of up to this many symbols are merged by repeated scans; longer ones, which are rare, with a heap.
    private static let scanMax = 64

    /// Appends the ids of a piece.
    @inline(__always)
    func encode(_ piece: UnsafeBufferPointer<UInt8>, _ scratch: inout EncodingScratch, into ids: inout [Int32]) {
        if piece.count == 1, byteIDs[Int(piece[0])] >= 0 { return ids.append(byteIDs[Int(piece[0])]) }
        guard piece.count <= PieceCache.pieceBytesMax else { return merge(piece, &scratch, into: &ids) }
        let hash = PieceHash.hash(piece)
        if scratch.cache.append(piece, hash, to: &ids) { return }
        let start = ids.count
        merge(piece, &scratch, into: &ids)
        scratch.cache.insert(piece, hash, ids, from: start)
    }

    private func merge(
        _ piece: UnsafeBufferPointer<UInt8>, _ scratch: inout EncodingScratch, into ids: inout [Int32]
    ) {
        if let id = wholePieces?[piece] { return ids.append(id) }
        if scratch.symbols.count < piece.count {
            scratch.symbols = [Int32](repeating: 0, count: 2 * piece.count)
            scratch.ranks = [UInt64](repeating: 0, count: 2 * piece.count)
        }
        scratch.symbols.withUnsafeMutableBufferPointer { symbols in
            guard let symbols = symbols.baseAddress else { return }
            var count = fill(symbols, from: piece)
            if count <= Self.scanMax {
                scratch.ranks.withUnsafeMutableBufferPointer { ranks in
                    guard let ranks = ranks.baseAddress else { return }
                    count = mergeByScans(symbols, ranks, count)
                }
            } else {
                count = LongPiece.merge(symbols, count, merges)
            }
            ids.append(contentsOf: UnsafeBufferPointer(start: symbols, count: count))
        }
    }

    /// The symbols of the bytes. Bytes without an entry vanish, or become the unknown token.
    private func fill(_ symbols: UnsafeMutablePointer<Int32>, from piece: UnsafeBufferPointer<UInt8>) -> Int {
        var count = 0
        var followsUnknown = false
        for byte in piece {
            let id = byteIDs[Int(byte)]
            if id >= 0 {
                symbols[count] = id
                count += 1
            } else if unknown >= 0, !(fusesUnknown && followsUnknown) {
                symbols[count] = unknown
                count += 1
            }
            followsUnknown = id < 0
        }
        return count
    }

    /// Merges the strongest pair, the leftmost of equals, until none is left; quadratic in `count`.
    @inline(__always)
    private func mergeByScans(
        _ symbols: UnsafeMutablePointer<Int32>, _ ranks: UnsafeMutablePointer<UInt64>, _ symbolCount: Int
    ) -> Int {
        var count = symbolCount
        guard count > 1 else { return count }
        func rank(_ index: Int) -> UInt64 {
            merges[PieceMerger.key(symbols[index], symbols[index + 1])] ?? UInt64.max
        }
        for index in 0..<(count - 1) { ranks[index] = rank(index) }
        while count > 1 {
            var (best, at) = (ranks[0], 0)
            for index in 1..<max(1, count - 1) where ranks[index] < best { (best, at) = (ranks[index], index) }
            guard best != UInt64.max else { break }
            symbols[at] = Int32(truncatingIfNeeded: best)
            count -= 1
            var index = at + 1
            while index < count {
                symbols[index] = symbols[index + 1]
                ranks[index - 1] = ranks[index]
                index += 1
            }
            if at + 1 < count { ranks[at] = rank(at) }
            if at > 0 { ranks[at - 1] = rank(at - 1) }
        }
        return count
    }
}

/// Merging with a heap of candidates: n log n, for pieces of any length.
private enum LongPiece {
    /// Merges the symbols in place; gives their new count.
    static func merge(_ symbols: UnsafeMutablePointer<Int32>, _ count: Int, _ merges: FlatMapView) -> Int {
        // Neighbours by position; a merged symbol stands at the place of its left part.
        var next = (0..<count).map { Int32(truncatingIfNeeded: $0 + 1) }
        var previous = (0..<count).map { Int32(truncatingIfNeeded: $0 - 1) }
        func position(_ link: Int32) -> Int { Int(UInt32(bitPattern: link)) }
        var isGone = [Bool](repeating: false, count: count)
        // `rank << 32 | position`, so that the least is the strongest and of those the leftmost.
        var heap = MinimumHeap()
        func candidate(_ left: Int, _ right: Int) -> UInt64? {
            merges[PieceMerger.key(symbols[left], symbols[right])].map { ($0 >> 32) << 32 | UInt64(left) }
        }
        for index in 0..<(count - 1) { if let item = candidate(index, index + 1) { heap.push(item) } }
        while let item = heap.pop() {
            let left = Int(item & 0xffff_ffff)
            let right = position(next[left])
            // The pair may have changed since; then it is another, which has its own place in the heap.
            guard !isGone[left], right < count,
                let merge = merges[PieceMerger.key(symbols[left], symbols[right])], merge >> 32 == item >> 32
            else { continue }
            symbols[left] = Int32(truncatingIfNeeded: merge)
            isGone[right] = true
            next[left] = next[right]
            let after = position(next[left])
            if after < count {
                previous[after] = Int32(truncatingIfNeeded: left)
                if let item = candidate(left, after) { heap.push(item) }
            }
            if left > 0, let item = candidate(position(previous[left]), left) { heap.push(item) }
        }
        var kept = 0
        for index in 0..<count where !isGone[index] {
            symbols[kept] = symbols[index]
            kept += 1
        }
        return kept
    }
}

/// A binary heap of integers, least first.
private struct MinimumHeap {
    private var items: [UInt64] = []

    mutating func push(_ item: UInt64) {
        items.append(item)
        var index = items.count - 1
        while index > 0, items[(index - 1) / 2] > item {
            items[index] = items[(index - 1) / 2]
            index = (index - 1) / 2
        }
        items[index] = item
    }

    mutating func pop() -> UInt64? {
        guard let least = items.first, let last = items.popLast() else { return nil }
        guard !items.isEmpty else { return least }
        var index = 0
        while 2 * index + 1 < items.count {
            var child = 2 * index + 1
            if child + 1 < items.count, items[child + 1] < items[child] { child += 1 }
            guard items[child] < last else { break }
            items[index] = items[child]
            index = child
        }
        items[index] = last
        return least
    }
}
