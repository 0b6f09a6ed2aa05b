import Corpus
import Glibc
package import JSONText
import LanguageModel
import Numerics

/// `atoll eval`: the loss of a checkpoint on some text.
///
/// Text is cut into windows of the model's context (or less where it is shorter) that do not overlap in what they predict;
/// the first token of a window is not scored. There are no special tokens.
package struct LocalEvaluation: Sendable {
    /// What the command line asks for.
    package struct Request: Sendable {
        /// The checkpoint folder.
        package var model: String
        /// Values of `--data`.
        package var data: [String]
        /// Only what training would hold out.
        package var heldOutOnly: Bool
        /// Most windows per domain.
        package var windows: Int
        /// Threads; nil or 0 takes one per core.
        package var threads: Int?

        /// Wraps the fields.
        package init(model: String, data: [String], heldOutOnly: Bool = false, windows: Int = 1024, threads: Int? = nil)
        {
            self.model = model
            self.data = data
            self.heldOutOnly = heldOutOnly
            self.windows = windows
            self.threads = threads
        }
    }

    /// The loss on one domain or on all.
    package struct Score: Sendable {
        /// The domain's name, or `all`.
        package var name: String
        /// Summed loss in nats.
        package var loss: Double
        /// Tokens scored.
        package var tokens: Int
        /// Bytes that they stand for.
        package var bytes: Int

        /// Mean negative log-likelihood per token, in nats.
        package var meanLoss: Double { loss / Double(tokens) }
        /// exp of the mean loss.
        package var perplexity: Double { exp(meanLoss) }
        /// Bits per byte of text: comparable between tokenizers.
        package var bitsPerByte: Double { loss / log(2) / Double(max(1, bytes)) }

        var json: JSONValue {
            [
                "name": .text(name), "loss": .number(meanLoss), "perplexity": .number(perplexity),
                "bits_per_byte": .number(bitsPerByte), "tokens": .integer(Int64(tokens)),
                "bytes": .integer(Int64(bytes)),
            ]
        }
    }

    /// What came of it.
    package struct Report: CommandReport {
        /// Over all domains.
        package var all: Score
        /// Per domain.
        package var domains: [Score]
        /// Tokens that a window predicts.
        package var contextLength: Int

        package var text: String {
            var lines = (domains.count > 1 ? domains + [all] : [all]).map { score in
                "\(score.name): loss \(fixed(score.meanLoss, 4)) nats per token, perplexity \(fixed(score.perplexity, 2)), "
                    + "\(fixed(score.bitsPerByte, 4)) bits per byte (\(score.tokens) tokens)"
            }
            lines.append("windows of \(contextLength) tokens, no overlap, first token not scored")
            return lines.joined(separator: "\n")
        }

        package var json: JSONValue {
            guard var object = all.json.object else { preconditionFailure("a score is an object") }
            object["name"] = nil
            object["context"] = .integer(Int64(contextLength))
            object["domains"] = .array(domains.map(\.json))
            return .object(object)
        }
    }

    /// Evaluates.
    package static func run(_ request: Request) throws(UserError) -> Report {
        try checkFlag("--windows", request.windows, in: 1...100_000_000)
        let threads = try threadCount(request.threads)
        let sources = try DataSelection.parse(request.data)
        let model = try LoadedModel(request.model)
        let text: EvaluationText
        do {
            text = try EvaluationText(
                sources, part: request.heldOutOnly ? .heldOut : .all, tokenizer: model.tokenizer,
                contextLength: model.layout.configuration.contextLength, windowCountMax: request.windows)
        } catch { throw UserError(corpus: error) }
        let evaluator = Evaluator(
            layout: model.layout, sequenceLength: text.contextLength, pool: WorkerPool(threadCount: threads))
        var scores: [Score] = []
        for domain in text.domains {
            do {
                let losses = try evaluator.windowLosses(model.parameters, windows: domain.windows.tokens)
                scores.append(
                    Score(
                        name: domain.name, loss: losses.reduce(0, +), tokens: domain.windows.count * text.contextLength,
                        bytes: domain.byteCount))
            } catch { throw UserError(model: error) }
        }
        let all = scores.reduce(Score(name: "all", loss: 0, tokens: 0, bytes: 0)) { sum, score in
            Score(
                name: "all", loss: sum.loss + score.loss, tokens: sum.tokens + score.tokens,
                bytes: sum.bytes + score.bytes)
        }
        return Report(all: all, domains: scores, contextLength: text.contextLength)
    }
}
