import Numerics
import Testing

@Suite struct MatrixKernelTests {
    /// (rows, columns, depth): every odd size in every place, and one long run of each.
    static let shapes: [(Int, Int, Int)] = {
        let small = [0, 1, 15, 16, 17]
        var shapes = small.flatMap { rows in small.flatMap { columns in small.map { (rows, columns, $0) } } }
        shapes += [(4097, 17, 3), (7, 4097, 5), (13, 17, 4097), (100, 50, 300), (12, 16, 256), (97, 33, 512)]
        return shapes
    }()

    @Test(arguments: InstructionSet.available)
    func productsEqualTheReferenceAtOddSizes(instructionSet: InstructionSet) {
        let kernels = Kernels.built(for: instructionSet)
        for (rows, columns, depth) in Self.shapes {
            let (aStride, cStride) = (depth + 3, columns + 5)
            let a = FloatBuffer(randomFloats(rows * aStride, seed: 1))
            let weight = FloatBuffer(randomFloats(columns * depth, seed: 2))
            let packed = FloatBuffer(count: kernels.float32.packedCount(rows: depth, columns: columns))
            kernels.float32.packColumns(depth, columns, 0, columns, weight.pointer, depth, packed.pointer)
            let expected = referenceProduct(rows, columns, depth, { a[$0 * aStride + $1] }, { weight[$1 * depth + $0] })
            let c = FloatBuffer([Float](repeating: 7, count: rows * cStride))
            for accumulate in [false, true] {
                kernels.float32.multiply(
                    rows, columns, depth, a.pointer, aStride, packed.pointer, c.pointer, cStride, accumulate)
                let factor: Double = accumulate ? 2 : 1
                let got = (0..<rows).flatMap { row in (0..<columns).map { c[row * cStride + $0] } }
                #expect(
                    largestDifference(got, expected.map { $0 * factor }) < 1e-6 * Double(depth + 1),
                    "\(rows) x \(columns) x \(depth)")
                // What lies between the rows must not be touched.
                #expect((0..<rows).allSatisfy { row in (columns..<cStride).allSatisfy { c[row * cStride + $0] == 7 } })
            }
        }
    }

    @Test(arguments: InstructionSet.available)
    func transposedProductsEqualTheReferenceAtOddSizes(instructionSet: InstructionSet) {
        let kernels = Kernels.built(for: instructionSet)
        for (rows, columns, depth) in Self.shapes {
            let aStride = rows + 3
            let a = FloatBuffer(randomFloats(depth * aStride, seed: 3))
            let b = FloatBuffer(randomFloats(depth * columns, seed: 4))
            let packed = FloatBuffer(count: kernels.float32.packedCount(rows: depth, columns: columns))
            // Packed in uneven pieces, as chunks of a batch are.
            var row = 0
            while row < depth {
                let piece = min(100, depth - row)
                kernels.float32.packRows(piece, columns, b.pointer + row * columns, columns, row, depth, packed.pointer)
                row += piece
            }
            let expected = referenceProduct(rows, columns, depth, { a[$1 * aStride + $0] }, { b[$0 * columns + $1] })
            let c = FloatBuffer(count: rows * columns)
            let scratch = FloatBuffer(count: MatrixProducts.transposedScratchCount(rows: rows))
            for accumulate in [false, true] {
                kernels.float32.multiplyTransposed(
                    rows, columns, depth, a.pointer, aStride, packed.pointer, c.pointer, columns, accumulate,
                    scratch.pointer)
                let factor: Double = accumulate ? 2 : 1
                #expect(
                    largestDifference(c.array, expected.map { $0 * factor }) < 1e-6 * Double(depth + 1),
                    "\(rows) x \(columns) x \(depth)")
            }
        }
    }

    @Test(arguments: InstructionSet.available)
    func dotProductsEqualTheReference(instructionSet: InstructionSet) {
        let kernels = Kernels.built(for: instructionSet)
        for count in oddCounts {
            let (a, b) = (FloatBuffer(randomFloats(count, seed: 5)), FloatBuffer(randomFloats(count, seed: 6)))
            let expected = referenceProduct(1, 1, count, { a[$1] }, { step, _ in b[step] })
            let result = kernels.dotProduct(count, a.pointer, b.pointer)
            #expect(largestDifference([result], expected) < 1e-6 * Double(count + 1))
        }
    }

    @Test(arguments: InstructionSet.available)
    func aNaNReachesItsRowAndNoOther(instructionSet: InstructionSet) {
        let kernels = Kernels.built(for: instructionSet)
        let a = FloatBuffer(randomFloats(20 * 8, seed: 7))
        a[9 * 8 + 2] = .nan
        a[11 * 8 + 3] = .infinity
        let weight = FloatBuffer([Float](repeating: 1, count: 17 * 8))
        let packed = FloatBuffer(count: kernels.float32.packedCount(rows: 8, columns: 17))
        kernels.float32.packColumns(8, 17, 0, 17, weight.pointer, 8, packed.pointer)
        let c = FloatBuffer(count: 20 * 17)
        kernels.float32.multiply(20, 17, 8, a.pointer, 8, packed.pointer, c.pointer, 17, false)
        for row in 0..<20 {
            for column in 0..<17 {
                let value = c[row * 17 + column]
                #expect(value.isNaN == (row == 9) && (value == .infinity) == (row == 11))
            }
        }
    }

    @Test func openBLASMultipliesWithTransposesAndStrides() {
        let (m, n, k) = (5, 7, 9)
        let a = FloatBuffer(randomFloats(k * 6, seed: 8))
        let b = FloatBuffer(randomFloats(n * 10, seed: 9))
        let c = FloatBuffer(count: m * n)
        DenseProduct.multiply(
            m: m, n: n, k: k, a: a.pointer, aStride: 6, transposeA: true, b: b.pointer, bStride: 10, transposeB: true,
            c: c.pointer, cStride: n)
        let expected = referenceProduct(m, n, k, { a[$1 * 6 + $0] }, { b[$1 * 10 + $0] })
        #expect(largestDifference(c.array, expected) < 1e-5)
    }
}
