import Checkpoint
package import JSONText
import LanguageModel
import Numerics

/// `atoll logits`: what a checkpoint computes, for comparison with other implementations.
///
/// In: `{"sequences": [[id, …], …]}`. Out: `{"logits": [[[float, …], …], …]}`, per sequence and position the logits of the
/// next token, with the digits that a float32 needs.
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

    /// Computes the logits for the ids in one file and writes them to another.
    package static func run(model path: String, ids: String, out: String, threads: Int?) throws(UserError) -> Report {
        let threads = try threadCount(threads)
        let sequences = try read(ids)
        let model = try LoadedModel(path)
        let pool = WorkerPool(threadCount: threads)
        let vocabulary = model.layout.configuration.vocabularySize
        var results: [JSONValue] = []
        for (index, sequence) in sequences.enumerated() {
            guard (1...model.layout.configuration.contextLength).contains(sequence.count) else {
                throw UserError(
                    "sequence \(index) of \(ids) has \(sequence.count) ids",
                    cure: "The model takes 1 to \(model.layout.configuration.contextLength)", exitCode: .badData)
            }
            let evaluator = Evaluator(layout: model.layout, batchSize: 1, sequenceLength: sequence.count, pool: pool)
            let logits: [Float]
            do { logits = try evaluator.logits(model.parameters, tokens: sequence) } catch {
                throw UserError(model: error)
            }
            results.append(
                .array(
                    sequence.indices.map { position in
                        .array(
                            logits[(position * vocabulary)..<((position + 1) * vocabulary)].map { .number(float: $0) })
                    }))
        }
        do { try DurableFile.write(JSONValue.object(object(results)).line, to: out) } catch {
            throw UserError(checkpoint: .file(error))
        }
        return Report(sequenceCount: sequences.count, out: out)
    }

    private static func object(_ results: [JSONValue]) -> JSONObject {
        var object = JSONObject()
        object["logits"] = .array(results)
        return object
    }

    private static func read(_ path: String) throws(UserError) -> [[Int32]] {
        let bytes: [UInt8]
        do { bytes = try DurableFile.read(path, byteCountMax: 64 << 20) } catch {
            throw UserError(checkpoint: .file(error))
        }
        let value: JSONValue
        do { value = try JSONValue(parsing: bytes) } catch {
            throw UserError("\(path) is \(error)", cure: "Mend the file", exitCode: .badData)
        }
        var sequences: [[Int32]] = []
        for sequence in value.object?["sequences"]?.array ?? [] {
            let ids = (sequence.array ?? []).compactMap { $0.integer.flatMap { Int32(exactly: $0) } }
            guard let count = sequence.array?.count, count == ids.count else { throw malformed(path) }
            sequences.append(ids)
        }
        guard !sequences.isEmpty else { throw malformed(path) }
        return sequences
    }

    private static func malformed(_ path: String) -> UserError {
        UserError(
            "\(path) holds no list of sequences of token ids", cure: #"Write {"sequences": [[1, 2, 3]]}"#,
            exitCode: .badData)
    }
}
