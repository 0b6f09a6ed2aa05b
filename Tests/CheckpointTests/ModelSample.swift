import Checkpoint
import JSONText
import LanguageModel
import Numerics
import Tokenizing

/// A small model with grouped queries, and what tests do with its checkpoint.
enum ModelSample {
    static let model = ModelConfiguration(
        vocabularySize: 256, width: 8, layerCount: 2, headCount: 2, keyValueHeadCount: 1, headWidth: 6,
        feedForwardWidth: 12, contextLength: 16, ropeTheta: 5000, rmsNormEpsilon: 1e-5)

    static func parameters(_ model: ModelConfiguration = model) -> FloatBuffer {
        let parameters = FloatBuffer(count: model.parameterCount)
        var random = SeededRandom(seed: 4)
        for index in 0..<parameters.count { parameters[index] = random.nextNormal() }
        return parameters
    }

    static func write(
        _ model: ModelConfiguration = model, to path: String, storage: TensorStorage = TensorStorage()
    ) throws(CheckpointError) {
        try ModelFolder.write(
            to: path, configuration: model, tokenizer: .bytes, parameters: parameters(model), storage: storage,
            metadata: [("steps", "12")])
    }

    /// The bit patterns of a checkpoint's parameters.
    static func bits(_ path: String) throws(CheckpointError) -> [UInt32] {
        try ModelFolder(path).readParameters().array.map(\.bitPattern)
    }

    /// Why a checkpoint is refused; nil if it is not.
    static func refusal(_ path: String) -> CheckpointError? {
        do {
            _ = try ModelFolder(path).readParameters()
            return nil
        } catch { return error }
    }

    static func bytes(_ path: String) throws(FileError) -> [UInt8] {
        try DurableFile.read(path, byteCountMax: 1 << 24)
    }
}
