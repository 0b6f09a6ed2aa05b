import Checkpoint

/// The embedding, or head, of a model in the result's order of tokens.
struct VocabularyTensor: TensorReading {
    private let rows: [VocabularyPlan.Row]
    private let model: Int
    /// Of each of the recipe's models.
    private let tensors: [StoredTensor]
    private let width: Int
    /// The mean of all rows but the padding; empty where there is no padding.
    private var mean: [Float] = []

    var shape: [Int] { [rows.count, width] }

    /// - Parameters:
    ///   - model: the position among the recipe's models.
    ///   - tensors: of each model the tensor that is read: the embedding, or the head, which is the embedding where tied.
    init(
        _ rows: [VocabularyPlan.Row], of model: Int, tensors: [StoredTensor], width: Int
    ) throws(CheckpointError) {
        self.rows = rows
        self.model = model
        self.tensors = tensors
        self.width = width
        let count = rows.prefix { $0 != .mean }.count
        guard count < rows.count else { return }
        var sums = [Double](repeating: 0, count: width)
        var values = [Float](repeating: 0, count: width)
        for row in 0..<count {
            var failure: CheckpointError?
            values.withUnsafeMutableBufferPointer { target in
                do throws(CheckpointError) { try read(row * width..<(row + 1) * width, into: target) } catch {
                    failure = error
                }
            }
            if let failure { throw failure }
            for column in 0..<width { sums[column] += Double(values[column]) }
        }
        mean = sums.map { Float($0 / Double(max(1, count))) }
    }

    func read(
        _ elements: Range<Int>, into target: UnsafeMutableBufferPointer<Float>
    ) throws(CheckpointError) {
        var position = elements.lowerBound
        while position < elements.upperBound {
            let row = position / width
            // Neighbours that stay neighbours are read at once.
            let end = min(elements.upperBound, (row + runLength(from: row, until: elements.upperBound)) * width)
            let place = UnsafeMutableBufferPointer(
                rebasing: target[(position - elements.lowerBound)..<(end - elements.lowerBound)])
            try read(row, position - row * width, into: place)
            position = end
        }
    }

    /// Rows from here on that follow each other in the model itself; 1 for a row that comes from elsewhere.
    private func runLength(from row: Int, until element: Int) -> Int {
        guard case .own(let start) = rows[row] else { return 1 }
        var length = 1
        while (row + length) * width < element, rows[row + length] == .own(start + length) { length += 1 }
        return length
    }

    /// Reads from a column of a row on; more than a row only where rows are the model's own.
    private func read(
        _ row: Int, _ column: Int, into target: UnsafeMutableBufferPointer<Float>
    ) throws(CheckpointError) {
        func elements(_ source: Int) -> Range<Int> {
            let start = source * width + column
            return start..<(start + target.count)
        }
        switch rows[row] {
        case .own(let source): try tensors[model].read(elements(source), into: target)
        case .others(let others):
            var sums = [Double](repeating: 0, count: target.count)
            for other in others {
                try tensors[other.model].read(elements(other.row), into: target)
                for index in sums.indices { sums[index] += Double(target[index]) }
            }
            for index in sums.indices { target[index] = Float(sums[index] / Double(others.count)) }
        case .zero: target.update(repeating: 0)
        case .mean: for index in 0..<target.count { target[index] = mean[column + index] }
        }
    }
}
