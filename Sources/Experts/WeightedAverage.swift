package import Checkpoint
import LanguageModel
import Numerics

/// Merges checkpoints by the weighted average of their parameters.
///
/// Every value is sum(w x) / sum(w) in float64, rounded once to float32; where all inputs that have a weight hold the same
/// bits, these are the result. So equal inputs give the input, a one-hot weight gives that expert, and equal arguments
/// give equal files.
package struct WeightedAverage {
    private let inputs: [ModelFolder]
    /// One per input, as given.
    private let weights: [Double]
    /// The weights as shares of their sum, for reports.
    package let shares: [Double]

    /// Opens the inputs and checks that they can be averaged; nothing but the values is left to fail later.
    ///
    /// - Parameter weights: one per checkpoint, with any sum but zero; nil for equal ones.
    package init(of paths: [String], weights: [Double]? = nil) throws(MergeError) {
        guard !paths.isEmpty else { throw .noInputs }
        let weights = weights ?? Array(repeating: 1, count: paths.count)
        guard weights.count == paths.count else { throw .weightCount(given: weights.count, expected: paths.count) }
        guard weights.allSatisfy(\.isFinite) else { throw .weightNotFinite }
        let sum = weights.reduce(0, +)
        // Weights that cancel to rounding noise have no meaningful average either.
        guard sum.isFinite, abs(sum) > 1e-9 * weights.reduce(0, { $0 + abs($1) }) else { throw .weightsSumToZero }
        var inputs: [ModelFolder] = []
        for path in paths {
            do { inputs.append(try ModelFolder(path)) } catch { throw .checkpoint(error) }
        }
        for other in inputs.dropFirst() { try Self.check(inputs[0], other) }
        self.inputs = inputs
        self.weights = weights
        shares = weights.map { $0 / sum }
    }

    /// Writes the merged checkpoint, atomically and durably, with the tokenizer of the inputs and the side files of the
    /// first.
    ///
    /// - Parameters:
    ///   - path: must not exist, or be an empty folder, and must not be an input.
    ///   - storage: element type and shard size; values are rounded to float32 first.
    ///   - isCancelled: asked before each tensor.
    package func write(
        to path: String, storage: TensorStorage = TensorStorage(), layer: any FileLayer = SystemFiles(),
        isCancelled: @escaping () -> Bool = { false }
    ) throws(MergeError) {
        let target = canonicalPath(path)
        for input in inputs where target != nil && canonicalPath(input.path) == target {
            throw .outputIsInput(path)
        }
        let pool = WorkerPool(threadCount: WorkerPool.processorCount)
        let perInput = weights.map { MergeParameters([.weight: $0]) }
        do throws(CheckpointError) {
            try ModelFolder.write(
                to: path, configuration: inputs[0].configuration, tokenizer: inputs[0].tokenizer, storage: storage,
                companions: inputs[0].companions(),
                metadata: [
                    ("merge_method", "linear"),
                    ("merge_weights", shares.map { "\($0)" }.joined(separator: ",")),
                ], layer: layer
            ) {
                (tensor, take: (UnsafeBufferPointer<Float>) throws(CheckpointError) -> Void) throws(CheckpointError) in
                let merge = TensorMerge(
                    .linear, name: tensor.name, shape: tensor.shape,
                    inputs: inputs.map { StoredTensor(tensor, of: $0) }, base: nil, perInput: perInput)
                try merge.write(pool, path: path, isCancelled: isCancelled, take)
            }
        } catch { throw .checkpoint(error) }
    }

    private static func check(_ left: ModelFolder, _ right: ModelFolder) throws(MergeError) {
        let (one, two) = (left.configuration, right.configuration)
        let differences: [(Bool, String)] = [
            (one.vocabularySize != two.vocabularySize, "the vocabulary size"), (one.width != two.width, "the width"),
            (one.layerCount != two.layerCount, "the number of layers"),
            (one.headCount != two.headCount, "the number of heads"),
            (one.keyValueHeadCount != two.keyValueHeadCount, "the number of key-value heads"),
            (one.headWidth != two.headWidth, "the head width"),
            (one.feedForwardWidth != two.feedForwardWidth, "the feed-forward width"),
            (one.ropeTheta != two.ropeTheta, "the rotary base"),
            (one.ropeScaling != two.ropeScaling, "the rotary scaling"),
            (one.tiedEmbeddings != two.tiedEmbeddings, "whether the embeddings are tied"),
            (left.tokenizer != right.tokenizer, "the tokenizer"), (one != two, "the model configuration"),
        ]
        if let first = differences.first(where: \.0) { throw .different(left.path, right.path, what: first.1) }
    }
}
