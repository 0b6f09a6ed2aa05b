import Numerics

/// The forward pass of some sequences with a key-value cache, over weights that are read where they lie.
///
/// A prompt goes through in chunks, as products of whole matrices; a step takes one token of each of several sequences
/// and reads every weight once. Results do not depend on how a prompt is cut into chunks, on the number of threads, or on
/// which sequences share a pass, to the last bit; between a chunk and a step they differ by rounding.
///
/// Belongs to one thread. Memory grows with the texts, not with the context that the model allows.
final class CachedForward {
    /// Consecutive tokens of one sequence in a pass.
    struct Segment {
        /// Whose tokens they are.
        let sequence: Int
        /// Position of the first.
        let position: Int
        /// Row of the first in the pass.
        let row: Int
        /// How many there are.
        let count: Int
    }

    /// Tokens of a pass at most.
    static let chunkLength = 256

    let layout: ParameterLayout
    let kernels: Kernels
    let pool: WorkerPool
    let parameters: FloatBuffer
    private(set) var cache: KeyValueCache
    /// Tokens in the cache, per sequence.
    private(set) var lengths: [Int]
    /// Sees the stream, [rows, width], that enters each block; nil for nobody.
    var observeBlock: ((_ block: Int, _ rows: Int, _ stream: Floats) -> Void)?

    private let rowCount: Int
    private let stream, normed, queryKeyValue, attention, gateUp, hidden, inverses: FloatBuffer
    /// [sequences, width]: the final norm's output for the last token of each sequence.
    private let last: FloatBuffer
    /// [sequences, vocabulary].
    private let logitRows: FloatBuffer
    /// Per worker.
    private let packed: [FloatBuffer]
    private var scores: [FloatBuffer] = []
    private var scoreStride = 0
    private var cosines = FloatBuffer(count: 0)
    private var sines = FloatBuffer(count: 0)
    private var rotationLength = 0

    private var configuration: ModelConfiguration { layout.configuration }
    /// Floats of a row of queries, keys and values.
    private var attentionWidth: Int { configuration.queryWidth + 2 * configuration.keyValueWidth }

    init(layout: ParameterLayout, parameters: FloatBuffer, sequences: Int, pool: WorkerPool, kernels: Kernels) {
        precondition(parameters.count == layout.count, "the buffer must hold one float per parameter")
        precondition(sequences >= 1, "there must be a sequence to generate")
        let shape = layout.configuration
        self.layout = layout
        self.parameters = parameters
        self.pool = pool
        self.kernels = kernels
        cache = KeyValueCache(shape, sequences: sequences)
        lengths = Array(repeating: 0, count: sequences)
        let rows = max(sequences, min(Self.chunkLength, shape.contextLength))
        rowCount = rows
        stream = FloatBuffer(count: rows * shape.width)
        normed = FloatBuffer(count: rows * shape.width)
        queryKeyValue = FloatBuffer(count: rows * (shape.queryWidth + 2 * shape.keyValueWidth))
        attention = FloatBuffer(count: rows * shape.queryWidth)
        gateUp = FloatBuffer(count: rows * 2 * shape.feedForwardWidth)
        hidden = FloatBuffer(count: rows * shape.feedForwardWidth)
        inverses = FloatBuffer(count: rows)
        last = FloatBuffer(count: sequences * shape.width)
        logitRows = FloatBuffer(count: sequences * shape.vocabularySize)
        let deepest = max(shape.width, shape.queryWidth, shape.feedForwardWidth)
        packed = (0..<pool.threadCount).map { _ in FloatBuffer(count: max(Self.packedFloatsMax, 16 * deepest)) }
    }

    /// [vocabulary]: the logits after the last token of a sequence that was read or stepped.
    func logits(_ sequence: Int) -> MutableFloats {
        logitRows.pointer + sequence * configuration.vocabularySize
    }

    /// Forgets a sequence.
    func clear(_ sequence: Int) { lengths[sequence] = 0 }

    /// Reads prompts, each behind what the cache holds of its sequence; afterwards `logits` follow their last tokens.
    ///
    /// Every sequence must be named once at most, every prompt have a token and leave its sequence within the context.
    func read(_ prompts: [(sequence: Int, tokens: ArraySlice<Int32>)]) {
        var segments: [Segment] = []
        var tokens: [Int32] = []
        for (sequence, prompt) in prompts {
            var rest = prompt
            while !rest.isEmpty {
                let part = rest.prefix(rowCount - tokens.count)
                segments.append(
                    Segment(
                        sequence: sequence, position: lengths[sequence], row: tokens.count, count: part.count))
                lengths[sequence] += part.count
                tokens += part
                rest = rest.dropFirst(part.count)
                if tokens.count == rowCount {
                    run(tokens, segments, isStep: false)
                    segments.removeAll(keepingCapacity: true)
                    tokens.removeAll(keepingCapacity: true)
                }
            }
        }
        if !tokens.isEmpty { run(tokens, segments, isStep: false) }
        computeLogits(prompts.map(\.sequence))
    }

    /// Takes one token of each of some sequences, named once each and in order; afterwards `logits` follow them.
    func step(_ next: [(sequence: Int, token: Int32)]) {
        let segments = next.enumerated().map { row, entry in
            Segment(sequence: entry.sequence, position: lengths[entry.sequence], row: row, count: 1)
        }
        for entry in next { lengths[entry.sequence] += 1 }
        run(next.map(\.token), segments, isStep: true)
        computeLogits(next.map(\.sequence))
    }

    private func run(_ tokens: [Int32], _ segments: [Segment], isStep: Bool) {
        prepare(segments)
        let (shape, rows) = (configuration, tokens.count)
        let weights = Floats(parameters.pointer)
        for (row, token) in tokens.enumerated() {
            (stream.pointer + row * shape.width).update(
                from: weights + Int(token) * shape.width, count: shape.width)
        }
        for index in 0..<shape.layerCount {
            let offsets = layout.block(index)
            observeBlock?(index, rows, stream.pointer)
            norm(rows, offsets.inputNorm)
            multiply(
                rows, Matrix(offsets.queryKeyValue, attentionWidth, shape.width), normed, queryKeyValue, isStep: isStep)
            attend(index, segments)
            multiply(
                rows, Matrix(offsets.attentionOutput, shape.width, shape.queryWidth), attention, stream,
                accumulate: true, isStep: isStep)
            norm(rows, offsets.postNorm)
            multiply(
                rows, Matrix(offsets.gateUp, 2 * shape.feedForwardWidth, shape.width), normed, gateUp, isStep: isStep)
            overRows(rows) { first, count in
                kernels.swiGLU(
                    count, shape.feedForwardWidth, gateUp.pointer + first * 2 * shape.feedForwardWidth,
                    hidden.pointer + first * shape.feedForwardWidth)
            }
            multiply(
                rows, Matrix(offsets.down, shape.width, shape.feedForwardWidth), hidden, stream, accumulate: true,
                isStep: isStep)
        }
        for segment in segments {
            let row = segment.row + segment.count - 1
            kernels.rmsNorm(
                1, shape.width, stream.pointer + row * shape.width, weights + layout.finalNorm, shape.rmsNormEpsilon,
                last.pointer + segment.sequence * shape.width, inverses.pointer)
        }
    }

    /// Makes room in cache, rotation tables and scratch memory.
    private func prepare(_ segments: [Segment]) {
        var longest = 0
        for segment in segments {
            cache.grow(segment.sequence, to: segment.position + segment.count)
            longest = max(longest, segment.position + segment.count)
        }
        if longest > rotationLength {
            let (length, half) = (min(configuration.contextLength, max(256, 2 * longest)), configuration.headWidth / 2)
            cosines = FloatBuffer(count: length * half)
            sines = FloatBuffer(count: length * half)
            fillRotations(configuration, length: length, cosines: cosines.pointer, sines: sines.pointer)
            rotationLength = length
        }
        if longest > scoreStride {
            let pages = (longest + cache.pageLength - 1) / cache.pageLength
            // Twice as many as needed, so that growing is rare.
            scoreStride = 2 * pages * cache.pageLength
            scores = (0..<pool.threadCount).map { _ in FloatBuffer(count: Self.queryBlock * scoreStride) }
        }
    }

    private func norm(_ rows: Int, _ offset: Int) {
        let width = configuration.width
        overRows(rows) { first, count in
            kernels.rmsNorm(
                count, width, stream.pointer + first * width, parameters.pointer + offset,
                configuration.rmsNormEpsilon, normed.pointer + first * width, inverses.pointer + first)
        }
    }

    /// Runs `body` for blocks of rows, on all threads where there are several.
    private func overRows(_ rows: Int, _ body: (_ first: Int, _ count: Int) -> Void) {
        pool.run((rows + 15) / 16) { task, _ in body(task * 16, min(16, rows - task * 16)) }
    }
}

// MARK: Products with weights

extension CachedForward {
    /// A matrix in the flat parameters.
    private struct Matrix {
        let offset, outputs, inputs: Int

        init(_ offset: Int, _ outputs: Int, _ inputs: Int) {
            self.offset = offset
            self.outputs = outputs
            self.inputs = inputs
        }
    }

    /// Floats of a matrix that a worker packs at once, where more than 16 outputs fit: a quarter of a second-level cache.
    private static let packedFloatsMax = 1 << 16

    /// y (+)= W x for [rows, inputs] -> [rows, outputs].
    private func multiply(
        _ rows: Int, _ matrix: Matrix, _ x: FloatBuffer, _ y: FloatBuffer, accumulate: Bool = false, isStep: Bool
    ) {
        if isStep {
            multiplyStep(rows, matrix, x, y, accumulate)
        } else {
            multiplyChunk(rows, matrix, x, y, accumulate)
        }
    }

    /// A few rows: the weights are read once, in place.
    private func multiplyStep(
        _ rows: Int, _ matrix: Matrix, _ x: FloatBuffer, _ y: FloatBuffer, _ accumulate: Bool
    ) {
        let slab = stepSlab(matrix)
        pool.run((matrix.outputs + slab - 1) / slab) { task, _ in
            let first = task * slab
            kernels.multiplyVectors(
                min(slab, matrix.outputs - first), matrix.inputs,
                parameters.pointer + matrix.offset + first * matrix.inputs, rows, x.pointer, matrix.inputs,
                y.pointer + first, matrix.outputs, accumulate)
        }
    }

    /// Rows of a matrix per task of a step: a few tasks per thread, but not so small that handing them out counts.
    private func stepSlab(_ matrix: Matrix) -> Int {
        let share = matrix.outputs / (4 * pool.threadCount)
        let least = max(1, 8192 / matrix.inputs)
        return max(4, (max(share, min(least, matrix.outputs / pool.threadCount)) + 3) / 4 * 4)
    }

    /// Many rows: each worker packs some outputs' weights and multiplies all rows by them.
    private func multiplyChunk(
        _ rows: Int, _ matrix: Matrix, _ x: FloatBuffer, _ y: FloatBuffer, _ accumulate: Bool
    ) {
        let share = KeyValueCache.padded(matrix.outputs / (2 * pool.threadCount))
        let slab = max(16, min(share, Self.packedFloatsMax / matrix.inputs / 16 * 16))
        pool.run((matrix.outputs + slab - 1) / slab) { task, worker in
            let first = task * slab
            let outputs = min(slab, matrix.outputs - first)
            kernels.float32.packColumns(
                matrix.inputs, outputs, 0, outputs, parameters.pointer + matrix.offset + first * matrix.inputs,
                matrix.inputs, packed[worker].pointer)
            kernels.float32.multiply(
                rows, outputs, matrix.inputs, x.pointer, matrix.inputs, packed[worker].pointer, y.pointer + first,
                matrix.outputs, accumulate)
        }
    }

    /// The head, for the last tokens of some sequences in order: each run of neighbours shares a pass over the weights.
    private func computeLogits(_ sequences: [Int]) {
        var runs: [(first: Int, count: Int)] = []
        for sequence in sequences.sorted() {
            if let run = runs.last, run.first + run.count == sequence {
                runs[runs.count - 1].count += 1
            } else {
                runs.append((sequence, 1))
            }
        }
        let (vocabulary, width) = (configuration.vocabularySize, configuration.width)
        let matrix = Matrix(layout.head, vocabulary, width)
        let slab = stepSlab(matrix)
        pool.run((vocabulary + slab - 1) / slab) { task, _ in
            let first = task * slab
            for run in runs {
                kernels.multiplyVectors(
                    min(slab, vocabulary - first), width, parameters.pointer + matrix.offset + first * width,
                    run.count, last.pointer + run.first * width, width,
                    logitRows.pointer + run.first * vocabulary + first, vocabulary, false)
            }
        }
    }
}

// MARK: Attention

extension CachedForward {
    /// Queries that are scored together: a multiple of every tile height.
    private static let queryBlock = 24

    /// Adds the keys and values of a pass to the cache and attends with its queries.
    private func attend(_ block: Int, _ segments: [Segment]) {
        let groups = configuration.keyValueHeadCount
        if segments.allSatisfy({ $0.count == 1 }) {
            pool.run(segments.count * groups) { task, worker in
                let (segment, group) = (segments[task / groups], task % groups)
                extendCache(block, segment, group)
                attendOne(block, segment, group, worker)
            }
            return
        }
        pool.run(segments.count * groups) { task, _ in extendCache(block, segments[task / groups], task % groups) }
        let heads = configuration.headCount
        // Blocks of queries, the last segment's first: later ones see more and take longer.
        let blocks = segments.reversed().flatMap { segment in
            stride(from: 0, to: segment.count, by: Self.queryBlock).reversed().map { (segment, $0) }
        }
        pool.run(blocks.count * heads) { task, worker in
            let (segment, first) = blocks[task / heads]
            attendMany(block, segment, first, head: task % heads, worker)
        }
    }

    /// Rotates a group's queries and keys in place and stores keys and values.
    private func extendCache(_ block: Int, _ segment: Segment, _ group: Int) {
        let (shape, width, stride) = (configuration, configuration.headWidth, attentionWidth)
        let rows = queryKeyValue.pointer + segment.row * stride
        let table = segment.position * width / 2
        let (cosine, sine) = (cosines.pointer + table, sines.pointer + table)
        let factor = 1 / Float(width).squareRoot()
        let perGroup = shape.headCount / shape.keyValueHeadCount
        // In place is safe: each pair is read before it is written.
        for head in group * perGroup..<(group + 1) * perGroup {
            let queries = rows + head * width
            kernels.rotate(segment.count, width, queries, stride, cosine, sine, 1, factor, queries, stride)
        }
        let keys = rows + shape.queryWidth + group * width
        kernels.rotate(segment.count, width, keys, stride, cosine, sine, 1, 1, keys, stride)
        for token in 0..<segment.count {
            let key = keys + token * stride
            cache.store(
                key, key + shape.keyValueWidth, segment.sequence, position: segment.position + token, block: block,
                head: group)
        }
    }

    /// All queries of a group for one token: they see the same keys.
    private func attendOne(_ block: Int, _ segment: Segment, _ group: Int, _ worker: Int) {
        let width = configuration.headWidth
        let perGroup = configuration.headCount / configuration.keyValueHeadCount
        for first in stride(from: 0, to: perGroup, by: Self.queryBlock) {
            let column = (group * perGroup + first) * width
            attendRows(
                min(Self.queryBlock, perGroup - first), queryKeyValue.pointer + segment.row * attentionWidth + column,
                width, attention.pointer + segment.row * configuration.queryWidth + column, width,
                visible: segment.position + 1, perRow: 0, segment.sequence, block, group, scores[worker].pointer)
        }
    }

    /// One head's queries for some tokens from `first` on: each sees one key more than the one before.
    private func attendMany(_ block: Int, _ segment: Segment, _ first: Int, head: Int, _ worker: Int) {
        let (row, column) = (segment.row + first, head * configuration.headWidth)
        attendRows(
            min(Self.queryBlock, segment.count - first), queryKeyValue.pointer + row * attentionWidth + column,
            attentionWidth, attention.pointer + row * configuration.queryWidth + column, configuration.queryWidth,
            visible: segment.position + first + 1, perRow: 1, segment.sequence, block,
            head / (configuration.headCount / configuration.keyValueHeadCount), scores[worker].pointer)
    }

    /// Attention of some queries over one head's cache: query i sees the first `visible + i * perRow` positions.
    private func attendRows(
        _ rows: Int, _ queries: Floats, _ queryStride: Int, _ out: MutableFloats, _ outStride: Int, visible: Int,
        perRow: Int, _ sequence: Int, _ block: Int, _ group: Int, _ scores: MutableFloats
    ) {
        let (width, pageLength) = (configuration.headWidth, cache.pageLength)
        let reach = visible + (rows - 1) * perRow
        let pages = (reach + pageLength - 1) / pageLength
        for page in 0..<pages {
            let keys = cache.keys(sequence, page: page, block: block, head: group)
            let columns = KeyValueCache.padded(min(pageLength, reach - page * pageLength))
            for depth in stride(from: 0, to: width, by: MatrixProducts.packedBlockRows) {
                kernels.float32.multiply(
                    rows, columns, min(MatrixProducts.packedBlockRows, width - depth), queries + depth, queryStride,
                    keys + depth * pageLength, scores + page * pageLength, scoreStride, depth > 0)
            }
        }
        for row in 0..<rows {
            let (values, seen) = (scores + row * scoreStride, visible + row * perRow)
            let sum = kernels.exponentials(seen, values).sum
            kernels.scale(seen, 1 / sum, values)
            (values + seen).update(repeating: 0, count: reach - seen)
        }
        for page in 0..<pages {
            let values = cache.keys(sequence, page: page, block: block, head: group) + cache.valueOffset
            let depth = min(pageLength, reach - page * pageLength)
            for column in stride(from: 0, to: width, by: 16) {
                kernels.float32.multiply(
                    rows, min(16, width - column), depth, scores + page * pageLength, scoreStride,
                    values + column * pageLength, out + column, outStride, page > 0)
            }
        }
    }
}
