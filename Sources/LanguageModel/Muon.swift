import Numerics

/// Settings of Muon: momentum whose matrix is made nearly orthogonal by a Newton-Schulz iteration.
///
/// The update of an [n, m] matrix is scaled by 0.2 sqrt(max(n, m)), which gives it the size of an AdamW update, so that
/// AdamW's learning rates carry over. q, k, v, gate and up are each a matrix of their own.
/// - SeeAlso: Jordan et al., "Muon" (2024); Liu et al., "Muon is scalable for LLM training" (arXiv:2502.16982), section 2.2,
///   for the scale.
package struct Muon: Hashable, Sendable {
    /// Memory of the gradient: B = momentum * B + G, used in Nesterov's form G + momentum * B.
    package var momentum: Float

    /// The published default.
    package init(momentum: Float = 0.95) { self.momentum = momentum }

    /// Newton-Schulz iterations.
    static let iterationCount = 5
    /// The coefficients a, b, c of X <- a X + (b A + c A²) X with A = X Xᵀ.
    static let coefficients: (a: Float, b: Float, c: Float) = (3.4445, -4.7750, 2.0315)
}

/// Muon's step over all hidden matrices, each by one thread, the costliest first.
final class OrthogonalUpdate {
    private struct Matrix {
        let offset, rows, columns: Int
    }

    /// Memory of one worker for the largest matrix: X, the next X, A, and b A + c A².
    private struct Scratch {
        let x, next, square, polynomial: FloatBuffer
    }

    private let muon: Muon
    private let matrices: [Matrix]
    private let workers: [Scratch]

    init(layout: ParameterLayout, muon: Muon, threadCount: Int) {
        self.muon = muon
        let hidden = layout.tensors.filter { $0.isMatrix && $0.block != nil }
        matrices = hidden.map { Matrix(offset: $0.offset, rows: $0.shape[0], columns: $0.shape[1]) }
            .sorted { $0.rows * $0.columns > $1.rows * $1.columns }
        let countMax = hidden.map(\.count).max() ?? 0
        let sideMax = hidden.map { min($0.shape[0], $0.shape[1]) }.max() ?? 0
        workers = (0..<threadCount).map { _ in
            Scratch(
                x: FloatBuffer(count: countMax), next: FloatBuffer(count: countMax),
                square: FloatBuffer(count: sideMax * sideMax), polynomial: FloatBuffer(count: sideMax * sideMax))
        }
    }

    /// W <- W (1 - rate * decay) - rate * 0.2 sqrt(max(n, m)) * NS(G + momentum * B), with B in the first moments.
    func apply(
        to state: TrainingState, gradient: Floats, gradientScale: Float, learningRate: Float, weightDecay: Float,
        kernels: Kernels, pool: WorkerPool
    ) {
        pool.run(matrices.count) { task, worker in
            let matrix = matrices[task]
            let scratch = workers[worker]
            let count = matrix.rows * matrix.columns
            let (memory, source) = (state.firstMoment.pointer + matrix.offset, gradient + matrix.offset)
            let update = scratch.next.pointer
            for index in 0..<count {
                let value = source[index] * gradientScale
                memory[index] = muon.momentum * memory[index] + value
                update[index] = value + muon.momentum * memory[index]
            }
            orthogonalize(matrix.rows, matrix.columns, scratch, kernels)
            let keep = 1 - learningRate * weightDecay
            let step = learningRate * 0.2 * Float(max(matrix.rows, matrix.columns)).squareRoot()
            let (parameters, direction) = (state.parameters.pointer + matrix.offset, scratch.next.pointer)
            for index in 0..<count { parameters[index] = keep * parameters[index] - step * direction[index] }
        }
    }

    /// Replaces the [rows, columns] matrix in `next` by a nearly orthogonal one with the same singular vectors.
    private func orthogonalize(_ rows: Int, _ columns: Int, _ scratch: Scratch, _ kernels: Kernels) {
        newtonSchulz(
            rows, columns, scratch.next.pointer, x: scratch.x.pointer, square: scratch.square.pointer,
            polynomial: scratch.polynomial.pointer, kernels)
    }
}

/// Five Newton-Schulz iterations on a [rows, columns] matrix in place; singular values end up between about 0.7 and 1.2.
///
/// x: room for the matrix; square, polynomial: room for min(rows, columns)² each.
func newtonSchulz(
    _ rows: Int, _ columns: Int, _ matrix: MutableFloats, x: MutableFloats, square: MutableFloats,
    polynomial: MutableFloats, _ kernels: Kernels
) {
    let (n, m) = (min(rows, columns), max(rows, columns))
    let norm = kernels.sumOfSquares(rows * columns, matrix).squareRoot()
    let scale = Float(1 / (norm + 1e-7))
    // X is wide: transposed first where the matrix is tall.
    for row in 0..<rows {
        for column in 0..<columns {
            x[rows > columns ? column * m + row : row * m + column] = matrix[row * columns + column] * scale
        }
    }
    let (a, b, c) = Muon.coefficients
    var (current, next) = (x, matrix)
    for _ in 0..<Muon.iterationCount {
        DenseProduct.multiply(
            m: n, n: n, k: m, a: current, aStride: m, b: current, bStride: m, transposeB: true, c: square, cStride: n)
        polynomial.update(from: square, count: n * n)
        DenseProduct.multiply(
            m: n, n: n, k: n, alpha: c, a: square, aStride: n, b: square, bStride: n, beta: b, c: polynomial,
            cStride: n)
        next.update(from: current, count: n * m)
        DenseProduct.multiply(
            m: n, n: m, k: n, a: polynomial, aStride: n, b: current, bStride: m, beta: a, c: next, cStride: m)
        swap(&current, &next)
    }
    // Five swaps leave the result where the matrix was given.
    guard rows > columns else { return }
    x.update(from: matrix, count: n * m)
    for row in 0..<rows {
        for column in 0..<columns { matrix[row * columns + column] = x[column * m + row] }
    }
}
