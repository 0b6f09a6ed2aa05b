import Numerics

/// The forward pass over a batch. Each chunk goes through all blocks on one thread, so there is nothing to wait for
/// between blocks and a chunk's activations stay in that core's cache from one operation to the next.
struct ForwardPass {
    let layout: ParameterLayout
    let workspace: Workspace
    let weights: PackedWeights
    let kernels: Kernels
    let pool: WorkerPool

    private var configuration: ModelConfiguration { layout.configuration }

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

    private func runBlock(
        _ index: Int, _ parameters: Floats, rows: Range<Int>, firstSequence: Int, next: MutableFloats,
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
        kernels.multiplyPacked(
            count, attentionWidth, width, scratch.normed, width, matrices.queryKeyValue.forward.pointer, queryKeyValue,
            attentionWidth, false)
        let attention = kept.attention + first * queryWidth
        for sequence in 0..<count / length {
            kernels.attention(
                length, configuration.headCount, configuration.keyValueHeadCount, configuration.headWidth,
                queryKeyValue + sequence * length * attentionWidth, workspace.cosines, workspace.sines,
                attention + sequence * length * queryWidth,
                kept.statistics + (firstSequence + sequence) * length * 2 * configuration.headCount, scratch.heads)
        }
        middle.update(from: input, count: count * width)
        kernels.multiplyPacked(
            count, width, queryWidth, attention, queryWidth, matrices.attentionOutput.forward.pointer, middle, width,
            true)
        kernels.rmsNorm(
            count, width, middle, parameters + offsets.postNorm, configuration.rmsNormEpsilon, scratch.normed,
            kept.middleInverse + first)
        let gateUp = kept.gateUp + first * 2 * hidden
        kernels.multiplyPacked(
            count, 2 * hidden, width, scratch.normed, width, matrices.gateUp.forward.pointer, gateUp, 2 * hidden, false)
        kernels.swiGLU(count, hidden, gateUp, scratch.hidden)
        let output = next + first * width
        output.update(from: middle, count: count * width)
        kernels.multiplyPacked(
            count, width, hidden, scratch.hidden, hidden, matrices.down.forward.pointer, output, width, true)
    }

    /// Rows per task of the head: small, since logits are wide.
    static let headRows = 64

    /// Computes the logits of the tokens `slab` into the workspace and hands each task's rows to `body`.
    ///
    /// `body` gets the task, its first token and the number of its rows; the rows' logits start at
    /// `workspace.logits + (first - slab.lowerBound) * vocabulary`.
    func runHead(_ slab: Range<Int>, _ body: (_ task: Int, _ first: Int, _ rows: Int) -> Void) {
        let (width, vocabulary) = (configuration.width, configuration.vocabularySize)
        pool.run((slab.count + Self.headRows - 1) / Self.headRows) { task, _ in
            let first = slab.lowerBound + task * Self.headRows
            let rows = min(Self.headRows, slab.upperBound - first)
            kernels.multiplyPacked(
                rows, vocabulary, width, workspace.normed + first * width, width, weights.head.forward.pointer,
                workspace.logits + (first - slab.lowerBound) * vocabulary, vocabulary, false)
            body(task, first, rows)
        }
    }
}
