import Checkpoint
import LanguageModel
import Numerics
import Tokenizing

/// A checkpoint in memory.
struct LoadedModel {
    let layout: ParameterLayout
    let parameters: FloatBuffer
    let tokenizer: Tokenizer
    /// Side files and configuration keys, for a checkpoint that is made of this one.
    let companions: Companions

    /// Reads a checkpoint folder.
    init(_ path: String) throws(UserError) {
        do {
            let folder = try ModelFolder(path)
            layout = folder.layout
            tokenizer = folder.tokenizer
            companions = try folder.companions()
            parameters = try folder.readParameters()
        } catch { throw UserError(checkpoint: error) }
    }
}

/// How `--dtype` and `--shard-size` want tensors stored.
func tensorStorage(dtype: String, shardSize: String? = nil) throws(UserError) -> TensorStorage {
    guard let type = FloatType(rawValue: dtype) else {
        let names = FloatType.allCases.map(\.rawValue).joined(separator: ", ")
        throw UserError("--dtype \(dtype) is no element type", cure: "Choose one of \(names)", exitCode: .usage)
    }
    guard let shardSize else { return TensorStorage(type: type) }
    let units = [("KB", 1000), ("MB", 1_000_000), ("GB", 1_000_000_000)]
    let unit = units.first { shardSize.hasSuffix($0.0) }
    guard let count = Int(shardSize.dropLast(unit == nil ? 0 : 2)), count > 0, count <= 1 << 40 else {
        throw UserError("--shard-size \(shardSize) is no size", cure: "Write for example 500MB", exitCode: .usage)
    }
    return TensorStorage(type: type, shardByteCountMax: count * (unit?.1 ?? 1))
}

/// A count that came from a flag.
func checkFlag(_ name: String, _ value: Int, in range: ClosedRange<Int>) throws(UserError) {
    guard range.contains(value) else {
        throw UserError(
            "\(name) \(value) is out of range", cure: "Give \(range.lowerBound) to \(range.upperBound)",
            exitCode: .usage)
    }
}

/// The number of training threads that `--threads` asks for; 0 or nothing takes one per core.
func threadCount(_ flag: Int?) throws(UserError) -> Int {
    let threads = flag ?? 0
    try checkFlag("--threads", threads, in: 0...1024)
    return threads == 0 ? WorkerPool.processorCount : threads
}

/// A number with a fixed count of decimals, for tables.
func fixed(_ value: Double, _ decimals: Int) -> String {
    guard value.isFinite, abs(value) < 1e15 else { return "\(value)" }
    var scale = 1.0
    for _ in 0..<decimals { scale *= 10 }
    let scaled = Int64((abs(value) * scale).rounded())
    let digits = "\(scaled)"
    let padded = String(repeating: "0", count: max(0, decimals + 1 - digits.count)) + digits
    let sign = value < 0 && scaled != 0 ? "-" : ""
    guard decimals > 0 else { return sign + padded }
    return "\(sign)\(padded.dropLast(decimals)).\(padded.suffix(decimals))"
}
