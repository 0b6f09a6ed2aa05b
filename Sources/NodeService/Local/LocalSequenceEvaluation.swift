import Glibc
package import JSONText
import LanguageModel
import Numerics

/// `atoll eval --ids`: the perplexity of a checkpoint on sequences of token ids.
package enum LocalSequenceEvaluation {
    /// What came of it.
    package struct Report: CommandReport {
        /// Mean negative log-likelihood per predicted token, in nats.
        package var loss: Double
        /// Tokens predicted.
        package var tokens: Int
        /// Sequences read.
        package var sequences: Int
        /// exp of the mean loss.
        package var perplexity: Double { exp(loss) }

        package var text: String {
            "loss \(fixed(loss, 4)) nats per token, perplexity \(fixed(perplexity, 2)) "
                + "(\(tokens) tokens predicted in \(sequences) sequences)"
        }

        package var json: JSONValue {
            [
                "perplexity": .number(perplexity), "loss": .number(loss), "tokens": .integer(Int64(tokens)),
                "sequences": .integer(Int64(sequences)),
            ]
        }
    }

    /// Evaluates the sequences of a file, of at least two ids each.
    package static func run(model path: String, ids: String, threads: Int?) throws(UserError) -> Report {
        let threads = try threadCount(threads)
        let sequences = try TokenSequences.read(ids, atLeast: 2)
        let model = try LoadedModel(path)
        for sequence in sequences { try TokenSequences.check(sequence, model) }
        do {
            let evaluation = try SequenceEvaluation(
                layout: model.layout, parameters: model.parameters, sequences: sequences,
                pool: WorkerPool(threadCount: threads))
            return Report(loss: evaluation.meanLoss, tokens: evaluation.tokens, sequences: sequences.count)
        } catch { throw UserError(model: error) }
    }
}
