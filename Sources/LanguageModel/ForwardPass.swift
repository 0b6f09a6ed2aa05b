import Numerics

/// The forward pass over a batch, block by block. Each chunk of a block is one task, so that its activations stay in one
/// core's cache from one operation to the next; packing the next block's weights fills what is left of the threads' time.
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

    /// Fills the workspace from the embedding of `inputs` to the final norm's output, and packs the head.
    ///
    /// inputs: [sequences, length] token ids, checked by the caller; rows `inputStride` apart.
    func run(_ parameters: Floats, _ inputs: UnsafePointer<Int32>, inputStride: Int, sequences: Int) {
        let (shape, layers) = (workspace.shape, configuration.layerCount)
        let chunks = (sequences + shape.chunkSequences - 1) / shape.chunkSequences
        func rows(ofChunk chunk: Int) -> Range<Int> {
            shape.tokens(ofChunk: chunk).clamped(to: 0..<sequences * shape.length)
        }
        // Step 0 embeds and packs the first block; step i runs block i - 1 and packs what comes next.
        for step in 0...layers {
            let packing = step < layers ? weights.blockTaskCount : weights.headTaskCount
            pool.run(chunks + packing) { task, worker in
                if task >= chunks {
                    if step < layers {
                        weights.packBlock(step, .forward, slot: step % 2, task: task - chunks, parameters)
                    } else {
                        weights.packHead(task: task - chunks, parameters)
                    }
                } else if step == 0 {
                    embed(parameters, inputs, inputStride, rows(ofChunk: task))
                } else {
                    let rows = rows(ofChunk: task)
                    runBlock(
                        step - 1, parameters, rows, stream: workspace.stream + rows.lowerBound * configuration.width,
                        slot: (step - 1) % 2, scratch: workspace.workers[worker])
                    if step == layers { runFinalNorm(parameters, rows) }
                }
            }
        }
    }

    private func embed(_ parameters: Floats, _ inputs: UnsafePointer<Int32>, _ inputStride: Int, _ rows: Range<Int>) {
        let (length, width) = (workspace.shape.length, configuration.width)
        for row in rows {
            let token = Int(inputs[row / length * inputStride + row % length])
            (workspace.stream + row * width).update(from: parameters + token * width, count: width)
        }
    }

    private func runFinalNorm(_ parameters: Floats, _ rows: Range<Int>) {
        let start = rows.lowerBound * configuration.width
        kernels.rmsNorm(
            rows.count, configuration.width, workspace.stream + start, parameters + layout.finalNorm,
            configuration.rmsNormEpsilon, workspace.normed + start, workspace.streamInverse + rows.lowerBound)
    }

    /// One block over a chunk's rows of the stream, [rows, width], which it replaces.
    ///
    /// When `recomputing`, it stops where the gradient has all it needs: the stream is that between the halves then.
    func runBlock(
        _ index: Int, _ parameters: Floats, _ rows: Range<Int>, stream: MutableFloats, slot: Int,
        recomputing: Bool = false, scratch: WorkerScratch
    ) {
        let (width, hidden, count) = (configuration.width, configuration.feedForwardWidth, rows.count)
        let (offsets, matrices, kept) = (layout.block(index), weights.slots[slot], workspace.blocks[index])
        if !recomputing { kept.input.store(rows, stream, kernels) }
        runAttention(index, parameters, rows, stream: stream, matrices, scratch: scratch)
        if !recomputing { kept.middle.store(rows, stream, kernels) }
        kernels.rmsNorm(
            count, width, stream, parameters + offsets.postNorm, configuration.rmsNormEpsilon, scratch.normed,
            scratch.inverse)
        let gateUp = kept.gateUp.place(rows, scratch.gateUp)
        multiply(count, 2 * hidden, width, scratch.normed, matrices.gateUp, gateUp, scratch)
        kept.gateUp.settle(rows, at: gateUp, kernels)
        if recomputing { return }
        kernels.swiGLU(count, hidden, gateUp, scratch.hidden)
        multiply(count, width, hidden, scratch.hidden, matrices.down, stream, adding: true, scratch)
    }

    private func runAttention(
        _ index: Int, _ parameters: Floats, _ rows: Range<Int>, stream: MutableFloats, _ matrices: PackedWeights.Slot,
        scratch: WorkerScratch
    ) {
        let (width, queryWidth, length) = (configuration.width, configuration.queryWidth, workspace.shape.length)
        let attentionWidth = queryWidth + 2 * configuration.keyValueWidth
        let (count, kept) = (rows.count, workspace.blocks[index])
        kernels.rmsNorm(
            count, width, stream, parameters + layout.block(index).inputNorm, configuration.rmsNormEpsilon,
            scratch.normed, scratch.inverse)
        let queryKeyValue = kept.queryKeyValue.place(rows, scratch.queryKeyValue)
        multiply(count, attentionWidth, width, scratch.normed, matrices.queryKeyValue, queryKeyValue, scratch)
        kept.queryKeyValue.settle(rows, at: queryKeyValue, kernels)
        let attention = kept.attention.place(rows, scratch.attention)
        for sequence in 0..<count / length {
            let token = sequence * length
            products.attention(
                length, configuration.headCount, configuration.keyValueHeadCount, configuration.headWidth,
                queryKeyValue + token * attentionWidth, workspace.cosines, workspace.sines,
                attention + token * queryWidth,
                kept.statistics + (rows.lowerBound + token) * 2 * configuration.headCount, scratch.heads)
        }
        kept.attention.settle(rows, at: attention, kernels)
        multiply(count, width, queryWidth, attention, matrices.attentionOutput, stream, adding: true, scratch)
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
                rows, vocabulary, width, workspace.normed + first * width, weights.headForward,
                workspace.logits + (first - slab.lowerBound) * vocabulary, workspace.workers[worker])
            body(task, first, rows, workspace.workers[worker])
        }
    }
}
