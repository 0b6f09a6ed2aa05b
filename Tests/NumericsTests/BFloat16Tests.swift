import Numerics
import Testing

@Suite struct BFloat16Tests {
    /// Every implementation that this processor runs.
    static let implementations: [(String, MatrixProducts)] = {
        var all = InstructionSet.available.map { ($0.rawValue, Kernels.built(for: $0).bfloat16) }
        if InstructionSet.best.hasBFloat16 { all.append(("oneDNN", .oneDNN)) }
        return all
    }()

    /// To nearest bfloat16, ties to even.
    static func rounded(_ value: Float) -> Float {
        let bits = value.bitPattern
        return Float(bitPattern: (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff_0000)
    }

    static let shapes = MatrixKernelTests.shapes.filter { $0.0 < 1000 && $0.1 < 1000 } + [(31, 40, 1030), (1, 33, 511)]

    @Test(arguments: implementations.indices)
    func productsEqualTheReferenceOverRoundedOperands(implementation: Int) {
        let (name, products) = Self.implementations[implementation]
        for (rows, columns, depth) in Self.shapes {
            let a = FloatBuffer(randomFloats(rows * depth, seed: 1))
            let weight = FloatBuffer(randomFloats(columns * depth, seed: 2))
            let packed = FloatBuffer(count: products.packedCount(rows: depth + 1, columns: columns))
            products.packColumns(depth, columns, 0, columns, weight.pointer, depth, packed.pointer)
            let stride = products.stagedStride(depth)
            let staged = FloatBuffer(count: rows * stride)
            products.stageRows(rows, depth, a.pointer, depth, staged.pointer, stride)
            let expected = referenceProduct(
                rows, columns, depth, { Self.rounded(a[$0 * depth + $1]) }, { Self.rounded(weight[$1 * depth + $0]) })
            let c = FloatBuffer([Float](repeating: 7, count: rows * (columns + 5)))
            for adding in [false, true] {
                products.multiply(
                    rows, columns, depth, staged.pointer, stride, packed.pointer, c.pointer, columns + 5, adding)
                withExtendedLifetime((packed, staged)) {}
                let got = (0..<rows).flatMap { row in (0..<columns).map { c[row * (columns + 5) + $0] } }
                #expect(
                    largestDifference(got, expected.map { $0 * (adding ? 2 : 1) }) < 2e-6 * Double(depth + 1),
                    "\(name) \(rows) x \(columns) x \(depth)")
            }
        }
    }

    @Test(arguments: implementations.indices)
    func transposedProductsEqualTheReferenceOverRoundedOperands(implementation: Int) {
        let (name, products) = Self.implementations[implementation]
        for (rows, columns, depth) in Self.shapes {
            let a = FloatBuffer(randomFloats(depth * (rows + 3), seed: 3))
            let b = FloatBuffer(randomFloats(depth * columns, seed: 4))
            let packed = FloatBuffer(count: products.packedCount(rows: depth + 1, columns: columns))
            // In uneven pieces of even length, as chunks of a batch are.
            for row in stride(from: 0, to: depth, by: 98) {
                products.packRows(
                    min(98, depth - row), columns, b.pointer + row * columns, columns, row, depth, packed.pointer)
            }
            let expected = referenceProduct(
                rows, columns, depth, { Self.rounded(a[$1 * (rows + 3) + $0]) },
                { Self.rounded(b[$0 * columns + $1]) })
            let c = FloatBuffer(count: rows * columns)
            let scratch = FloatBuffer(count: MatrixProducts.transposedScratchCount(rows: rows))
            for adding in [false, true] {
                products.multiplyTransposed(
                    rows, columns, depth, a.pointer, rows + 3, packed.pointer, c.pointer, columns, adding,
                    scratch.pointer)
                withExtendedLifetime((a, packed, scratch)) {}
                #expect(
                    largestDifference(c.array, expected.map { $0 * (adding ? 2 : 1) }) < 2e-6 * Double(depth + 1),
                    "\(name) \(rows) x \(columns) x \(depth)")
            }
        }
    }

    @Test(arguments: implementations.indices)
    func aNaNOfEitherSideReachesItsRowOrColumnAndNoOther(implementation: Int) {
        let (name, products) = Self.implementations[implementation]
        let a = FloatBuffer([Float](repeating: 1, count: 5 * 8))
        a[3 * 8 + 2] = .nan
        let weight = FloatBuffer([Float](repeating: 1, count: 4 * 8))
        // Rounded as an ordinary number, these bits would overflow into another value.
        weight[8 + 5] = Float(bitPattern: 0x7fff_ffff)
        let packed = FloatBuffer(count: products.packedCount(rows: 8, columns: 4))
        products.packColumns(8, 4, 0, 4, weight.pointer, 8, packed.pointer)
        let stride = products.stagedStride(8)
        let (staged, c) = (FloatBuffer(count: 5 * stride), FloatBuffer(count: 5 * 4))
        products.stageRows(5, 8, a.pointer, 8, staged.pointer, stride)
        products.multiply(5, 4, 8, staged.pointer, stride, packed.pointer, c.pointer, 4, false)
        withExtendedLifetime((a, weight, packed, staged)) {}
        for row in 0..<5 {
            for column in 0..<4 { #expect(c[row * 4 + column].isNaN == (row == 3 || column == 1), "\(name)") }
        }
    }

    /// 1 + 2^-8 lies half-way between two bfloat16 values and goes to the even one, 1; just above goes up to 1 + 2^-7.
    @Test(arguments: InstructionSet.available)
    func roundingIsToNearestTiesToEvenAndKeepsNaNAndInfinity(instructionSet: InstructionSet) {
        let products = Kernels.built(for: instructionSet).bfloat16
        let half: Float = 1.00390625
        let values16: [Float] = [half, half.nextUp, 1.01171875, -half, .infinity, -.infinity, .nan, 0, -0.0, 3.5]
        let source = FloatBuffer(values16)
        let words = FloatBuffer(count: 5)
        products.stageRows(1, 10, source.pointer, 10, words.pointer, 5)
        withExtendedLifetime(source) {}
        let halves = words.array.flatMap { [UInt16($0.bitPattern & 0xffff), UInt16($0.bitPattern >> 16)] }
        let values: [Float] = halves.map { Float(bitPattern: UInt32($0) << 16) }
        let expected: [Float] = [1, 1.0078125, 1.015625, -1, .infinity, -.infinity]
        #expect(Array(values[0..<6]) == expected)
        #expect(values[6].isNaN)
        #expect(values[7] == 0)
        #expect(values[8].sign == .minus)
        #expect(values[9] == 3.5)
    }

    @Test(arguments: InstructionSet.available)
    func valuesInPlaceAndInWordsAreTheRoundedOnes(instructionSet: InstructionSet) {
        let kernels = Kernels.built(for: instructionSet)
        for count in [1, 2, 15, 16, 17, 33, 64] {
            var source = randomFloats(count, seed: UInt64(count))
            source[count / 2] = .nan
            let (values, words) = (FloatBuffer(source), FloatBuffer(count: (count + 1) / 2))
            kernels.bfloat16.stageRows(1, count, values.pointer, count, words.pointer, 0)
            kernels.roundToBFloat16(count, values.pointer)
            let expanded = FloatBuffer(count: count)
            kernels.expandBFloat16(count, words.pointer, expanded.pointer)
            withExtendedLifetime(words) {}
            for index in 0..<count {
                let expected = Self.rounded(source[index])
                #expect(values[index] == expected || source[index].isNaN && values[index].isNaN)
                #expect(expanded[index] == expected || source[index].isNaN && expanded[index].isNaN)
            }
        }
    }

    @Test func columnsPackedInPiecesEqualThosePackedAtOnce() {
        let all = Self.implementations + InstructionSet.available.map { ($0.rawValue, Kernels.built(for: $0).float32) }
        for (name, products) in all {
            let (depth, columns) = (700, 70)
            let weight = FloatBuffer(randomFloats(columns * depth, seed: 1))
            let whole = FloatBuffer(count: products.packedCount(rows: depth, columns: columns))
            products.packColumns(depth, columns, 0, columns, weight.pointer, depth, whole.pointer)
            let pieces = FloatBuffer(count: whole.count)
            for (first, end) in [(48, 70), (0, 16), (16, 48)] {
                products.packColumns(depth, columns, first, end, weight.pointer, depth, pieces.pointer)
            }
            withExtendedLifetime(weight) {}
            let bits = (whole.array.map(\.bitPattern), pieces.array.map(\.bitPattern))
            #expect(bits.0 == bits.1, "\(name)")
        }
    }
}
