import Numerics
import Testing

@Suite struct ElementwiseKernelTests {
    static let widths = [1, 15, 16, 17, 4097]

    @Test(arguments: InstructionSet.available)
    func rmsNormAndItsGradientEqualTheReference(instructionSet: InstructionSet) {
        let kernels = Kernels.built(for: instructionSet)
        for width in Self.widths {
            let x = randomFloats(2 * width, seed: 1)
            let weight = randomFloats(width, seed: 2)
            let dy = randomFloats(2 * width, seed: 3)
            let residual = randomFloats(2 * width, seed: 4)
            func reference(_ x: ArraySlice<Double>, _ weight: ArraySlice<Double>) -> [Double] {
                (0..<2).flatMap { row in
                    let values = x.dropFirst(row * width).prefix(width)
                    let scale = 1 / (values.reduce(0) { $0 + $1 * $1 } / Double(width) + 1e-5).squareRoot()
                    return zip(values, weight).map { $0 * scale * $1 }
                }
            }
            let (y, inverse) = (FloatBuffer(count: 2 * width), FloatBuffer(count: 2))
            let (dx, dWeight) = (FloatBuffer(count: 2 * width), FloatBuffer(count: width))
            let (xs, weights) = (FloatBuffer(x), FloatBuffer(weight))
            kernels.rmsNorm(2, width, xs.pointer, weights.pointer, 1e-5, y.pointer, inverse.pointer)
            kernels.rmsNormGradient(
                2, width, dy, xs.pointer, weights.pointer, inverse.pointer,
                residual, dx.pointer, dWeight.pointer)
            let point = (x + weight).map(Double.init)
            #expect(largestDifference(y.array, reference(point[..<(2 * width)], point[(2 * width)...])) < 1e-5)
            for part in 0..<2 {
                let direction = randomFloats(3 * width, seed: 5).enumerated().map {
                    ($0.offset < 2 * width) == (part == 0) ? Double($0.element) : 0
                }
                let numeric = centralDifference(point, along: direction) { point in
                    zip(reference(point[..<(2 * width)], point[(2 * width)...]), dy).reduce(0) {
                        $0 + $1.0 * Double($1.1)
                    }
                }
                let own = zip(dx.array, residual).map { $0 - $1 } + dWeight.array
                let analytic = zip(own, direction).reduce(0) { $0 + Double($1.0) * $1.1 }
                #expect(abs(numeric - analytic) < 2e-4 * max(1, abs(numeric)), "width \(width), part \(part)")
            }
        }
    }

    @Test(arguments: InstructionSet.available)
    func swiGLUAndItsGradientEqualTheReference(instructionSet: InstructionSet) {
        let kernels = Kernels.built(for: instructionSet)
        for width in oddCounts {
            let gateUp = randomFloats(4 * width, seed: 1).map { 6 * $0 }
            let dHidden = randomFloats(2 * width, seed: 2)
            func reference(_ gateUp: [Double]) -> [Double] {
                (0..<2 * width).map { index in
                    let gate = gateUp[index / width * 2 * width + index % width]
                    return gate / (1 + referenceExponential(-gate))
                        * gateUp[index / width * 2 * width + width + index % width]
                }
            }
            let (input, hidden) = (FloatBuffer(gateUp), FloatBuffer(count: 2 * width))
            kernels.swiGLU(2, width, input.pointer, hidden.pointer)
            let expected = reference(gateUp.map(Double.init))
            #expect(largestDifference(hidden.array, expected) < 1e-5)
            let (inOut, gradient) = (FloatBuffer(dHidden), FloatBuffer(count: 4 * width))
            kernels.swiGLUGradient(2, width, input.pointer, inOut.pointer, gradient.pointer)
            #expect(inOut.array == hidden.array)
            let direction = randomFloats(4 * width, seed: 3).map(Double.init)
            let numeric = centralDifference(gateUp.map(Double.init), along: direction) { point in
                zip(reference(point), dHidden).reduce(0) { $0 + $1.0 * Double($1.1) }
            }
            let analytic = zip(gradient.array, direction).reduce(0) { $0 + Double($1.0) * $1.1 }
            #expect(abs(numeric - analytic) < 1e-4 * max(1, abs(numeric)))
        }
    }

    @Test(arguments: InstructionSet.available)
    func crossEntropyAndItsGradientEqualTheReference(instructionSet: InstructionSet) {
        let kernels = Kernels.built(for: instructionSet)
        for columns in Self.widths {
            let logits = randomFloats(2 * columns, seed: 1).map { 5 * $0 }
            let targets: [Int32] = [0, Int32(columns - 1)]
            let values = FloatBuffer(logits)
            let loss = kernels.crossEntropy(2, columns, values.pointer, targets, 0.5)
            var (expectedLoss, expected) = (0.0, [Double]())
            for row in 0..<2 {
                let exponentials = logits[row * columns..<(row + 1) * columns].map { referenceExponential(Double($0)) }
                let sum = exponentials.reduce(0, +)
                let target = Int(targets[row])
                expectedLoss += referenceLogarithm(sum) - Double(logits[row * columns + target])
                expected += exponentials.enumerated().map { 0.5 * ($0.element / sum - ($0.offset == target ? 1 : 0)) }
            }
            #expect(abs(loss - expectedLoss) < 1e-5 * max(1, expectedLoss))
            #expect(largestDifference(values.array, expected) < 1e-6)
        }
    }

    @Test(arguments: InstructionSet.available)
    func exponentialsAreAccurateAndHandleTheEnds(instructionSet: InstructionSet) {
        let kernels = Kernels.built(for: instructionSet)
        let steps = (0..<4097).map { -100 + Float($0) * (100.0 / 4096) }
        let values = FloatBuffer(steps)
        let (largest, sum) = kernels.exponentials(steps.count, values.pointer)
        #expect(largest == 0)
        var expectedSum = 0.0
        for (index, step) in steps.enumerated() {
            let expected = referenceExponential(Double(step))
            expectedSum += expected
            if step > -87 {
                #expect(abs(Double(values[index]) - expected) <= 2.5e-7 * expected, "exp(\(step))")
            } else {
                #expect(values[index] < 2e-38)
            }
        }
        #expect(abs(Double(sum) - expectedSum) < 1e-5 * expectedSum)
        let special = FloatBuffer([1, -.infinity, .nan, 0])
        _ = kernels.exponentials(2, special.pointer)
        #expect(special[0] == 1 && special[1] == 0)
        _ = kernels.exponentials(4, special.pointer)
        #expect(special[2].isNaN)
    }

    @Test(arguments: InstructionSet.available)
    func aNaNReachesTheLossAndTheGradient(instructionSet: InstructionSet) {
        let kernels = Kernels.built(for: instructionSet)
        for bad in [Float.nan, .infinity] {
            var logits = randomFloats(17, seed: 1)
            logits[16] = bad
            let values = FloatBuffer(logits)
            let loss = kernels.crossEntropy(1, 17, values.pointer, [3], 1)
            #expect(loss.isFinite == false)
            let gateUp = FloatBuffer(logits + logits)
            let hidden = FloatBuffer(count: 17)
            kernels.swiGLU(1, 17, gateUp.pointer, hidden.pointer)
            #expect(hidden[16].isFinite == false && hidden[15].isFinite)
            let (y, inverse) = (FloatBuffer(count: 17), FloatBuffer(count: 1))
            kernels.rmsNorm(1, 17, logits, logits, 1e-5, y.pointer, inverse.pointer)
            #expect(y[16].isNaN)
            #expect(kernels.sumOfSquares(17, logits).isFinite == false)
        }
    }

    @Test(arguments: InstructionSet.available)
    func simpleUpdatesEqualTheReference(instructionSet: InstructionSet) {
        let kernels = Kernels.built(for: instructionSet)
        for count in oddCounts {
            let (x, y) = (randomFloats(count, seed: 1), randomFloats(count, seed: 2))
            let sum = FloatBuffer(y)
            kernels.addInto(count, x, sum.pointer)
            #expect(sum.array == zip(x, y).map { $1 + $0 })
            let scaled = FloatBuffer(x)
            kernels.scale(count, 0.37, scaled.pointer)
            #expect(scaled.array == x.map { $0 * 0.37 })
            // Written out, this is the one rounding order that all machines share.
            let blended = FloatBuffer(x)
            kernels.blend(count, 0.3, y, blended.pointer)
            #expect(blended.array == zip(x, y).map { (0.3 as Float) * $0 + (1 - (0.3 as Float)) * $1 })
            let squares = x.reduce(0) { $0 + Double($1) * Double($1) }
            #expect(abs(kernels.sumOfSquares(count, x) - squares) <= 1e-6 * max(1, squares))
        }
    }

    @Test(arguments: InstructionSet.available)
    func adamWEqualsTheReference(instructionSet: InstructionSet) {
        let kernels = Kernels.built(for: instructionSet)
        for count in oddCounts {
            let start = randomFloats(count, seed: 1)
            let (parameters, first, second) = (FloatBuffer(start), FloatBuffer(count: count), FloatBuffer(count: count))
            var expected = start.map { (value: Double($0), first: 0.0, second: 0.0) }
            for step in 1...3 {
                let gradient = randomFloats(count, seed: UInt64(10 + step))
                let (bias1, bias2) = (1 - referencePower(0.9, Double(step)), 1 - referencePower(0.95, Double(step)))
                kernels.adamW(
                    count, parameters.pointer, gradient, first.pointer, second.pointer, 0.5, 0.9, 0.95,
                    1e-8, Float(0.01 / bias1), Float(1 / bias2.squareRoot()), 1 - 0.01 * 0.1)
                for index in 0..<count {
                    let g = 0.5 * Double(gradient[index])
                    expected[index].first = 0.9 * expected[index].first + 0.1 * g
                    expected[index].second = 0.95 * expected[index].second + 0.05 * g * g
                    let move = expected[index].first / bias1 / ((expected[index].second / bias2).squareRoot() + 1e-8)
                    expected[index].value = expected[index].value * (1 - 0.001) - 0.01 * move
                }
            }
            #expect(largestDifference(parameters.array, expected.map(\.value)) < 1e-5)
            #expect(largestDifference(first.array, expected.map(\.first)) < 1e-6)
            #expect(largestDifference(second.array, expected.map(\.second)) < 1e-6)
        }
    }

    @Test(arguments: InstructionSet.available)
    func rotatingBackUndoesTheRotation(instructionSet: InstructionSet) {
        let kernels = Kernels.built(for: instructionSet)
        for half in [1, 15, 16, 17] {
            let angles = randomFloats(3 * half, seed: 1)
            let cosines = FloatBuffer(angles.map { Float(referenceCosineAndSine(Double($0)).0) })
            let sines = FloatBuffer(angles.map { Float(referenceCosineAndSine(Double($0)).1) })
            let x = randomFloats(3 * 2 * half, seed: 2)
            let (there, back) = (FloatBuffer(count: x.count), FloatBuffer(count: x.count))
            kernels.rotate(
                3, 2 * half, x, 2 * half, cosines.pointer, sines.pointer, 1, 2, there.pointer, 2 * half)
            kernels.rotate(
                3, 2 * half, there.pointer, 2 * half, cosines.pointer, sines.pointer, -1, 0.5, back.pointer, 2 * half)
            #expect(largestDifference(back.array, x.map(Double.init)) < 1e-6)
        }
    }
}
