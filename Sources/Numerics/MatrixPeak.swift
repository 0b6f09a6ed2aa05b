/// The rate of large square products by the well-known libraries, each thread multiplying its own matrices: the limit
/// that training and prefill are measured against.
package struct MatrixPeak {
    /// The precision of the products: OpenBLAS in float32, oneDNN in bfloat16.
    package let precision: Precision
    private let operands: [(a: FloatBuffer, b: FloatBuffer, c: FloatBuffer)]
    private static let sizes = [1024, 2048]

    /// The float32 peak.
    package static func float32(threadCount: Int) -> MatrixPeak { MatrixPeak(of: .float32, threadCount: threadCount) }

    /// Prepares matrices for each of the threads; nil where the library cannot multiply bfloat16 on this processor.
    package init?(_ precision: Precision, threadCount: Int) {
        self.init(of: precision, threadCount: threadCount)
        if precision == .bfloat16, !multiply(8, operands[0]) { return nil }
    }

    private init(of precision: Precision, threadCount: Int) {
        self.precision = precision
        var random = SeededRandom(seed: 3)
        let products = Kernels.best.products(precision)
        let (size, words) = (2048, products.words(2048))
        let row = FloatBuffer(count: size)
        operands = (0..<threadCount).map { _ in
            let (a, b) = (FloatBuffer(count: size * words), FloatBuffer(count: size * words))
            for buffer in [a, b] {
                for start in stride(from: 0, to: size * words, by: words) {
                    for index in 0..<size { row[index] = random.nextUniform() }
                    products.stageRows(1, size, row.pointer, size, buffer.pointer + start, words)
                }
            }
            return (a, b, FloatBuffer(count: size * size))
        }
    }

    /// The best product within about `seconds`, in GFLOP/s over all threads.
    package func measure(seconds: Double, pool: WorkerPool, now: () -> Double) -> Double {
        var best = 0.0
        let begin = now()
        repeat {
            for n in Self.sizes {
                let start = now()
                pool.run(operands.count) { task, _ in _ = multiply(n, operands[task]) }
                let flops = 2 * Double(n) * Double(n) * Double(n) * Double(operands.count)
                best = max(best, flops / (now() - start) / 1e9)
            }
        } while now() - begin < seconds
        return best
    }

    private func multiply(_ n: Int, _ operands: (a: FloatBuffer, b: FloatBuffer, c: FloatBuffer)) -> Bool {
        let (a, b, c) = operands
        switch precision {
        case .float32:
            DenseProduct.multiply(
                m: n, n: n, k: n, a: a.pointer, aStride: n, b: b.pointer, bStride: n, c: c.pointer, cStride: n)
            return true
        case .bfloat16:
            // The words hold two values each; as bytes they are bfloat16 values in order.
            let (left, right) = (UnsafeRawPointer(a.pointer), UnsafeRawPointer(b.pointer))
            return DenseProduct.multiplyBFloat16(
                m: n, n: n, k: n, a: left.assumingMemoryBound(to: UInt16.self), aStride: n,
                b: right.assumingMemoryBound(to: UInt16.self), bStride: n, c: c.pointer, cStride: n)
        }
    }
}
