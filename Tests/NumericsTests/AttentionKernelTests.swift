import Numerics
import Testing

@Suite struct AttentionKernelTests {
    struct Shape: Sendable, CustomTestStringConvertible {
        let tokens, heads, groups, width: Int
        var testDescription: String { "\(tokens) tokens, \(heads)/\(groups) heads of \(width)" }
    }

    static let shapes = [
        Shape(tokens: 1, heads: 1, groups: 1, width: 2), Shape(tokens: 15, heads: 2, groups: 1, width: 6),
        Shape(tokens: 16, heads: 2, groups: 2, width: 16), Shape(tokens: 17, heads: 4, groups: 2, width: 10),
        Shape(tokens: 40, heads: 2, groups: 1, width: 22), Shape(tokens: 49, heads: 1, groups: 1, width: 34),
        Shape(tokens: 97, heads: 2, groups: 1, width: 32),
    ]

    /// Runs the kernels; gives out, dQKV.
    private func run(
        _ shape: Shape, _ kernels: Kernels, _ precision: Precision, _ input: [Float], _ dOut: [Float]
    ) -> (out: [Float], gradient: [Float]) {
        let products = precision == .float32 ? kernels.float32 : kernels.bfloat16
        let (tokens, width, half) = (shape.tokens, shape.width, shape.width / 2)
        let (cosines, sines) = (FloatBuffer(count: tokens * half), FloatBuffer(count: tokens * half))
        for token in 0..<tokens {
            for pair in 0..<half {
                let angle = Double(token) * referencePower(100, -2 * Double(pair) / Double(width))
                (cosines[token * half + pair], sines[token * half + pair]) =
                    (Float(referenceCosineAndSine(angle).0), Float(referenceCosineAndSine(angle).1))
            }
        }
        let queryKeyValue = FloatBuffer(input)
        let upstream = FloatBuffer(dOut)
        let out = FloatBuffer(count: dOut.count)
        let gradient = FloatBuffer(count: input.count)
        let statistics = FloatBuffer(count: 2 * tokens * shape.heads)
        let scratch = FloatBuffer(count: kernels.attentionScratchCount(tokens, width))
        // Twice, so that whatever the first call leaves in the scratch memory meets the second.
        for _ in 0..<2 {
            products.attention(
                tokens, shape.heads, shape.groups, width, queryKeyValue.pointer, cosines.pointer, sines.pointer,
                out.pointer, statistics.pointer, scratch.pointer)
            products.attentionGradient(
                tokens, shape.heads, shape.groups, width, queryKeyValue.pointer, cosines.pointer, sines.pointer,
                out.pointer, statistics.pointer, upstream.pointer, gradient.pointer, scratch.pointer)
        }
        return (out.array, gradient.array)
    }

    @Test(arguments: shapes) func attentionAndItsGradientEqualTheReference(shape: Shape) {
        let stride = (shape.heads + 2 * shape.groups) * shape.width
        let input = randomFloats(shape.tokens * stride, seed: 1).map { 2 * $0 }
        let dOut = randomFloats(shape.tokens * shape.heads * shape.width, seed: 2)
        let point = input.map(Double.init)
        func reference(_ point: [Double]) -> [Double] {
            referenceAttention(
                tokens: shape.tokens, heads: shape.heads, groups: shape.groups, width: shape.width, theta: 100, point)
        }
        let expected = reference(point)
        for instructionSet in InstructionSet.available {
            let (out, gradient) = run(shape, .built(for: instructionSet), .float32, input, dOut)
            #expect(largestDifference(out, expected) < 1e-5)
            // Along random directions within queries, keys and values each.
            for part in 0..<3 {
                let bounds = [0, shape.heads, shape.heads + shape.groups, shape.heads + 2 * shape.groups]
                let direction = randomFloats(point.count, seed: UInt64(10 + part)).enumerated().map { index, value in
                    let head = index % stride / shape.width
                    return head >= bounds[part] && head < bounds[part + 1] ? Double(value) : 0
                }
                let numeric = centralDifference(point, along: direction) { point in
                    zip(reference(point), dOut).reduce(0) { $0 + $1.0 * Double($1.1) }
                }
                let analytic = zip(gradient, direction).reduce(0) { $0 + Double($1.0) * $1.1 }
                #expect(abs(numeric - analytic) < 1e-4 * max(1, abs(numeric)), "part \(part)")
            }
        }
    }

    /// bfloat16 keeps 8 bits, so results are off by some parts in a thousand of their root mean square.
    @Test(arguments: shapes + [Shape(tokens: 256, heads: 2, groups: 1, width: 64)])
    func bfloat16AttentionLiesCloseToFloat32(shape: Shape) {
        let stride = (shape.heads + 2 * shape.groups) * shape.width
        let input = randomFloats(shape.tokens * stride, seed: 1).map { 2 * $0 }
        let dOut = randomFloats(shape.tokens * shape.heads * shape.width, seed: 2)
        func relativeError(_ values: [Float], _ expected: [Float]) -> Double {
            let error = zip(values, expected).reduce(0.0) { $0 + Double(($1.0 - $1.1) * ($1.0 - $1.1)) }
            return (error / expected.reduce(0.0) { $0 + Double($1 * $1) }).squareRoot()
        }
        for instructionSet in InstructionSet.available {
            let exact = run(shape, .built(for: instructionSet), .float32, input, dOut)
            let rounded = run(shape, .built(for: instructionSet), .bfloat16, input, dOut)
            #expect(relativeError(rounded.out, exact.out) < 1e-2)
            for part in 0..<3 {
                // Queries, keys and values apart, since their gradients differ in size. One token has no choice of keys.
                if shape.tokens == 1 && part < 2 { continue }
                let bounds = [0, shape.heads, shape.heads + shape.groups, shape.heads + 2 * shape.groups]
                let indices = exact.gradient.indices.filter { index in
                    let head = index % stride / shape.width
                    return head >= bounds[part] && head < bounds[part + 1]
                }
                let error = relativeError(indices.map { rounded.gradient[$0] }, indices.map { exact.gradient[$0] })
                #expect(error < 2e-2, "part \(part)")
            }
        }
    }

    @Test(arguments: Precision.allCases) func aNaNInOneCallDoesNotReachTheNext(precision: Precision) {
        let shape = Shape(tokens: 17, heads: 1, groups: 1, width: 6)
        let kernels = Kernels.best
        let products = precision == .float32 ? kernels.float32 : kernels.bfloat16
        let (cosines, sines) = (FloatBuffer([Float](repeating: 1, count: 51)), FloatBuffer(count: 51))
        let input = FloatBuffer(randomFloats(17 * 18, seed: 3))
        let (out, dOut) = (FloatBuffer(count: 17 * 6), FloatBuffer(randomFloats(17 * 6, seed: 4)))
        let gradient = FloatBuffer(count: 17 * 18)
        let statistics = FloatBuffer(count: 2 * 17)
        let scratch = FloatBuffer(count: kernels.attentionScratchCount(17, 6))
        func call() -> [Float] {
            products.attention(
                shape.tokens, 1, 1, 6, input.pointer, cosines.pointer, sines.pointer, out.pointer, statistics.pointer,
                scratch.pointer)
            products.attentionGradient(
                shape.tokens, 1, 1, 6, input.pointer, cosines.pointer, sines.pointer, out.pointer, statistics.pointer,
                dOut.pointer, gradient.pointer, scratch.pointer)
            return out.array + gradient.array
        }
        let clean = call()
        let kept = input[40]
        input[40] = .nan
        #expect(call().contains { $0.isNaN })
        input[40] = kept
        #expect(call() == clean)
    }
}
