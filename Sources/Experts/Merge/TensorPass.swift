import Checkpoint
import Numerics

/// Goes over the inputs of a merge piece by piece, on all threads of a pool.
///
/// What a pass gives does not depend on the number of threads: pieces are cut by the tensor alone, and their partial
/// results are put together in ascending order.
struct TensorPass {
    /// Values of a piece: with some inputs and scratch it stays in a core's cache.
    static let pieceLength = 1 << 14
    /// Pieces of one wave for each thread; a wave's values are written while the next one is computed.
    private static let piecesPerThread = 8

    private let inputs: [any TensorReading]
    /// Values of the tensor.
    let count: Int
    /// Values of a row: the last axis.
    let rowLength: Int
    private let pool: WorkerPool
    private let isCancelled: () -> Bool

    init(_ merge: TensorMerge, _ pool: WorkerPool, isCancelled: @escaping () -> Bool) {
        inputs = merge.inputs
        count = merge.shape.reduce(1, *)
        rowLength = max(1, merge.shape.last ?? 1)
        self.pool = pool
        self.isCancelled = isCancelled
    }

    /// One piece of the tensor with the values of the inputs that the pass reads.
    struct Piece {
        /// Its position among the pieces.
        let index: Int
        /// Its values' places in the tensor.
        let range: Range<Int>
        private let values: UnsafeMutablePointer<Float>
        private let stride: Int
        /// Room for as many float64 as a piece has values, several times; what it holds is undefined.
        private let scratch: UnsafeMutablePointer<Double>

        fileprivate init(
            index: Int, range: Range<Int>, values: UnsafeMutablePointer<Float>, stride: Int,
            scratch: UnsafeMutablePointer<Double>
        ) {
            self.index = index
            self.range = range
            self.values = values
            self.stride = stride
            self.scratch = scratch
        }

        /// The number of values.
        var count: Int { range.count }
        /// The values of an input; they may be overwritten.
        subscript(_ input: Int) -> UnsafeMutablePointer<Float> { values + input * stride }
        /// One of the `scratchCount` blocks of scratch, with room for the piece's values.
        func scratch(_ block: Int) -> UnsafeMutablePointer<Double> { scratch + block * stride }
    }

    /// Blocks of scratch that a piece has.
    static let scratchCount = 3

    // MARK: Passes

    /// Computes one partial result per piece and puts them together in ascending order.
    ///
    /// - Parameters:
    ///   - reading: the inputs whose values are needed.
    ///   - byRows: whether pieces hold whole rows.
    func reduce<Partial, Result>(
        reading: [Int], byRows: Bool = false, into result: Result, _ body: (Piece) -> Partial,
        fold: (inout Result, Partial) -> Void
    ) throws(MergeError) -> Result {
        let pieces = pieces(byRows: byRows)
        var result = result
        let memory = Memory(pieces, inputs: inputs.count, threads: pool.threadCount)
        for wave in waves(pieces.count) {
            if isCancelled() { throw .cancelled }
            var partials = [Partial?](repeating: nil, count: wave.count)
            let failure = Failure()
            partials.withUnsafeMutableBufferPointer { partials in
                pool.run(wave.count) { task, worker in
                    let index = wave.lowerBound + task
                    guard let piece = read(reading, pieces[index], index, memory, worker, failure) else { return }
                    partials[task] = body(piece)
                }
            }
            try failure.check()
            for partial in partials { if let partial { fold(&result, partial) } }
        }
        return result
    }

    /// Computes every value and hands them over in ascending order.
    ///
    /// - Parameter body: writes the piece's values into the target.
    func map(
        reading: [Int], byRows: Bool = false,
        _ output: (UnsafeBufferPointer<Float>) throws(MergeError) -> Void,
        _ body: (Piece, UnsafeMutablePointer<Float>) -> Void
    ) throws(MergeError) {
        let pieces = pieces(byRows: byRows)
        let memory = Memory(pieces, inputs: inputs.count, threads: pool.threadCount)
        let waves = waves(pieces.count)
        let waveLength = waves.reduce(0) { largest, wave in
            max(largest, wave.isEmpty ? 0 : pieces[wave.upperBound - 1].upperBound - pieces[wave.lowerBound].lowerBound)
        }
        // One is filled while the other is written.
        let targets = (FloatBuffer(count: waveLength), FloatBuffer(count: waveLength))
        var waiting: UnsafeBufferPointer<Float>?
        for (number, wave) in waves.enumerated() {
            if isCancelled() { throw .cancelled }
            let target = number % 2 == 0 ? targets.0 : targets.1
            let start = pieces[wave.lowerBound].lowerBound
            let failure = Failure()
            // The first task is the write, so that somebody is at it from the start.
            pool.run(wave.count + 1) { task, worker in
                guard task > 0 else {
                    if let waiting { failure.note(0) { () throws(MergeError) in try output(waiting) } }
                    return
                }
                let index = wave.lowerBound + task - 1
                guard let piece = read(reading, pieces[index], index, memory, worker, failure) else { return }
                body(piece, target.pointer + piece.range.lowerBound - start)
            }
            try failure.check()
            waiting = UnsafeBufferPointer(
                start: target.pointer, count: pieces[wave.upperBound - 1].upperBound - start)
        }
        if let waiting { try output(waiting) }
        // The last values are in there until the last line.
        withExtendedLifetime(targets) {}
    }

    /// Adds up counters; every thread has its own, because sums of integers do not depend on the order.
    func counters(
        _ counterCount: Int, reading: [Int], byRows: Bool, _ body: (Piece, UnsafeMutablePointer<Int>) -> Void
    ) throws(MergeError) -> [Int] {
        let pieces = pieces(byRows: byRows)
        let memory = Memory(pieces, inputs: inputs.count, threads: pool.threadCount)
        var counters = [Int](repeating: 0, count: pool.threadCount * counterCount)
        for wave in waves(pieces.count) {
            if isCancelled() { throw .cancelled }
            let failure = Failure()
            counters.withUnsafeMutableBufferPointer { counters in
                guard let counters = counters.baseAddress else { return }
                pool.run(wave.count) { task, worker in
                    let index = wave.lowerBound + task
                    guard let piece = read(reading, pieces[index], index, memory, worker, failure) else { return }
                    body(piece, counters + worker * counterCount)
                }
            }
            try failure.check()
        }
        for worker in 1..<max(1, pool.threadCount) {
            for index in 0..<counterCount { counters[index] += counters[worker * counterCount + index] }
        }
        return Array(counters[..<counterCount])
    }

    // MARK: Parts

    private func pieces(byRows: Bool) -> [Range<Int>] {
        let rows = max(1, Self.pieceLength / rowLength)
        let length = byRows ? rows * rowLength : Self.pieceLength
        return stride(from: 0, to: count, by: length).map { $0..<min(count, $0 + length) }
    }

    private func waves(_ pieceCount: Int) -> [Range<Int>] {
        let length = pool.threadCount * Self.piecesPerThread
        return stride(from: 0, to: pieceCount, by: length).map { $0..<min(pieceCount, $0 + length) }
    }

    private func read(
        _ reading: [Int], _ range: Range<Int>, _ index: Int, _ memory: Memory, _ worker: Int, _ failure: Failure
    ) -> Piece? {
        guard !failure.isSet else { return nil }
        let piece = memory.piece(index, range, worker)
        for input in reading {
            failure.note(index) { () throws(MergeError) in
                do throws(CheckpointError) {
                    try inputs[input].read(
                        range, into: UnsafeMutableBufferPointer(start: piece[input], count: range.count))
                } catch { throw .checkpoint(error) }
            }
        }
        return failure.isSet ? nil : piece
    }

    /// Room for one piece per thread.
    private struct Memory {
        private let values: FloatBuffer
        private let scratch: FloatBuffer
        private let stride: Int
        private let inputs: Int

        init(_ pieces: [Range<Int>], inputs: Int, threads: Int) {
            stride = ((pieces.first?.count ?? 0) + 15) / 16 * 16
            self.inputs = inputs
            values = FloatBuffer(count: threads * inputs * stride)
            // Two float32 are as large and no less aligned than one float64.
            scratch = FloatBuffer(count: 2 * threads * TensorPass.scratchCount * stride)
        }

        func piece(_ index: Int, _ range: Range<Int>, _ worker: Int) -> Piece {
            Piece(
                index: index, range: range, values: values.pointer + worker * inputs * stride, stride: stride,
                scratch: UnsafeMutableRawPointer(
                    scratch.pointer + 2 * worker * TensorPass.scratchCount * stride
                ).bindMemory(to: Double.self, capacity: TensorPass.scratchCount * stride))
        }
    }

    /// The failure of a wave: the one of its earliest piece.
    private final class Failure {
        private let first = Lock<(piece: Int, error: MergeError)?>(nil)

        var isSet: Bool { first.withLock { $0 != nil } }

        func note(_ piece: Int, _ body: () throws(MergeError) -> Void) {
            do { try body() } catch {
                first.withLock { first in
                    if first.map({ piece < $0.piece }) ?? true { first = (piece, error) }
                }
            }
        }

        func check() throws(MergeError) {
            if let first = first.withLock({ $0 }) { throw first.error }
        }
    }
}
