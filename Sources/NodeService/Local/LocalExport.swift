import Checkpoint
import Glibc
package import JSONText
import LanguageModel

/// `atoll export`: a checkpoint in another form.
package struct LocalExport: Sendable {
    /// What came of it.
    package struct Report: CommandReport {
        /// The file or folder that was written.
        package var out: String
        /// The element type of its matrices.
        package var type: String
        /// Tensors of the model.
        package var tensorCount: Int
        /// Parameters of the model.
        package var parameterCount: Int

        package var text: String { "\(parameterCount) parameters as \(type) in \(out)" }

        package var json: JSONValue {
            [
                "out": .text(out), "dtype": .text(type), "tensors": .integer(Int64(tensorCount)),
                "parameters": .integer(Int64(parameterCount)),
            ]
        }
    }

    private let path: String
    private let dtype: String
    private let report: @Sendable (String) -> Void

    /// - Parameters:
    ///   - path: the checkpoint folder.
    ///   - dtype: name of the element type.
    ///   - progress: takes a line for people about once a second.
    package init(_ path: String, dtype: String, progress: @escaping @Sendable (String) -> Void) {
        self.path = path
        self.dtype = dtype
        report = progress
    }

    /// Writes a GGUF file for llama.cpp; Ctrl-C leaves nothing behind.
    ///
    /// - Parameter out: nil for the folder's name with `.gguf`.
    package func gguf(out: String?) throws(UserError) -> Report {
        let type = try tensorStorage(dtype: dtype).type
        let out = if let out { out } else { try Self.ggufName(of: path) }
        guard access(out, F_OK) != 0 else { throw .system("create \(out)", errno: EEXIST) }
        Interruption.catchSignals()
        do throws(CheckpointError) {
            let folder = try ModelFolder(path)
            let meter = TensorMeter(count: folder.layout.tensors.count, report: report)
            try GGUFExport.write(folder, to: out, type: type) {
                meter.step()
                return Interruption.isRequested
            }
            return Self.report(folder, type, out)
        } catch { throw UserError(checkpoint: error) }
    }

    /// Writes a Hugging Face folder with another element type or other files; Ctrl-C leaves nothing behind.
    ///
    /// - Parameter shardSize: most bytes per tensor file; nil for the default.
    package func safetensors(out: String, shardSize: String?) throws(UserError) -> Report {
        let storage = try tensorStorage(dtype: dtype, shardSize: shardSize)
        Interruption.catchSignals()
        do throws(CheckpointError) {
            let folder = try ModelFolder(path)
            let meter = TensorMeter(count: folder.layout.tensors.count, report: report)
            try ModelFolder.write(
                to: out, configuration: folder.configuration, tokenizer: folder.tokenizer, storage: storage,
                companions: folder.companions(), metadata: folder.metadata.filter { $0.key != "format" }
            ) { (tensor, target) throws(CheckpointError) in
                if Interruption.isRequested { throw .cancelled(path: out) }
                meter.step()
                try folder.read(tensor, into: target)
            }
            return Self.report(folder, storage.type, out)
        } catch { throw UserError(checkpoint: error) }
    }

    private static func report(_ folder: ModelFolder, _ type: FloatType, _ out: String) -> Report {
        Report(
            out: out, type: type.rawValue, tensorCount: folder.layout.tensors.count,
            parameterCount: folder.layout.count)
    }

    private static func ggufName(of path: String) throws(UserError) -> String {
        let trimmed = String(path.reversed().drop { $0 == "/" }.reversed())
        guard let name = trimmed.split(separator: "/").last, name != ".", name != ".." else {
            throw UserError("\(path) gives the output no name", cure: "Name it with --out", exitCode: .usage)
        }
        return trimmed + ".gguf"
    }
}

/// Says about once a second how many tensors are done; belongs to one thread.
private final class TensorMeter {
    private let count: Int
    private let report: (String) -> Void
    private var started = 0
    private var last = ContinuousClock.now

    init(count: Int, report: @escaping (String) -> Void) {
        self.count = count
        self.report = report
    }

    /// A tensor begins.
    func step() {
        if ContinuousClock.now - last >= .seconds(1) {
            last = .now
            report("\(started) of \(count) tensors")
        }
        started += 1
    }
}
