import Numerics

/// How a batch is cut into chunks: whole sequences, about 256 tokens, whatever the number of threads, so that results do
/// not depend on it.
struct BatchShape {
    /// Sequences and tokens per sequence.
    let sequences, length: Int
    /// Sequences per chunk (the last chunk may have fewer).
    let chunkSequences: Int

    init(sequences: Int, length: Int) {
        self.sequences = sequences
        self.length = length
        let count = max(1, min(sequences, 256 / length))
        // Chunks start at even tokens, since bfloat16 packs tokens in pairs.
        chunkSequences = length % 2 == 1 && count % 2 == 1 ? count + 1 : count
    }

    var tokens: Int { sequences * length }
    var chunkCount: Int { (sequences + chunkSequences - 1) / chunkSequences }
    var chunkTokens: Int { chunkSequences * length }

    /// The tokens of one chunk.
    func tokens(ofChunk chunk: Int) -> Range<Int> {
        chunk * chunkTokens..<min(tokens, (chunk + 1) * chunkTokens)
    }
}

/// What one block's forward pass leaves for its gradient; all rows are tokens of the batch.
struct BlockActivations {
    /// [tokens, width]: the residual stream before attention and before the feed-forward layer.
    let input, middle: MutableFloats
    /// [tokens, query + 2 * key-value width], before rotation.
    let queryKeyValue: MutableFloats
    /// [tokens, query width]: attention's output.
    let attention: MutableFloats
    /// [tokens, 2 * feed-forward width].
    let gateUp: MutableFloats
    /// [tokens]: the norms' inverse root mean squares.
    let inputInverse, middleInverse: MutableFloats
    /// [sequences, heads, length, 2]: attention's softmax statistics.
    let statistics: MutableFloats
}

/// Scratch memory of one worker.
struct WorkerScratch {
    /// [chunk tokens, width].
    let normed: MutableFloats
    /// [chunk tokens, query width].
    let attention: MutableFloats
    /// [chunk tokens, feed-forward width].
    let hidden: MutableFloats
    /// Rows of a product's left side, staged.
    let operand: MutableFloats
    /// Attention's own.
    let heads: MutableFloats
    /// For gradients of weights: packed tiles.
    let tiles: MutableFloats
}

/// What a forward pass leaves of each block.
enum Keeping {
    /// All that the gradient needs.
    case everything
    /// Each block's input; the gradient computes the rest again (activation recomputation).
    case inputs
    /// Nothing, for evaluation.
    case nothing
}

/// Memory of forward and backward passes for one batch shape; claimed once, so that a step allocates nothing.
final class Workspace {
    let configuration: ModelConfiguration
    let shape: BatchShape
    let keeping: Keeping
    /// Per block; what is not kept is shared.
    let blocks: [BlockActivations]
    let workers: [WorkerScratch]
    /// [length, headWidth / 2].
    let cosines, sines: MutableFloats
    /// [tokens, width]: the stream after the last block, and after the final norm.
    let output, normed: MutableFloats
    /// [tokens]: the final norm's inverse root mean squares.
    let outputInverse: MutableFloats
    /// [slabTokens, vocabulary].
    let logits: MutableFloats
    /// Tokens whose logits are held at once: a multiple of 256, about 16 million floats at most.
    let slabTokens: Int
    private var buffers: [FloatBuffer] = []

    init(
        configuration: ModelConfiguration, shape: BatchShape, threadCount: Int, keeping: Keeping, kernels: Kernels,
        products: MatrixProducts
    ) {
        var buffers: [FloatBuffer] = []
        func claim(_ count: Int) -> MutableFloats {
            let buffer = FloatBuffer(count: count)
            buffers.append(buffer)
            return buffer.pointer
        }
        let tokens = shape.tokens
        let (width, hidden) = (configuration.width, configuration.feedForwardWidth)
        let attentionWidth = configuration.queryWidth + 2 * configuration.keyValueWidth
        func claimBlock(sharing shared: BlockActivations? = nil) -> BlockActivations {
            BlockActivations(
                input: claim(tokens * width), middle: shared?.middle ?? claim(tokens * width),
                queryKeyValue: shared?.queryKeyValue ?? claim(tokens * attentionWidth),
                attention: shared?.attention ?? claim(tokens * configuration.queryWidth),
                gateUp: shared?.gateUp ?? claim(tokens * 2 * hidden),
                inputInverse: shared?.inputInverse ?? claim(tokens),
                middleInverse: shared?.middleInverse ?? claim(tokens),
                statistics: shared?.statistics ?? claim(2 * configuration.headCount * tokens))
        }
        switch keeping {
        case .everything:
            blocks = (0..<configuration.layerCount).map { _ in claimBlock() }
        case .inputs:
            let first = claimBlock()
            blocks = (0..<configuration.layerCount).map { $0 == 0 ? first : claimBlock(sharing: first) }
        case .nothing:
            // A block reads its input while it writes the next block's: two inputs take turns.
            let first = claimBlock()
            let pair = [first, claimBlock(sharing: first)]
            blocks = (0..<configuration.layerCount).map { pair[$0 % 2] }
        }
        let chunk = shape.chunkTokens
        let depthMax = max(width, attentionWidth, configuration.queryWidth, 2 * hidden)
        let operandCount = max(
            chunk * products.stagedStride(depthMax),
            ForwardPass.headRows * products.stagedStride(max(width, configuration.vocabularySize)))
        workers = (0..<threadCount).map { _ in
            WorkerScratch(
                normed: claim(chunk * width), attention: claim(chunk * configuration.queryWidth),
                hidden: claim(chunk * hidden), operand: claim(operandCount),
                heads: claim(kernels.attentionScratchCount(shape.length, configuration.headWidth)),
                tiles: claim(MatrixProducts.transposedScratchCount(rows: Self.gradientRows)))
        }
        (cosines, sines) = (
            claim(shape.length * configuration.headWidth / 2), claim(shape.length * configuration.headWidth / 2)
        )
        output = claim(tokens * width)
        normed = claim(tokens * width)
        outputInverse = claim(tokens)
        let slabs = max(1, (16 << 20) / configuration.vocabularySize / 256)
        slabTokens = min(slabs * 256, (tokens + 255) / 256 * 256)
        logits = claim(slabTokens * configuration.vocabularySize)
        self.configuration = configuration
        self.shape = shape
        self.keeping = keeping
        fillRotations(configuration, length: shape.length, cosines: cosines, sines: sines)
        self.buffers = buffers
    }

    /// Rows of a weight's gradient that one task computes: 16 tiles of six rows.
    static let gradientRows = 96
}
