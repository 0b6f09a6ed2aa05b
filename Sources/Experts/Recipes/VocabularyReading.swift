import Checkpoint
import JSONText
import LanguageModel
import Numerics

extension VocabularyPlan {
    /// Reads the embedding, or head, of a model in the result's order of tokens.
    ///
    /// - Parameters:
    ///   - model: the position among the recipe's models.
    ///   - tensors: of each model the tensor that is read: the embedding, or the head, which is the embedding where tied.
    ///   - target: [size, width].
    func read(
        _ rows: [Row], of model: Int, from models: RecipeModels, tensors: [ParameterLayout.Tensor],
        into target: UnsafeMutableBufferPointer<Float>
    ) throws(CheckpointError) {
        let width = target.count / max(1, rows.count)
        let scratch = FloatBuffer(count: width)
        let buffer = UnsafeMutableBufferPointer(start: scratch.pointer, count: width)
        var index = 0
        while index < rows.count {
            // Neighbours that stay neighbours are read at once.
            let run = Self.ownRun(rows[index...])
            if run.count > 1 {
                let place = target[(index * width)..<((index + run.count) * width)]
                try models.all[model].folder.read(
                    tensors[model], rows: run, into: UnsafeMutableBufferPointer(rebasing: place))
                index += run.count
                continue
            }
            let row = rows[index]
            let place = UnsafeMutableBufferPointer(rebasing: target[(index * width)..<((index + 1) * width)])
            switch row {
            case .own(let row):
                try models.all[model].folder.read(tensors[model], rows: row..<(row + 1), into: place)
            case .others(let others):
                var sums = [Double](repeating: 0, count: width)
                for other in others {
                    try models.all[other.model].folder.read(
                        tensors[other.model], rows: other.row..<(other.row + 1), into: buffer)
                    for column in 0..<width { sums[column] += Double(buffer[column]) }
                }
                for column in 0..<width { place[column] = Float(sums[column] / Double(others.count)) }
            case .zero: place.update(repeating: 0)
            case .mean: break
            }
            index += 1
        }
        fillMeans(rows, width, target)
    }

    /// The rows of the model itself that stand at the start, as far as they follow each other there.
    private static func ownRun(_ rows: ArraySlice<Row>) -> Range<Int> {
        guard let first = rows.first, case .own(let start) = first else { return 0..<0 }
        var end = start
        for row in rows {
            guard row == .own(end) else { break }
            end += 1
        }
        return start..<end
    }

    /// Padding is the mean of all other rows.
    private func fillMeans(_ rows: [Row], _ width: Int, _ target: UnsafeMutableBufferPointer<Float>) {
        guard rows.contains(.mean) else { return }
        var sums = [Double](repeating: 0, count: width)
        let count = rows.count { $0 != .mean }
        for (index, row) in rows.enumerated() where row != .mean {
            for column in 0..<width { sums[column] += Double(target[index * width + column]) }
        }
        for (index, row) in rows.enumerated() where row == .mean {
            for column in 0..<width { target[index * width + column] = Float(sums[column] / Double(max(1, count))) }
        }
    }
}
