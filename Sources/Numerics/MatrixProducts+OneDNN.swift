extension MatrixProducts {
    /// bfloat16 products by oneDNN, for processors whose matrix units (AMX) it drives and our tiles do not. Without such
    /// units our tiles are faster: they need no copy of A and keep C's rows in cache from one operation to the next.
    ///
    /// B is held row by row, an even number of values each; A as staged. The processor must have bfloat16 instructions.
    package static let oneDNN = MatrixProducts(
        precision: .bfloat16,
        packRows: { rows, columns, source, stride, rowOffset, _, packed in
            let words = paddedColumns(columns) / 2
            Kernels.best.bfloat16.stageRows(rows, columns, source, stride, packed + rowOffset * words, words)
        },
        packColumns: { rows, columns, first, end, source, stride, packed in
            packTransposed(rows, columns, first..<end, source, stride, packed)
        },
        stageRows: { rows, columns, source, stride, staged, stagedStride in
            Kernels.best.bfloat16.stageRows(rows, columns, source, stride, staged, stagedStride)
        },
        multiply: { rows, columns, depth, a, aStride, b, c, cStride, adding in
            multiply(
                rows, columns, depth, values(a), 2 * aStride, transposed: false, values(b), c, cStride, adding: adding)
        },
        multiplyTransposed: { rows, columns, depth, a, aStride, b, c, cStride, adding, scratch in
            // A is rounded in blocks of rows that fit the scratch memory.
            let words = (rows + 1) / 2
            let blockRows = 512
            for first in stride(from: 0, to: max(1, depth), by: blockRows) {
                let count = min(blockRows, depth - first)
                Kernels.best.bfloat16.stageRows(count, rows, a + first * aStride, aStride, scratch, words)
                multiply(
                    rows, columns, count, values(scratch), 2 * words, transposed: true,
                    values(b) + first * paddedColumns(columns), c, cStride, adding: adding || first > 0)
            }
        },
        attention: Kernels.best.bfloat16.attention, attentionGradient: Kernels.best.bfloat16.attentionGradient)

    /// Values of one row of a packed B.
    private static func paddedColumns(_ columns: Int) -> Int { (columns + 1) / 2 * 2 }

    /// Words as the bfloat16 values that they hold, in order.
    private static func values(_ words: Floats) -> UnsafePointer<UInt16> {
        UnsafeRawPointer(words).assumingMemoryBound(to: UInt16.self)
    }

    private static func packTransposed(
        _ rows: Int, _ columns: Int, _ packing: Range<Int>, _ source: Floats, _ stride: Int, _ packed: MutableFloats
    ) {
        let to = UnsafeMutableRawPointer(packed).assumingMemoryBound(to: UInt16.self)
        let padded = paddedColumns(columns)
        for column in packing {
            for row in 0..<rows {
                let value = source[column * stride + row]
                let bits = value.bitPattern
                // To nearest, ties to even, as the kernels round; NaN stays NaN, which the sum would turn into a number.
                let rounded = (bits &+ 0x7fff &+ ((bits >> 16) & 1)) >> 16
                to[row * padded + column] = value.isNaN ? 0x7fc0 : UInt16(truncatingIfNeeded: rounded)
            }
        }
    }

    private static func multiply(
        _ rows: Int, _ columns: Int, _ depth: Int, _ a: UnsafePointer<UInt16>, _ aStride: Int, transposed: Bool,
        _ b: UnsafePointer<UInt16>, _ c: MutableFloats, _ cStride: Int, adding: Bool
    ) {
        guard rows > 0, columns > 0 else { return }
        guard depth > 0 else {
            for row in 0..<(adding ? 0 : rows) { (c + row * cStride).update(repeating: 0, count: columns) }
            return
        }
        let worked = DenseProduct.multiplyBFloat16(
            m: rows, n: columns, k: depth, a: a, aStride: aStride, transposeA: transposed, b: b,
            bStride: paddedColumns(columns), beta: adding ? 1 : 0, c: c, cStride: cStride)
        precondition(worked, "oneDNN is only chosen on processors with bfloat16 instructions")
    }
}
