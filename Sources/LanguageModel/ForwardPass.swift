import Numerics

/// The forward pass over a batch. Each chunk goes through all blocks on one thread, so there is nothing to wait for
/// between blocks and a chunk's activations stay in that core's cache from one operation to the next.
struct ForwardPass {
    let layout: ParameterLayout
    let workspace: Workspace
    let weights: PackedWeights
    let kernels: Kernels
    let products: MatrixProducts
    let pool: WorkerPool

    private var configuration: ModelConfiguration { layout.configuration }

    /// C (+)= A Wᵀ (or A W) for some rows of A in float32, which are staged as the products need them.
    ///
    /// a: [rows, depth]; c: [rows, columns]; both without gaps.
    func multiply(
        _ rows: Int, _ columns: Int, _ depth: Int, _ a: Floats, _ matrix: FloatBuffer, _ c: MutableFloats,
        adding: Bool = false, _ scratch: WorkerScratch
    ) {
        if products.readsInPlace(depth) {
            products.multiply(rows, columns, depth, a, depth, matrix.pointer, c, columns, adding)
        } else {
            let stride = products.stagedStride(depth)
            products.stageRows(rows, depth, a, depth, scratch.operand, stride)
            products.multiply(rows, columns, depth, scratch.operand, stride, matrix.pointer, c, columns, adding)
        }
    }

    /// Fills the workspace from the embedding of `inputs` to the final norm's output.
    ///
    /// inputs: [sequences, length] token ids, checked by the caller; rows `inputStride` apart.
    func run(_ parameters: Floats, _ inputs: UnsafePointer<Int32>, inputStride: Int, sequences: Int) {
        let shape = workspace.shape
        let chunks = (sequences + shape.chunkSequences - 1) / shape.chunkSequences
        pool.run(chunks) { chunk, worker in
            let first = chunk * shape.chunkSequences
            let count = min(shape.chunkSequences, sequences - first)
            runChunk(
                parameters, inputs + first * inputStride, inputStride, firstSequence: first, sequences: count,
                scratch: workspace.workers[worker])
        }
    }

    private func runChunk(
        _ parameters: Floats, _ inputs: UnsafePointer<Int32>, _ inputStride: Int, firstSequence: Int, sequences: Int,
        scratch: WorkerScratch
    ) {
        let (length, width) = (workspace.shape.length, configuration.width)
        let rows = firstSequence * length..<(firstSequence + sequences) * length
        let embedded = (workspace.blocks.first?.input ?? workspace.output) + rows.lowerBound * width
        for sequence in 0..<sequences {
            for position in 0..<length {
                let token = Int(inputs[sequence * inputStride + position])
                (embedded + (sequence * length + position) * width).update(
                    from: parameters + token * width, count: width)
            }
        }
        for block in 0..<configuration.layerCount {
            let next = block + 1 < configuration.layerCount ? workspace.blocks[block + 1].input : workspace.output
            runBlock(block, parameters, rows: rows, firstSequence: firstSequence, next: next, scratch: scratch)
        }
        kernels.rmsNorm(
            rows.count, width, workspace.output + rows.lowerBound * width, parameters + layout.finalNorm,
            configuration.rmsNormEpsilon, workspace.normed + rows.lowerBound * width,
            workspace.outputInverse + rows.lowerBound)
    }

    /// One block over some tokens; without `next` only what its gradient needs, for recomputation.
    func runBlock(
        _ index: Int, _ parameters: Floats, rows: Range<Int>, firstSequence: Int, next: MutableFloats?,
        scratch: WorkerScratch
    ) {
        let (width, hidden) = (configuration.width, configuration.feedForwardWidth)
        let (length, first, count) = (workspace.shape.length, rows.lowerBound, rows.count)
        let (queryWidth, attentionWidth) = (
            configuration.queryWidth, configuration.queryWidth + 2 * configuration.keyValueWidth
        )
        let (offsets, matrices, kept) = (layout.block(index), weights.blocks[index], workspace.blocks[index])
        let input = kept.input + first * width
        let middle = kept.middle + first * width
        kernels.rmsNorm(
            count, width, input, parameters + offsets.inputNorm, configuration.rmsNormEpsilon, scratch.normed,
            kept.inputInverse + first)
        let queryKeyValue = kept.queryKeyValue + first * attentionWidth
        multiply(count, attentionWidth, width, scratch.normed, matrices.queryKeyValue.forward, queryKeyValue, scratch)
        let attention = kept.attention + first * queryWidth
        for sequence in 0..<count / length {
            products.attention(
                length, configuration.headCount, configuration.keyValueHeadCount, configuration.headWidth,
                queryKeyValue + sequence * length * attentionWidth, workspace.cosines, workspace.sines,
                attention + sequence * length * queryWidth,
                kept.statistics + (firstSequence + sequence) * length * 2 * configuration.headCount, scratch.heads)
        }
        middle.update(from: input, count: count * width)
        multiply(
            count, width, queryWidth, attention, matrices.attentionOutput.forward, middle, adding: true, scratch)
        kernels.rmsNorm(
            count, width, middle, parameters + offsets.postNorm, configuration.rmsNormEpsilon, scratch.normed,
            kept.middleInverse + first)
        let gateUp = kept.gateUp + first * 2 * hidden
        multiply(count, 2 * hidden, width, scratch.normed, matrices.gateUp.forward, gateUp, scratch)
        guard let next else { return }
        kernels.swiGLU(count, hidden, gateUp, scratch.hidden)
        let output = next + first * width
        output.update(from: middle, count: count * width)
        multiply(count, width, hidden, scratch.hidden, matrices.down.forward, output, adding: true, scratch)
    }

    /// Rows per task of the head: small, since logits are wide; whole register tiles.
    static let headRows = 96

    /// Computes the logits of the tokens `slab` into the workspace and hands each task's rows to `body`.
    ///
    /// `body` gets the task, its first token, the number of its rows and the worker's scratch; the rows' logits start at
    /// `workspace.logits + (first - slab.lowerBound) * vocabulary`.
    func runHead(_ slab: Range<Int>, _ body: (_ task: Int, _ first: Int, _ rows: Int, _ scratch: WorkerScratch) -> Void)
    {
        let (width, vocabulary) = (configuration.width, configuration.vocabularySize)
        pool.run((slab.count + Self.headRows - 1) / Self.headRows) { task, worker in
            let first = slab.lowerBound + task * Self.headRows
            let rows = min(Self.headRows, slab.upperBound - first)
            multiply(
                rows, vocabulary, width, workspace.normed + first * width, weights.head.forward,
                workspace.logits + (first - slab.lowerBound) * vocabulary, workspace.workers[worker])
            body(task, first, rows, workspace.workers[worker])
        }
    }
}
