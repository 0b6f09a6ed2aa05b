import NumericsBaseline

/// The low-rank codec: the tile as a matrix is the product of two thin factors, found by power iterations.
///
/// A tile's bytes are one float32 scale for every factor, then the left vectors, then the right vectors over their scale,
/// both in half precision. Format: protocols/payload.md.
/// - SeeAlso: Vogels et al., PowerSGD (arXiv:1905.13727): P = orthonormal(A Q), Q = transposed(A) P. It averages P and Q
///   among all workers; here every worker sends both.
struct LowRank {
    /// Larger values are refused: the sum of 64 products of them and their factors stays below 2^100.
    static let magnitudeMax: Float = 0x1p80
    /// The largest and the smallest scale but 0: a column's norm is below 2^80 times the root of 2^26 rows.
    private static let scaleMax: Float = 0x1p93
    private static let scaleMin: Float = 0x1p-100
    /// Rounds of the search: each is a product with the matrix and one with its transpose.
    private static let rounds = 2
    /// The bits of 1 in half precision: no entry of a vector is larger.
    private static let one: UInt32 = 0x3C00

    /// The number of factors: the rank asked for, unless the matrix has fewer rows or columns.
    let rank: Int
    private let rows: Int
    private let columns: Int
    private let count: Int

    init(rank: UInt8, shape: TileShape) {
        precondition((1...64).contains(rank), "the rank is 1 to 64")
        count = shape.count
        columns = max(1, min(shape.columns, shape.count))
        rows = (count + columns - 1) / columns
        self.rank = min(Int(rank), rows, columns)
    }

    /// The size of an encoded tile.
    var byteCount: Int { rank * (4 + 2 * rows + 2 * columns) }

    // MARK: Encoding

    /// Encodes the values of one tile; `bytes` has the exact size.
    func encode(
        _ values: UnsafeBufferPointer<Float>, memory: inout EncoderMemory, into bytes: UnsafeMutableRawBufferPointer
    ) throws(CodecError) {
        guard let input = values.baseAddress, let output = bytes.baseAddress else { return }
        guard commitLargestMagnitudeBits(input, count: count) <= Self.magnitudeMax.bitPattern else {
            throw .firstOutOfRange(in: values, magnitudeMax: Self.magnitudeMax)
        }
        if memory.rightFactor.count != rank * columns {
            memory.rightFactor = [Float](repeating: 0, count: rank * columns)
        }
        memory.rightFactor.withUnsafeMutableBufferPointer { right in
            withUnsafeTemporaryAllocation(of: Float.self, capacity: rank * rows) { left in
                guard let right = right.baseAddress, let left = left.baseAddress else { return }
                for round in 0..<Self.rounds {
                    prepareStart(right, round: round)
                    commitLeftFactor(input, count: count, columns: columns, right: right, rank: rank, left: left)
                    commitOrthonormalize(left, rank: rank, length: rows)
                    commitRightFactor(input, count: count, columns: columns, left: left, rank: rank, right: right)
                }
                write(left: left, right: right, into: output)
            }
        }
    }

    /// Brings every right vector to a largest magnitude of 1; one that is 0, as all are before the first message, starts
    /// from numbers that depend on its place alone.
    private func prepareStart(_ right: UnsafeMutablePointer<Float>, round: Int) {
        for factor in 0..<rank {
            let vector = right + factor * columns
            let largest = Float(bitPattern: commitLargestMagnitudeBits(vector, count: columns))
            if largest >= Self.scaleMin {
                commitDivide(vector, count: columns, by: largest)
                continue
            }
            for column in 0..<columns {
                var word = UInt64(truncatingIfNeeded: factor << 32 | column) &* 0x9E37_79B9_7F4A_7C15
                word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
                word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
                vector[column] = Float(Int32(truncatingIfNeeded: word >> 32)) * 0x1p-31
            }
        }
    }

    /// Writes scales and both factors. A vector too small to scale safely is 0, and so is its partner.
    private func write(
        left: UnsafeMutablePointer<Float>, right: UnsafeMutablePointer<Float>, into output: UnsafeMutableRawPointer
    ) {
        let halves = output + 4 * rank
        for factor in 0..<rank {
            let leftVector = left + factor * rows
            let rightVector = right + factor * columns
            let scale = Float(bitPattern: commitLargestMagnitudeBits(rightVector, count: columns))
            let isScaled = scale >= Self.scaleMin
            output.store(isScaled ? scale : 0, at: 4 * factor)
            if isScaled {
                commitDivide(rightVector, count: columns, by: scale)
            } else {
                for row in 0..<rows { leftVector[row] = 0 }
                for column in 0..<columns { rightVector[column] = 0 }
            }
            _ = commitHalfEncode(leftVector, count: rows, halves: halves + 2 * factor * rows)
            _ = commitHalfEncode(
                rightVector, count: columns, halves: halves + 2 * (rank * rows + factor * columns))
        }
    }

    // MARK: Decoding

    /// Decodes one tile; `bytes` has the exact size.
    func decode(_ bytes: UnsafeRawBufferPointer, into values: UnsafeMutableBufferPointer<Float>) throws(CodecError) {
        guard let input = bytes.baseAddress, let output = values.baseAddress else { return }
        let error = withUnsafeTemporaryAllocation(of: Float.self, capacity: rank * (rows + columns)) {
            factors -> CodecError? in
            guard let left = factors.baseAddress else { return nil }
            let right = left + rank * rows
            for factor in 0..<rank {
                let error = read(factor, from: input, left: left + factor * rows, right: right + factor * columns)
                if let error { return error }
            }
            commitFactorProduct(
                left: left, right: right, rank: rank, count: count, columns: columns, matrix: output)
            return nil
        }
        if let error { throw error }
    }

    /// Reads and checks one pair of vectors.
    private func read(
        _ factor: Int, from input: UnsafeRawPointer, left: UnsafeMutablePointer<Float>,
        right: UnsafeMutablePointer<Float>
    ) -> CodecError? {
        let scale = input.float(at: 4 * factor)
        guard scale.bitPattern == 0 || (scale >= Self.scaleMin && scale <= Self.scaleMax) else {
            return .badScale(blockIndex: factor)
        }
        let halves = input + 4 * rank
        let largestLeft = commitHalfDecode(halves + 2 * factor * rows, count: rows, values: left)
        let largestRight = commitHalfDecode(
            halves + 2 * (rank * rows + factor * columns), count: columns, values: right)
        guard largestLeft <= Self.one, largestRight <= Self.one else { return .badScale(blockIndex: factor) }
        guard scale > 0 else {
            let areZero =
                (0..<rows).allSatisfy { left[$0].bitPattern == 0 }
                && (0..<columns).allSatisfy { right[$0].bitPattern == 0 }
            return areZero ? nil : .notCanonical(blockIndex: factor)
        }
        commitMultiply(right, count: columns, by: scale)
        return nil
    }
}
