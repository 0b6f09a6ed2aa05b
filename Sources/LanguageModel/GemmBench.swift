package import Numerics

/// Measures the trainer's matrix products one by one beside the peak of the same minutes.
package enum GemmBench {
    /// One product of a training step.
    package struct Row: Hashable, Sendable {
        /// What it computes, such as `gate-up forward`.
        package var name: String
        /// Rows, columns and depth of the product that one thread computes at a time.
        package var rows: Int
        package var columns: Int
        package var depth: Int
        /// The median rate over all threads, staging or packing of the left side included.
        package var gigaflops: Double
        /// gigaflops / peak.
        package var shareOfPeak: Double
    }

    /// The measured figures of one precision.
    package struct Report: Hashable, Sendable {
        /// Precision of the operands.
        package var precision: Precision
        /// The best square product by the library, as in `TrainBench`.
        package var peakGigaflops: Double
        /// The products.
        package var rows: [Row]
    }

    /// Times of each product.
    private static let rounds = 5

    /// Multiplies random matrices in the shapes of `configuration` and measures the peak; nil where the library cannot
    /// multiply in this precision here. `now` is the driver's monotonic clock in seconds; each product takes about
    /// `secondsPerRound` five times.
    package static func run(
        _ configuration: ModelConfiguration, precision: Precision, threadCount: Int, secondsPerRound: Double,
        now: () -> Double
    ) -> Report? {
        let pool = WorkerPool(threadCount: threadCount)
        guard let peak = MatrixPeak(precision, threadCount: pool.threadCount) else { return nil }
        let products = Kernels.best.products(precision)
        let limit = peak.measure(seconds: 1, pool: pool, now: now)
        let (width, hidden) = (configuration.width, configuration.feedForwardWidth)
        let attention = configuration.queryWidth + 2 * configuration.keyValueWidth
        let matrices = [
            ("query-key-value", attention, width), ("attention output", width, configuration.queryWidth),
            ("gate-up", 2 * hidden, width), ("down", width, hidden), ("head", configuration.vocabularySize, width),
        ]
        let chunk = BatchShape(sequences: 16, length: configuration.contextLength).chunkTokens
        var rows: [Row] = []
        for (name, outputs, inputs) in matrices {
            let count = name == "head" ? ForwardPass.headRows : chunk
            let shapes = [
                (name + " forward", count, outputs, inputs, false), (name + " backward", count, inputs, outputs, false),
                (name + " gradient", min(Workspace.gradientRows, outputs), inputs, 2048, true),
            ]
            for (name, m, n, k, isGradient) in shapes {
                let workers = (0..<pool.threadCount).map { _ in Operands(m, n, k, isGradient, products) }
                let rate = median(
                    (0..<rounds).map { _ in
                        let start = now()
                        var times = 0
                        repeat {
                            pool.run(workers.count) { task, _ in workers[task].multiply(products) }
                            times += 1
                        } while now() - start < secondsPerRound
                        return 2 * Double(m * n * k * times * workers.count) / (now() - start) / 1e9
                    })
                rows.append(
                    Row(name: name, rows: m, columns: n, depth: k, gigaflops: rate, shareOfPeak: rate / limit))
            }
        }
        return Report(precision: precision, peakGigaflops: limit, rows: rows)
    }

    /// One thread's matrices.
    private final class Operands {
        let (m, n, k): (Int, Int, Int)
        let isGradient: Bool
        let a, staged, packed, c, scratch: FloatBuffer

        init(_ m: Int, _ n: Int, _ k: Int, _ isGradient: Bool, _ products: MatrixProducts) {
            (self.m, self.n, self.k) = (m, n, k)
            self.isGradient = isGradient
            var random = SeededRandom(seed: 4)
            a = FloatBuffer((0..<m * k).map { _ in random.nextUniform() })
            staged = FloatBuffer(count: m * products.stagedStride(k))
            packed = FloatBuffer(count: products.packedCount(rows: k, columns: n))
            c = FloatBuffer(count: m * n)
            scratch = FloatBuffer(count: MatrixProducts.transposedScratchCount(rows: m))
            let b = FloatBuffer((0..<k * n).map { _ in random.nextUniform() })
            withExtendedLifetime(b) { products.packRows(k, n, b.pointer, n, 0, k, packed.pointer) }
        }

        func multiply(_ products: MatrixProducts) {
            if isGradient {
                products.multiplyTransposed(m, n, k, a.pointer, m, packed.pointer, c.pointer, n, true, scratch.pointer)
            } else if products.readsInPlace(k) {
                products.multiply(m, n, k, a.pointer, k, packed.pointer, c.pointer, n, false)
            } else {
                let stride = products.stagedStride(k)
                products.stageRows(m, k, a.pointer, k, staged.pointer, stride)
                products.multiply(m, n, k, staged.pointer, stride, packed.pointer, c.pointer, n, false)
            }
        }
    }
}

/// The middle value, or the mean of the two middle ones; 0 of none.
func median(_ values: [Double]) -> Double {
    let sorted = values.sorted()
    guard !sorted.isEmpty else { return 0 }
    return (sorted[(sorted.count - 1) / 2] + sorted[sorted.count / 2]) / 2
}
