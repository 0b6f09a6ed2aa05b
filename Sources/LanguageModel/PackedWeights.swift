import Numerics

/// The matrices of a model in the form that the matrix kernels read: packed by columns for y = W x, and by rows for the
/// gradient dx = Wᵀ dy. Packed once per step, since every token uses them.
final class PackedWeights {
    /// One matrix of the flat buffer: q, k, v together, o, gate and up together, down, or the head.
    struct Matrix {
        /// Place in the flat parameter buffer.
        let offset: Int
        /// Rows (outputs) and columns (inputs).
        let outputs, inputs: Int
        /// Packed for y = W x.
        let forward: FloatBuffer
        /// Packed for dx = Wᵀ dy; nil where only the forward pass is wanted.
        let backward: FloatBuffer?

        init(offset: Int, outputs: Int, inputs: Int, withGradient: Bool, products: MatrixProducts) {
            self.offset = offset
            self.outputs = outputs
            self.inputs = inputs
            forward = FloatBuffer(count: products.packedCount(rows: inputs, columns: outputs))
            backward =
                withGradient ? FloatBuffer(count: products.packedCount(rows: outputs, columns: inputs)) : nil
        }
    }

    /// The matrices of one block.
    struct Block {
        let queryKeyValue, attentionOutput, gateUp, down: Matrix
    }

    let blocks: [Block]
    let head: Matrix
    private let all: [Matrix]
    private let products: MatrixProducts

    init(layout: ParameterLayout, withGradient: Bool, products: MatrixProducts) {
        self.products = products
        let shape = layout.configuration
        var blocks: [Block] = []
        for index in 0..<shape.layerCount {
            let offsets = layout.block(index)
            func matrix(_ offset: Int, _ outputs: Int, _ inputs: Int) -> Matrix {
                Matrix(
                    offset: offset, outputs: outputs, inputs: inputs, withGradient: withGradient, products: products)
            }
            blocks.append(
                Block(
                    queryKeyValue: matrix(
                        offsets.queryKeyValue, shape.queryWidth + 2 * shape.keyValueWidth, shape.width),
                    attentionOutput: matrix(offsets.attentionOutput, shape.width, shape.queryWidth),
                    gateUp: matrix(offsets.gateUp, 2 * shape.feedForwardWidth, shape.width),
                    down: matrix(offsets.down, shape.width, shape.feedForwardWidth)))
        }
        self.blocks = blocks
        head = Matrix(
            offset: layout.head, outputs: shape.vocabularySize, inputs: shape.width, withGradient: withGradient,
            products: products)
        all = [head] + blocks.flatMap { [$0.queryKeyValue, $0.attentionOutput, $0.gateUp, $0.down] }
    }

    /// Packs every matrix from the flat parameters.
    func pack(_ parameters: Floats, pool: WorkerPool) {
        pool.run(2 * all.count) { task, _ in
            let matrix = all[task / 2]
            let values = parameters + matrix.offset
            if task % 2 == 0 {
                products.packColumns(matrix.inputs, matrix.outputs, values, matrix.inputs, matrix.forward.pointer)
            } else if let backward = matrix.backward {
                products.packRows(
                    matrix.outputs, matrix.inputs, values, matrix.inputs, 0, matrix.outputs, backward.pointer)
            }
        }
    }
}
