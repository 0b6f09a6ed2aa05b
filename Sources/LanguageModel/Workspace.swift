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

/// What one block's forward pass leaves for its gradient.
struct BlockActivations {
    /// [tokens, width]: the residual stream before attention and before the feed-forward layer.
    let input, middle: KeptRows
    /// [tokens, query + 2 * key-value width], before rotation.
    let queryKeyValue: KeptRows
    /// [tokens, query width]: attention's output.
    let attention: KeptRows
    /// [tokens, 2 * feed-forward width].
    let gateUp: KeptRows
    /// [sequences, heads, length, 2]: attention's softmax statistics.
    let statistics: MutableFloats
}

/// Scratch memory of one worker.
struct WorkerScratch {
    /// [chunk tokens, width].
    let normed: MutableFloats
    /// [chunk tokens]: a norm's inverse root mean squares.
    let inverse: MutableFloats
    /// [chunk tokens, query width]: the gradient at attention's output.
    let dAttention: MutableFloats
    /// [chunk tokens, feed-forward width].
    let hidden: MutableFloats
    /// A chunk of what `BlockActivations` keeps, where that does not hold it as float32.
    let input, middle, queryKeyValue, attention, gateUp: MutableFloats
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
    let blocks: [BlockActivations]
    let workers: [WorkerScratch]
    /// [length, headWidth / 2].
    let cosines, sines: MutableFloats
    /// [tokens, width]: the residual stream on its way through the blocks, and after the final norm.
    let stream, normed: MutableFloats
    /// [tokens]: the final norm's inverse root mean squares.
    let streamInverse: MutableFloats
    /// [slabTokens, vocabulary].
    let logits: MutableFloats
    /// Tokens whose logits are held at once: a multiple of 256, about 16 million floats at most.
    let slabTokens: Int
    private let buffers: [FloatBuffer]

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
        let (tokens, rounds) = (shape.tokens, products.precision == .bfloat16)
        let (width, hidden) = (configuration.width, configuration.feedForwardWidth)
        let attentionWidth = configuration.queryWidth + 2 * configuration.keyValueWidth
        func keep(_ width: Int, isStored: Bool, asFloat32: Bool) -> KeptRows {
            let storage: KeptRows.Storage =
                if !isStored {
                    .scratch
                } else if asFloat32 {
                    .float32(claim(tokens * width))
                } else {
                    .bfloat16(claim((tokens * width + 1) / 2))
                }
            return KeptRows(storage: storage, width: width, rounds: rounds)
        }
        let keepsAll = keeping == .everything
        func claimStatistics() -> MutableFloats { claim(2 * configuration.headCount * tokens) }
        let sharedStatistics = keepsAll ? nil : claimStatistics()
        blocks = (0..<configuration.layerCount).map { _ in
            BlockActivations(
                // Recomputation starts from the exact stream, to come to the same bits.
                input: keep(width, isStored: keeping != .nothing, asFloat32: !rounds || !keepsAll),
                middle: keep(width, isStored: keepsAll, asFloat32: !rounds),
                queryKeyValue: keep(attentionWidth, isStored: keepsAll, asFloat32: !rounds),
                attention: keep(configuration.queryWidth, isStored: keepsAll, asFloat32: !rounds),
                gateUp: keep(2 * hidden, isStored: keepsAll, asFloat32: !rounds),
                statistics: sharedStatistics ?? claimStatistics())
        }
        let chunk = shape.chunkTokens
        let depthMax = max(width, attentionWidth, configuration.queryWidth, 2 * hidden)
        let operandCount = max(
            chunk * products.stagedStride(depthMax),
            ForwardPass.headRows * products.stagedStride(max(width, configuration.vocabularySize)))
        let passing = keepsAll && !rounds ? 0 : chunk
        workers = (0..<threadCount).map { _ in
            WorkerScratch(
                normed: claim(chunk * width), inverse: claim(chunk),
                dAttention: claim(chunk * configuration.queryWidth),
                hidden: claim(chunk * hidden), input: claim(passing * width), middle: claim(passing * width),
                queryKeyValue: claim(passing * attentionWidth), attention: claim(passing * configuration.queryWidth),
                gateUp: claim(passing * 2 * hidden), operand: claim(operandCount),
                heads: claim(kernels.attentionScratchCount(shape.length, configuration.headWidth)),
                tiles: claim(MatrixProducts.transposedScratchCount(rows: Self.gradientRows)))
        }
        (cosines, sines) = (
            claim(shape.length * configuration.headWidth / 2), claim(shape.length * configuration.headWidth / 2)
        )
        stream = claim(tokens * width)
        normed = claim(tokens * width)
        streamInverse = claim(tokens)
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
