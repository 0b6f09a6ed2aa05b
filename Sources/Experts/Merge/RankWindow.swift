/// Which values of a tensor lie between two ranks of an order by magnitude.
///
/// The order is ascending in the magnitude; of equal magnitudes the one with the lower index counts as the larger, so that
/// "the k largest" prefers earlier ones. Found by a radix selection over the magnitudes' bits: two passes, a third one
/// only where a bound falls among equal magnitudes, and no copy of the tensor.
struct RankWindow: Sendable {
    /// Where the window begins or ends.
    private struct Bound {
        /// Bits of the magnitude at which the rank lies.
        var bits: UInt32
        /// How many of the values with exactly these bits, the earliest first, lie at or above the rank.
        var above: Int
        /// How many have them.
        var equal: Int
    }

    /// Values at or above it are kept; nil: all are.
    private let from: Bound?
    /// Values at or above it are not kept; nil: none are too large.
    private let below: Bound?
    /// Per piece, how many values before it have exactly the bits of `from` and of `below`; empty where it does not matter.
    private let before: [(from: Int, below: Int)]

    /// Finds the window's bounds for several sequences of values at once.
    ///
    /// - Parameters:
    ///   - ranks: per sequence the ranks that are kept; a subrange of 0..<pass.count.
    ///   - reading: the inputs that the values are made of.
    ///   - magnitude: writes the bits of a piece's magnitudes, all below 2^31, for a sequence.
    static func find(
        _ ranks: [Range<Int>], _ pass: TensorPass, reading: [Int], byRows: Bool = false,
        magnitude: (_ sequence: Int, TensorPass.Piece, UnsafeMutablePointer<UInt32>) -> Void
    ) throws(MergeError) -> [RankWindow] {
        let count = pass.count
        /// The ranks to be found: per sequence its window's two ends, where they cut something off.
        var wanted: [(sequence: Int, rank: Int)] = []
        for (sequence, range) in ranks.enumerated() {
            if range.lowerBound > 0, range.lowerBound < count { wanted.append((sequence, range.lowerBound)) }
            if range.upperBound > 0, range.upperBound < count { wanted.append((sequence, range.upperBound)) }
        }
        let sequences = Set(wanted.map(\.sequence)).sorted()
        var bounds: [Int: [Int: Bound]] = [:]
        if !wanted.isEmpty {
            let upper = try pass.histograms(sequences.count, binCount: 1 << 16, reading: reading, byRows: byRows) {
                piece, bits, counters in
                for (place, sequence) in sequences.enumerated() {
                    magnitude(sequence, piece, bits)
                    let counter = counters + place << 16
                    for index in 0..<piece.count { counter[Int(bits[index] &>> 15)] &+= 1 }
                }
            }
            var digits: [(prefix: UInt32, less: Int)] = []
            for (sequence, rank) in wanted {
                let place = sequences.firstIndex(of: sequence) ?? 0
                digits.append(Self.bin(upper[place << 16..<(place + 1) << 16], holding: rank))
            }
            let lower = try pass.histograms(wanted.count, binCount: 1 << 15, reading: reading, byRows: byRows) {
                piece, bits, counters in
                for (place, (sequence, _)) in wanted.enumerated() {
                    magnitude(sequence, piece, bits)
                    let counter = counters + place << 15
                    let prefix = digits[place].prefix
                    for index in 0..<piece.count where bits[index] &>> 15 == prefix {
                        counter[Int(bits[index] & 0x7FFF)] &+= 1
                    }
                }
            }
            for (place, (sequence, rank)) in wanted.enumerated() {
                let (prefix, less) = digits[place]
                let bins = lower[place << 15..<(place + 1) << 15]
                let (digit, lessInBin) = Self.bin(bins, holding: rank - less)
                let equal = bins[bins.startIndex + Int(digit)]
                let position = rank - less - lessInBin
                bounds[sequence, default: [:]][rank] = Bound(
                    bits: prefix << 15 | digit, above: equal - position, equal: equal)
            }
        }
        return try ranks.enumerated().map { (sequence, range) throws(MergeError) in
            let from = bounds[sequence]?[range.lowerBound]
            let below = bounds[sequence]?[range.upperBound]
            // Where a bound falls between different magnitudes, the order of equal ones does not matter.
            let isCut = [from, below].contains { bound in bound.map { $0.above != $0.equal } ?? false }
            var before: [(from: Int, below: Int)] = []
            if isCut {
                before = try pass.equalCounts(reading: reading, byRows: byRows, from?.bits, below?.bits) {
                    piece, bits in magnitude(sequence, piece, bits)
                }
            }
            return RankWindow(from: from, below: below, before: before)
        }
    }

    /// The bin in which the value of a rank lies, and how many values are in the bins below.
    private static func bin(_ bins: ArraySlice<Int>, holding rank: Int) -> (UInt32, Int) {
        var less = 0
        for (digit, count) in bins.enumerated() {
            if rank < less + count { return (UInt32(digit), less) }
            less += count
        }
        preconditionFailure("a rank is below the number of values")
    }

    /// Calls `body` for every value of a piece with whether the window holds it.
    ///
    /// - Parameter bits: of the piece's magnitudes.
    @inline(__always)
    func forEach(
        in piece: TensorPass.Piece, _ bits: UnsafePointer<UInt32>, _ body: (_ index: Int, _ isKept: Bool) -> Void
    ) {
        let low = from?.bits ?? 0
        let high = below?.bits ?? .max
        guard !before.isEmpty else {
            // Both bounds in one comparison, which leaves no branch.
            let width = high &- low
            for index in 0..<piece.count { body(index, bits[index] &- low < width) }
            return
        }
        var (seenLow, seenHigh) = before[piece.index]
        let (lowAbove, highAbove) = (from?.above ?? 0, below?.above ?? 0)
        for index in 0..<piece.count {
            let value = bits[index]
            var isKept = value >= low && value <= high
            if let from, value == from.bits {
                isKept = isKept && seenLow < lowAbove
                seenLow += 1
            }
            if let below, value == below.bits {
                isKept = isKept && seenHigh >= highAbove
                seenHigh += 1
            }
            body(index, isKept)
        }
    }

    /// The least magnitude's bits that the window holds; 0 where it is open below.
    var lowerBits: UInt32 { from?.bits ?? 0 }
}

extension TensorPass {
    /// Counts values in bins; per sequence its bins, one sequence after the other.
    fileprivate func histograms(
        _ sequenceCount: Int, binCount: Int, reading: [Int], byRows: Bool,
        _ body: (Piece, UnsafeMutablePointer<UInt32>, UnsafeMutablePointer<Int>) -> Void
    ) throws(MergeError) -> [Int] {
        try counters(sequenceCount * binCount, reading: reading, byRows: byRows) { piece, counters in
            body(piece, piece.words, counters)
        }
    }

    /// Per piece how many values before it have exactly the given bits.
    fileprivate func equalCounts(
        reading: [Int], byRows: Bool, _ first: UInt32?, _ second: UInt32?,
        _ magnitude: (Piece, UnsafeMutablePointer<UInt32>) -> Void
    ) throws(MergeError) -> [(from: Int, below: Int)] {
        // No magnitude has the sign bit.
        let (first, second) = (first ?? .max, second ?? .max)
        let counts = try reduce(reading: reading, byRows: byRows, into: [(from: Int, below: Int)]()) { piece in
            let bits = piece.words
            magnitude(piece, bits)
            var counts = (from: 0, below: 0)
            for index in 0..<piece.count {
                counts.from &+= bits[index] == first ? 1 : 0
                counts.below &+= bits[index] == second ? 1 : 0
            }
            return counts
        } fold: { counts, piece in
            counts.append(piece)
        }
        var sum = (from: 0, below: 0)
        return counts.map { piece in
            defer { sum = (sum.from + piece.from, sum.below + piece.below) }
            return sum
        }
    }
}

extension TensorPass.Piece {
    /// The last block of scratch as words.
    var words: UnsafeMutablePointer<UInt32> {
        UnsafeMutableRawPointer(scratch(TensorPass.scratchCount - 1)).bindMemory(to: UInt32.self, capacity: 2 * count)
    }
}
