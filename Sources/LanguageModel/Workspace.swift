import Glibc
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
        chunkSequences = max(1, min(sequences, 256 / length))
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
    /// Attention's own.
    let heads: MutableFloats
    /// For gradients of weights: packed tiles.
    let tiles: MutableFloats
}

/// Memory of forward and backward passes for one batch shape; claimed once, so that a step allocates nothing.
final class Workspace {
    let configuration: ModelConfiguration
    let shape: BatchShape
    /// Per block; for evaluation all blocks share two.
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
        configuration: ModelConfiguration, shape: BatchShape, threadCount: Int, keepsActivations: Bool, kernels: Kernels
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
        func claimBlock() -> BlockActivations {
            BlockActivations(
                input: claim(tokens * width), middle: claim(tokens * width),
                queryKeyValue: claim(tokens * attentionWidth), attention: claim(tokens * configuration.queryWidth),
                gateUp: claim(tokens * 2 * hidden), inputInverse: claim(tokens), middleInverse: claim(tokens),
                statistics: claim(2 * configuration.headCount * tokens))
        }
        if keepsActivations {
            blocks = (0..<configuration.layerCount).map { _ in claimBlock() }
        } else {
            // A block reads its input while it writes the next block's: two sets take turns.
            let pair = [claimBlock(), claimBlock()]
            blocks = (0..<configuration.layerCount).map { pair[$0 % 2] }
        }
        let chunk = shape.chunkTokens
        workers = (0..<threadCount).map { _ in
            WorkerScratch(
                normed: claim(chunk * width), attention: claim(chunk * configuration.queryWidth),
                hidden: claim(chunk * hidden),
                heads: claim(kernels.attentionScratchCount(shape.length, configuration.headWidth)),
                tiles: claim(Kernels.transposedScratchCount(rows: Self.gradientRows)))
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
        fillRotations(configuration, length: shape.length, cosines: cosines, sines: sines)
        self.buffers = buffers
    }

    /// Rows of a weight's gradient that one task computes: 16 tiles of six rows.
    static let gradientRows = 96
}

/// Fills the rotation tables: the angle of pair j at position p is p * theta^(-2j / headWidth).
func fillRotations(_ configuration: ModelConfiguration, length: Int, cosines: MutableFloats, sines: MutableFloats) {
    let half = configuration.headWidth / 2
    for pair in 0..<half {
        let frequency = pow(configuration.ropeTheta, -2 * Double(pair) / Double(configuration.headWidth))
        for position in 0..<length {
            cosines[position * half + pair] = Float(cos(Double(position) * frequency))
            sines[position * half + pair] = Float(sin(Double(position) * frequency))
        }
    }
}
