import Numerics
import Testing

@Suite struct VectorKernelTests {
    /// y = W x for some vectors, with gaps between them.
    private func product(
        _ kernels: Kernels, rows: Int, columns: Int, w: FloatBuffer, from row: Int = 0, x: FloatBuffer, _ count: Int,
        into y: FloatBuffer, accumulate: Bool
    ) {
        kernels.multiplyVectors(
            rows, columns, w.pointer + row * columns, count, x.pointer, columns + 3, y.pointer, rows + 2, accumulate)
    }

    @Test(arguments: InstructionSet.available)
    func productsEqualTheReference(instructionSet: InstructionSet) {
        let kernels = Kernels.built(for: instructionSet)
        for columns in oddCounts {
            for (rows, count) in [(1, 1), (3, 2), (4, 4), (9, 7), (8, 9)] {
                let w = FloatBuffer(randomFloats(rows * columns, seed: 1))
                let x = FloatBuffer(randomFloats(count * (columns + 3), seed: 2))
                let y = FloatBuffer([Float](repeating: 5, count: count * (rows + 2)))
                product(kernels, rows: rows, columns: columns, w: w, x: x, count, into: y, accumulate: false)
                product(kernels, rows: rows, columns: columns, w: w, x: x, count, into: y, accumulate: true)
                let expected = referenceProduct(
                    count, rows, columns, { x[$0 * (columns + 3) + $1] }, { w[$1 * columns + $0] })
                for vector in 0..<count {
                    for row in 0..<rows {
                        let difference = Double(y[vector * (rows + 2) + row]) - 2 * expected[vector * rows + row]
                        #expect(abs(difference) < 2e-6 * Double(columns + 1), "\(rows) x \(columns), \(count)")
                    }
                    // Nothing is written between the vectors.
                    #expect(y[vector * (rows + 2) + rows] == 5)
                }
            }
        }
    }

    @Test(arguments: InstructionSet.available)
    func aResultsBitsDependOnItsRowAndVectorAlone(instructionSet: InstructionSet) {
        let kernels = Kernels.built(for: instructionSet)
        let (rows, columns, count) = (11, 77, 9)
        let w = FloatBuffer(randomFloats(rows * columns, seed: 3))
        let x = FloatBuffer(randomFloats(count * (columns + 3), seed: 4))
        let all = FloatBuffer(count: count * (rows + 2))
        product(kernels, rows: rows, columns: columns, w: w, x: x, count, into: all, accumulate: false)
        for vector in 0..<count {
            for row in 0..<rows {
                var one: Float = 0
                kernels.multiplyVectors(
                    1, columns, w.pointer + row * columns, 1, x.pointer + vector * (columns + 3), 0, &one, 0, false)
                #expect(one == all[vector * (rows + 2) + row])
            }
        }
    }
}
