import Checkpoint
package import JSONText
import LanguageModel
import Numerics

/// `atoll logits`: what a checkpoint computes, for comparison with other implementations.
///
/// In: `{"sequences": [[id, …], …]}`. Out: `{"logits": [[[float, …], …], …]}`, per sequence and position the logits of the
/// next token, with the digits that a float32 needs, and null for infinity and NaN. The file is written as the logits
/// come, so memory does not depend on how many there are.
package enum LocalLogits {
    /// What came of it.
    package struct Report: CommandReport {
        /// Sequences computed.
        package var sequenceCount: Int
        /// The file that was written.
        package var out: String

        package var text: String { "logits of \(sequenceCount) sequences in \(out)" }
        package var json: JSONValue { ["sequences": .integer(Int64(sequenceCount)), "out": .text(out)] }
    }

    /// Computes the logits for the ids in one file and writes them to another; Ctrl-C leaves nothing behind.
    package static func run(model path: String, ids: String, out: String, threads: Int?) throws(UserError) -> Report {
        let threads = try threadCount(threads)
        let sequences = try TokenSequences.read(ids)
        let model = try LoadedModel(path)
        let shape = model.layout.configuration
        // Before anything is computed, so that a mistake at the end costs no time.
        for (index, sequence) in sequences.enumerated() {
            guard sequence.count <= shape.contextLength else {
                throw UserError(
                    "sequence \(index) of \(ids) has \(sequence.count) ids",
                    cure: "The model takes 1 to \(shape.contextLength)", exitCode: .badData)
            }
            try TokenSequences.check(sequence, model)
        }
        Interruption.catchSignals()
        let pool = WorkerPool(threadCount: threads)
        // Sequences of one length in a row share an evaluator.
        var evaluator: Evaluator?
        do {
            var writer = try DurableWriter(path: out)
            try writer.append(Array(#"{"logits":["#.utf8))
            for (index, sequence) in sequences.enumerated() {
                if evaluator?.sequenceLength != sequence.count { evaluator = nil }
                let current =
                    evaluator
                    ?? Evaluator(layout: model.layout, batchSize: 1, sequenceLength: sequence.count, pool: pool)
                evaluator = current
                try writer.append(Array(index > 0 ? ",[".utf8 : "[".utf8))
                try current.forEachLogits(model.parameters, tokens: sequence) { position, logits throws in
                    if Interruption.isRequested { throw UserError.interrupted }
                    try writer.append(line(logits, isFirst: position == 0))
                }
                try writer.append([UInt8(ascii: "]")])
            }
            try writer.append(Array("]}".utf8))
            try writer.commit()
        } catch let error as FileError {
            throw UserError(checkpoint: .file(error))
        } catch { throw UserError(wrapping: error) }
        return Report(sequenceCount: sequences.count, out: out)
    }

    /// One position's logits as a JSON array, behind a comma but for the first.
    private static func line(_ logits: UnsafeBufferPointer<Float>, isFirst: Bool) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(12 * logits.count)
        if !isFirst { bytes.append(UInt8(ascii: ",")) }
        for (index, value) in logits.enumerated() {
            bytes.append(UInt8(ascii: index == 0 ? "[" : ","))
            bytes += value.isFinite ? "\(value)".utf8 : "null".utf8
        }
        bytes.append(UInt8(ascii: "]"))
        return bytes
    }
}
