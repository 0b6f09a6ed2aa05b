import Glibc
import Numerics

/// The optimizer step over the flat buffers, cut into pieces that do not depend on the number of threads.
final class ParameterUpdate {
    /// A piece of one tensor.
    private struct Piece {
        let offset, count: Int
        let decays: Bool
        /// A matrix inside a block, which Muon takes.
        let isHidden: Bool
    }

    private let pieces: [Piece]
    /// The pieces that AdamW updates: all, or all but the hidden matrices.
    private let adamPieces: [Piece]
    private let orthogonal: OrthogonalUpdate?
    /// Each piece's sum of squared gradients.
    private let squares: UnsafeMutablePointer<Double>

    init(layout: ParameterLayout, muon: Muon?, threadCount: Int) {
        let pieceCount = 1 << 16
        var pieces: [Piece] = []
        for tensor in layout.tensors {
            for start in stride(from: 0, to: tensor.count, by: pieceCount) {
                pieces.append(
                    Piece(
                        offset: tensor.offset + start, count: min(pieceCount, tensor.count - start),
                        decays: tensor.isMatrix, isHidden: tensor.isMatrix && tensor.block != nil))
            }
        }
        self.pieces = pieces
        adamPieces = muon == nil ? pieces : pieces.filter { !$0.isHidden }
        orthogonal = muon.map { OrthogonalUpdate(layout: layout, muon: $0, threadCount: threadCount) }
        squares = .allocate(capacity: pieces.count)
        squares.initialize(repeating: 0, count: pieces.count)
    }

    deinit { squares.deallocate() }

    /// The Euclidean norm of the whole gradient: float64 sums of pieces, added in order.
    func norm(of gradient: Floats, kernels: Kernels, pool: WorkerPool) -> Double {
        pool.run(pieces.count) { task, _ in
            squares[task] = kernels.sumOfSquares(pieces[task].count, gradient + pieces[task].offset)
        }
        return (0..<pieces.count).reduce(0) { $0 + squares[$1] }.squareRoot()
    }

    /// AdamW, and Muon where it was asked for.
    func apply(
        to state: TrainingState, gradient: Floats, gradientScale: Float, optimizer: AdamW, learningRate: Float,
        kernels: Kernels, pool: WorkerPool
    ) {
        state.updateCount += 1
        let count = Double(state.updateCount)
        let stepSize = Double(learningRate) / (1 - pow(Double(optimizer.beta1), count))
        let inverseCorrection = 1 / (1 - pow(Double(optimizer.beta2), count)).squareRoot()
        orthogonal?.apply(
            to: state, gradient: gradient, gradientScale: gradientScale, learningRate: learningRate,
            weightDecay: optimizer.weightDecay, kernels: kernels, pool: pool)
        pool.run(adamPieces.count) { task, _ in
            let piece = adamPieces[task]
            kernels.adamW(
                piece.count, state.parameters.pointer + piece.offset, gradient + piece.offset,
                state.firstMoment.pointer + piece.offset, state.secondMoment.pointer + piece.offset, gradientScale,
                optimizer.beta1, optimizer.beta2, optimizer.epsilon, Float(stepSize), Float(inverseCorrection),
                piece.decays ? 1 - learningRate * optimizer.weightDecay : 1)
        }
    }
}
