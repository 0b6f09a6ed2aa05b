import Numerics

/// Room for the matrices of two blocks and of the head in the form that the matrix kernels read.
///
/// A block's matrices are packed right before they are used, as small tasks beside the work on the block before, so that
/// the packed copy of a model takes the memory of two blocks. The forward pass packs block `i` into slot `i % 2`; the
/// backward pass has slot 1 for gradients and slot 0 for activations that are computed again.
final class PackedWeights {
    /// What a packed matrix W is for.
    enum Form {
        /// y = W x.
        case forward
        /// dx = Wᵀ dy.
        case backward
    }

    /// One block's matrices: q, k, v together, o, gate and up together, and down.
    struct Slot {
        let queryKeyValue, attentionOutput, gateUp, down: FloatBuffer
    }

    /// Some outputs (rows) of one matrix: the work of one task.
    private struct Piece {
        /// Index among a block's matrices.
        let matrix: Int
        let outputs: Range<Int>
    }

    let slots: [Slot]
    /// The head's two forms; backward only where gradients are wanted.
    let headForward: FloatBuffer
    let headBackward: FloatBuffer?
    /// Tasks that pack one form of one block.
    var blockTaskCount: Int { pieces.count }
    /// Tasks that pack the head.
    var headTaskCount: Int { headPieces.count }

    private let layout: ParameterLayout
    private let products: MatrixProducts
    private let pieces: [Piece]
    private let headPieces: [Range<Int>]
    /// Outputs and inputs of a block's matrices.
    private let shapes: [(outputs: Int, inputs: Int)]

    init(layout: ParameterLayout, withGradient: Bool, products: MatrixProducts) {
        self.layout = layout
        self.products = products
        let shape = layout.configuration
        let shapes = [
            (outputs: shape.queryWidth + 2 * shape.keyValueWidth, inputs: shape.width),
            (outputs: shape.width, inputs: shape.queryWidth),
            (outputs: 2 * shape.feedForwardWidth, inputs: shape.width),
            (outputs: shape.width, inputs: shape.feedForwardWidth),
        ]
        func buffer(_ outputs: Int, _ inputs: Int) -> FloatBuffer {
            FloatBuffer(
                count: max(
                    products.packedCount(rows: inputs, columns: outputs),
                    products.packedCount(rows: outputs, columns: inputs)))
        }
        slots = (0..<2).map { _ in
            let buffers = shapes.map { buffer($0.outputs, $0.inputs) }
            return Slot(queryKeyValue: buffers[0], attentionOutput: buffers[1], gateUp: buffers[2], down: buffers[3])
        }
        headForward = buffer(shape.vocabularySize, shape.width)
        headBackward = withGradient ? buffer(shape.vocabularySize, shape.width) : nil
        /// Whole panels, about a quarter of a million weights.
        func cut(_ outputs: Int, _ inputs: Int) -> [Range<Int>] {
            let count = max(1, (1 << 18) / inputs / 16) * 16
            return stride(from: 0, to: outputs, by: count).map { $0..<min(outputs, $0 + count) }
        }
        pieces = shapes.indices.flatMap { index in
            cut(shapes[index].outputs, shapes[index].inputs).map { Piece(matrix: index, outputs: $0) }
        }
        headPieces = cut(shape.vocabularySize, shape.width)
        self.shapes = shapes
    }

    /// One task of packing a block into a slot.
    func packBlock(_ index: Int, _ form: Form, slot: Int, task: Int, _ parameters: Floats) {
        let (piece, offsets, slot) = (pieces[task], layout.block(index), slots[slot])
        let (offset, packed) =
            switch piece.matrix {
            case 0: (offsets.queryKeyValue, slot.queryKeyValue)
            case 1: (offsets.attentionOutput, slot.attentionOutput)
            case 2: (offsets.gateUp, slot.gateUp)
            default: (offsets.down, slot.down)
            }
        let shape = shapes[piece.matrix]
        pack(form, parameters + offset, shape.outputs, shape.inputs, piece.outputs, packed)
    }

    /// One task of packing the head, in all forms that there are.
    func packHead(task: Int, _ parameters: Floats) {
        let (outputs, inputs) = (layout.configuration.vocabularySize, layout.configuration.width)
        pack(.forward, parameters + layout.head, outputs, inputs, headPieces[task], headForward)
        if let headBackward {
            pack(.backward, parameters + layout.head, outputs, inputs, headPieces[task], headBackward)
        }
    }

    private func pack(
        _ form: Form, _ values: Floats, _ outputs: Int, _ inputs: Int, _ piece: Range<Int>, _ packed: FloatBuffer
    ) {
        switch form {
        case .forward:
            products.packColumns(
                inputs, outputs, piece.lowerBound, piece.upperBound, values, inputs, packed.pointer)
        case .backward:
            products.packRows(
                piece.count, inputs, values + piece.lowerBound * inputs, inputs, piece.lowerBound, outputs,
                packed.pointer)
        }
    }
}
