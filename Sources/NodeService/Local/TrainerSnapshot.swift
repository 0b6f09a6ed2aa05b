import Checkpoint
import Corpus
import Foundation
import LanguageModel
import Numerics

/// The file `trainer.state`: what `atoll train --resume` needs besides the model itself.
struct TrainerSnapshot {
    /// Settings of the run.
    var settings: TrainingSettings
    /// Where the run stands.
    var progress: Progress
    /// Where sampling stands.
    var cursor: CorpusCursor

    /// Counts, and what tells that text or model are not those of the run.
    struct Progress: Codable {
        /// Steps done.
        var steps: Int
        /// Updates that the moments have seen.
        var updateCount: UInt64
        /// Held-out loss before the first step.
        var lossStart: Double
        /// Training tokens by domain.
        var trainingTokens: [String: Int]
        /// BLAKE2b-256 of the parameters.
        var parameterHash: String
    }

    private enum Section {
        static let (settings, progress, cursor) = ("settings", "progress", "cursor")
        static let (first, second) = ("first moment", "second moment")
    }

    /// The file's content, with the moments of `state`.
    func snapshot(with state: TrainingState) throws -> Snapshot {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        var progress = progress
        progress.updateCount = state.updateCount
        progress.parameterHash = parameterHash(state.parameters)
        return Snapshot(sections: [
            .init(name: Section.settings, bytes: Array(try encoder.encode(settings))),
            .init(name: Section.progress, bytes: Array(try encoder.encode(progress))),
            .init(name: Section.cursor, bytes: cursor.encoded),
            .init(name: Section.first, bytes: Self.bytes(state.firstMoment)),
            .init(name: Section.second, bytes: Self.bytes(state.secondMoment)),
        ])
    }

    /// Reads the state beside a model; gives the state to train on.
    static func read(_ folder: String, _ model: LoadedModel) throws(UserError) -> (TrainerSnapshot, TrainingState) {
        let path = "\(folder)/\(ModelFolder.trainingStateName)"
        let snapshot: Snapshot
        do {
            // Two floats per parameter, and a generous rest for settings and cursor.
            snapshot = try Snapshot(readingFrom: path, byteCountMax: 8 * model.layout.count + (64 << 20))
        } catch { throw UserError(checkpoint: error) }
        func refuse(_ reason: String) -> UserError {
            UserError("\(path): \(reason)", cure: "Start anew from the model with --from \(folder)", exitCode: .badData)
        }
        let decoder = JSONDecoder()
        guard let settingsBytes = snapshot[Section.settings], let progressBytes = snapshot[Section.progress],
            let settings = try? decoder.decode(TrainingSettings.self, from: Data(settingsBytes)),
            let progress = try? decoder.decode(Progress.self, from: Data(progressBytes)),
            let cursor = snapshot[Section.cursor].flatMap({ CorpusCursor(decoding: $0) }),
            progress.steps >= 0
        else { throw refuse("it is not the state of a training run") }
        guard let first = floats(snapshot[Section.first], model.layout.count),
            let second = floats(snapshot[Section.second], model.layout.count)
        else { throw refuse("its moments are not those of a model with \(model.layout.count) parameters") }
        guard progress.parameterHash == parameterHash(model.parameters) else {
            throw refuse("it belongs to other parameters than those beside it")
        }
        let state = TrainingState(
            layout: model.layout, parameters: model.parameters, firstMoment: first, secondMoment: second,
            updateCount: progress.updateCount)
        return (TrainerSnapshot(settings: settings, progress: progress, cursor: cursor), state)
    }

    private static func bytes(_ buffer: FloatBuffer) -> [UInt8] {
        buffer.withUnsafeBufferPointer { Array(UnsafeRawBufferPointer($0)) }
    }

    /// Finite floats of a section; nil if they are not or their number is wrong.
    private static func floats(_ bytes: [UInt8]?, _ count: Int) -> FloatBuffer? {
        guard let bytes, bytes.count == 4 * count else { return nil }
        let buffer = FloatBuffer(count: count)
        let isFinite = buffer.withUnsafeMutableBufferPointer { floats in
            UnsafeMutableRawBufferPointer(floats).copyBytes(from: bytes)
            return floats.allSatisfy(\.isFinite)
        }
        return isFinite ? buffer : nil
    }
}
