import Numerics

/// Memory that only the backward pass needs; shared by all blocks.
final class GradientWorkspace {
    /// [tokens, width]: the stream's gradient after a block, between its halves, and before it; they rotate.
    let streams: [MutableFloats]
    /// [tokens, 2 * feed-forward width] and [tokens, query + 2 * key-value width].
    let dGateUp, dQueryKeyValue: MutableFloats
    /// The inputs of the four matrices, packed by token for the weights' gradients.
    let packedInput, packedAttention, packedMiddle, packedHidden: MutableFloats
    /// [chunks, 2 * layers + 1, width]: each chunk's part of the norms' gradients.
    let normParts: MutableFloats
    /// [targets]: tokens that each row should predict.
    let targets: UnsafeMutablePointer<Int32>
    /// The losses of the head's tasks.
    let losses: UnsafeMutablePointer<Double>
    private let buffers: [FloatBuffer]

    init(configuration: ModelConfiguration, shape: BatchShape, products: MatrixProducts) {
        var buffers: [FloatBuffer] = []
        func claim(_ count: Int) -> MutableFloats {
            let buffer = FloatBuffer(count: count)
            buffers.append(buffer)
            return buffer.pointer
        }
        func claimPacked(_ columns: Int) -> MutableFloats {
            claim(products.packedCount(rows: shape.tokens, columns: columns))
        }
        let tokens = shape.tokens
        streams = (0..<3).map { _ in claim(tokens * configuration.width) }
        dGateUp = claim(tokens * 2 * configuration.feedForwardWidth)
        dQueryKeyValue = claim(tokens * (configuration.queryWidth + 2 * configuration.keyValueWidth))
        packedInput = claimPacked(configuration.width)
        packedAttention = claimPacked(configuration.queryWidth)
        packedMiddle = claimPacked(configuration.width)
        packedHidden = claimPacked(configuration.feedForwardWidth)
        normParts = claim(shape.chunkCount * (2 * configuration.layerCount + 1) * configuration.width)
        targets = .allocate(capacity: tokens)
        targets.initialize(repeating: 0, count: tokens)
        let tasks = (tokens + ForwardPass.headRows - 1) / ForwardPass.headRows
        losses = .allocate(capacity: tasks)
        losses.initialize(repeating: 0, count: tasks)
        self.buffers = buffers
    }

    deinit {
        targets.deallocate()
        losses.deallocate()
    }
}

/// The backward pass over a batch: the gradient of the mean loss goes to a flat buffer in the parameters' layout.
///
/// Per block there are two parallel-fors: over chunks, from the block's output back to its input; then over rows of the
/// weights, whose gradients sum over all tokens of the batch in order. Nothing depends on the number of threads.
struct BackwardPass {
    let forward: ForwardPass
    let memory: GradientWorkspace

    private var configuration: ModelConfiguration { forward.layout.configuration }
    private var workspace: Workspace { forward.workspace }
    private var kernels: Kernels { forward.kernels }
    private var products: MatrixProducts { forward.products }

    /// Runs after `ForwardPass.run` over the full batch; returns the mean loss. `memory.targets` must be filled.
    ///
    /// `adding` adds to the gradient, else it is overwritten.
    func run(
        _ parameters: Floats, _ inputs: UnsafePointer<Int32>, inputStride: Int, gradient: MutableFloats, adding: Bool
    )
        -> Double
    {
        let shape = workspace.shape
        let normCount = shape.chunkCount * (2 * configuration.layerCount + 1) * configuration.width
        memory.normParts.update(repeating: 0, count: normCount)
        var loss = 0.0
        var first = 0
        while first < shape.tokens {
            let slab = first..<min(shape.tokens, first + workspace.slabTokens)
            loss += runHead(slab, gradient, adding: adding || first > 0)
            first = slab.upperBound
        }
        runFinalNorm(parameters)
        var (after, between, before) = (memory.streams[1], memory.streams[2], memory.streams[0])
        for block in (0..<configuration.layerCount).reversed() {
            forward.pool.run(shape.chunkCount) { chunk, worker in
                runChunk(
                    block, parameters, chunk: chunk, after: after, between: between, before: before,
                    scratch: workspace.workers[worker])
            }
            addWeightGradients(block, parameters, after: after, between: between, gradient, adding: adding)
            (after, between, before) = (before, after, between)
        }
        if !adding { clearSums(gradient) }
        addNormGradients(gradient)
        addEmbeddingGradient(after, inputs, inputStride, gradient)
        return loss / Double(shape.tokens)
    }

    /// Loss, the stream's gradient under the final norm (streams[0]) and the head's gradient, for some tokens.
    private func runHead(_ slab: Range<Int>, _ gradient: MutableFloats, adding: Bool) -> Double {
        let (width, vocabulary) = (configuration.width, configuration.vocabularySize)
        let factor = 1 / Float(workspace.shape.tokens)
        guard let backward = forward.weights.headBackward else {
            preconditionFailure("a backward pass needs weights packed for it")
        }
        let packed = memory.packedInput
        forward.runHead(slab) { task, first, rows, scratch in
            let logits = workspace.logits + (first - slab.lowerBound) * vocabulary
            memory.losses[task] = kernels.crossEntropy(rows, vocabulary, logits, memory.targets + first, factor)
            forward.multiply(rows, width, vocabulary, logits, backward, memory.streams[0] + first * width, scratch)
            products.packRows(
                rows, width, workspace.normed + first * width, width, first - slab.lowerBound, slab.count, packed)
        }
        addProducts(
            [
                Product(
                    rows: vocabulary, columns: width, outputs: workspace.logits, inputs: packed,
                    into: gradient + forward.layout.head, depth: slab.count)
            ], adding: adding)
        let tasks = (slab.count + ForwardPass.headRows - 1) / ForwardPass.headRows
        return (0..<tasks).reduce(0) { $0 + memory.losses[$1] }
    }

    /// streams[1] = the gradient at the last block's output. Also packs that block's weights.
    private func runFinalNorm(_ parameters: Floats) {
        let (width, chunks, last) = (configuration.width, workspace.shape.chunkCount, configuration.layerCount - 1)
        forward.pool.run(chunks + packTaskCount(last)) { task, _ in
            if task >= chunks {
                pack(last, task - chunks, parameters)
                return
            }
            let rows = workspace.shape.tokens(ofChunk: task)
            let start = rows.lowerBound * width
            (memory.streams[1] + start).update(repeating: 0, count: rows.count * width)
            kernels.rmsNormGradient(
                rows.count, width, memory.streams[0] + start, workspace.stream + start,
                parameters + forward.layout.finalNorm, workspace.streamInverse + rows.lowerBound,
                memory.streams[1] + start, memory.streams[1] + start, normPart(task, 2 * configuration.layerCount))
        }
    }

    /// Tasks that pack what the way back through a block needs; none below the first block.
    private func packTaskCount(_ block: Int) -> Int {
        guard block >= 0 else { return 0 }
        return forward.weights.blockTaskCount * (workspace.keeping == .inputs ? 2 : 1)
    }

    private func pack(_ block: Int, _ task: Int, _ parameters: Floats) {
        let count = forward.weights.blockTaskCount
        if task < count {
            forward.weights.packBlock(block, .backward, slot: 1, task: task, parameters)
        } else {
            forward.weights.packBlock(block, .forward, slot: 0, task: task - count, parameters)
        }
    }

    private func normPart(_ chunk: Int, _ norm: Int) -> MutableFloats {
        memory.normParts + (chunk * (2 * configuration.layerCount + 1) + norm) * configuration.width
    }

    /// One chunk's way back through one block; leaves what the weights' gradients need.
    private func runChunk(
        _ index: Int, _ parameters: Floats, chunk: Int, after: MutableFloats, between: MutableFloats,
        before: MutableFloats, scratch: WorkerScratch
    ) {
        let rows = workspace.shape.tokens(ofChunk: chunk)
        if workspace.keeping == .inputs { recompute(index, parameters, rows, scratch: scratch) }
        runFeedForward(
            index, parameters, rows, after: after, between: between, scratch: scratch,
            normPart: normPart(chunk, 2 * index + 1))
        runAttention(
            index, parameters, rows, between: between, before: before, scratch: scratch,
            normPart: normPart(chunk, 2 * index))
    }

    /// Leaves the block's activations in the worker's scratch memory.
    private func recompute(_ index: Int, _ parameters: Floats, _ rows: Range<Int>, scratch: WorkerScratch) {
        let kept = workspace.blocks[index]
        guard case .float32(let inputs) = kept.input.storage else {
            preconditionFailure("recomputation starts from inputs in float32")
        }
        scratch.middle.update(
            from: inputs + rows.lowerBound * configuration.width, count: rows.count * configuration.width)
        forward.runBlock(
            index, parameters, rows, stream: scratch.middle, slot: 0, recomputing: true, scratch: scratch)
        kept.middle.settle(rows, at: scratch.middle, kernels)
    }

    private func runFeedForward(
        _ index: Int, _ parameters: Floats, _ rows: Range<Int>, after: MutableFloats, between: MutableFloats,
        scratch: WorkerScratch, normPart: MutableFloats
    ) {
        let (width, hidden, tokens) = (configuration.width, configuration.feedForwardWidth, workspace.shape.tokens)
        let (first, count) = (rows.lowerBound, rows.count)
        let (kept, matrices, offsets) = (
            workspace.blocks[index], forward.weights.slots[1], forward.layout.block(index)
        )
        let start = first * width
        forward.multiply(count, hidden, width, after + start, matrices.down, scratch.hidden, scratch)
        let dGateUp = memory.dGateUp + first * 2 * hidden
        kernels.swiGLUGradient(
            count, hidden, kept.gateUp.recall(rows, scratch.gateUp, kernels), scratch.hidden, dGateUp)
        products.packRows(count, hidden, scratch.hidden, hidden, first, tokens, memory.packedHidden)
        // The norm's output again: cheaper than keeping it.
        let middle = kept.middle.recall(rows, scratch.middle, kernels)
        kernels.rmsNorm(
            count, width, middle, parameters + offsets.postNorm, configuration.rmsNormEpsilon, scratch.normed,
            scratch.inverse)
        products.packRows(count, width, scratch.normed, width, first, tokens, memory.packedMiddle)
        forward.multiply(count, width, 2 * hidden, dGateUp, matrices.gateUp, scratch.normed, scratch)
        kernels.rmsNormGradient(
            count, width, scratch.normed, middle, parameters + offsets.postNorm, scratch.inverse, after + start,
            between + start, normPart)
    }

    private func runAttention(
        _ index: Int, _ parameters: Floats, _ rows: Range<Int>, between: MutableFloats, before: MutableFloats,
        scratch: WorkerScratch, normPart: MutableFloats
    ) {
        let (width, queryWidth) = (configuration.width, configuration.queryWidth)
        let attentionWidth = queryWidth + 2 * configuration.keyValueWidth
        let (first, count, length, tokens) = (
            rows.lowerBound, rows.count, workspace.shape.length, workspace.shape.tokens
        )
        let (kept, matrices, offsets) = (
            workspace.blocks[index], forward.weights.slots[1], forward.layout.block(index)
        )
        let start = first * width
        forward.multiply(
            count, queryWidth, width, between + start, matrices.attentionOutput, scratch.dAttention, scratch)
        let attention = kept.attention.recall(rows, scratch.attention, kernels)
        products.packRows(count, queryWidth, attention, queryWidth, first, tokens, memory.packedAttention)
        let queryKeyValue = kept.queryKeyValue.recall(rows, scratch.queryKeyValue, kernels)
        let dQueryKeyValue = memory.dQueryKeyValue + first * attentionWidth
        for sequence in 0..<count / length {
            let token = sequence * length
            products.attentionGradient(
                length, configuration.headCount, configuration.keyValueHeadCount, configuration.headWidth,
                queryKeyValue + token * attentionWidth, workspace.cosines, workspace.sines,
                attention + token * queryWidth, kept.statistics + (first + token) * 2 * configuration.headCount,
                scratch.dAttention + token * queryWidth, dQueryKeyValue + token * attentionWidth, scratch.heads)
        }
        let input = kept.input.recall(rows, scratch.input, kernels)
        kernels.rmsNorm(
            count, width, input, parameters + offsets.inputNorm, configuration.rmsNormEpsilon, scratch.normed,
            scratch.inverse)
        products.packRows(count, width, scratch.normed, width, first, tokens, memory.packedInput)
        forward.multiply(
            count, width, attentionWidth, dQueryKeyValue, matrices.queryKeyValue, scratch.normed, scratch)
        kernels.rmsNormGradient(
            count, width, scratch.normed, input, parameters + offsets.inputNorm, scratch.inverse, between + start,
            before + start, normPart)
    }

    /// The gradient of one weight: outputs' gradients [depth, rows] transposed times inputs [depth, columns] (packed).
    private struct Product {
        let rows, columns: Int
        let outputs, inputs, into: MutableFloats
        let depth: Int
        var tasks: Int { (rows + Workspace.gradientRows - 1) / Workspace.gradientRows }
    }

    /// Also packs the weights of the block below.
    private func addWeightGradients(
        _ index: Int, _ parameters: Floats, after: MutableFloats, between: MutableFloats, _ gradient: MutableFloats,
        adding: Bool
    ) {
        let (width, hidden, tokens) = (configuration.width, configuration.feedForwardWidth, workspace.shape.tokens)
        let offsets = forward.layout.block(index)
        addProducts(
            [
                Product(
                    rows: 2 * hidden, columns: width, outputs: memory.dGateUp, inputs: memory.packedMiddle,
                    into: gradient + offsets.gateUp, depth: tokens),
                Product(
                    rows: width, columns: hidden, outputs: after, inputs: memory.packedHidden,
                    into: gradient + offsets.down, depth: tokens),
                Product(
                    rows: configuration.queryWidth + 2 * configuration.keyValueWidth, columns: width,
                    outputs: memory.dQueryKeyValue, inputs: memory.packedInput, into: gradient + offsets.queryKeyValue,
                    depth: tokens),
                Product(
                    rows: width, columns: configuration.queryWidth, outputs: between, inputs: memory.packedAttention,
                    into: gradient + offsets.attentionOutput, depth: tokens),
            ], adding: adding, besides: packTaskCount(index - 1)
        ) { task in pack(index - 1, task, parameters) }
    }

    /// Runs `others` tasks of `body` too, last.
    private func addProducts(
        _ gradients: [Product], adding: Bool, besides others: Int = 0, _ body: (_ task: Int) -> Void = { _ in }
    ) {
        forward.pool.run(gradients.reduce(others) { $0 + $1.tasks }) { task, worker in
            var task = task
            for product in gradients {
                if task < product.tasks {
                    let row = task * Workspace.gradientRows
                    products.multiplyTransposed(
                        min(Workspace.gradientRows, product.rows - row), product.columns, product.depth,
                        product.outputs + row, product.rows, product.inputs, product.into + row * product.columns,
                        product.columns, adding, workspace.workers[worker].tiles)
                    return
                }
                task -= product.tasks
            }
            body(task)
        }
    }

    /// Zeroes what is only ever added to: the norms' gradients, and the embedding's where the head has its own.
    private func clearSums(_ gradient: MutableFloats) {
        for tensor in forward.layout.tensors where !tensor.isMatrix {
            (gradient + tensor.offset).update(repeating: 0, count: tensor.count)
        }
        if !configuration.tiedEmbeddings {
            gradient.update(repeating: 0, count: configuration.vocabularySize * configuration.width)
        }
    }

    private func addNormGradients(_ gradient: MutableFloats) {
        for chunk in 0..<workspace.shape.chunkCount {
            for block in 0..<configuration.layerCount {
                let offsets = forward.layout.block(block)
                kernels.addInto(configuration.width, normPart(chunk, 2 * block), gradient + offsets.inputNorm)
                kernels.addInto(configuration.width, normPart(chunk, 2 * block + 1), gradient + offsets.postNorm)
            }
            kernels.addInto(
                configuration.width, normPart(chunk, 2 * configuration.layerCount), gradient + forward.layout.finalNorm)
        }
    }

    /// Adds each token's gradient to its embedding, in token order; tasks take columns.
    private func addEmbeddingGradient(
        _ stream: MutableFloats, _ inputs: UnsafePointer<Int32>, _ inputStride: Int, _ gradient: MutableFloats
    ) {
        let (width, length) = (configuration.width, workspace.shape.length)
        let columns = 64
        forward.pool.run((width + columns - 1) / columns) { task, _ in
            let first = task * columns
            let count = min(columns, width - first)
            for sequence in 0..<workspace.shape.sequences {
                for position in 0..<length {
                    let token = Int(inputs[sequence * inputStride + position])
                    kernels.addInto(
                        count, stream + (sequence * length + position) * width + first, gradient + token * width + first
                    )
                }
            }
        }
    }
}
