import Corpus
package import Experts
package import JSONText

/// `atoll ensemble posterior`: which experts token ids speak for; and the weights that `atoll merge` takes from a sample.
package enum LocalEnsemblePosterior {
    /// What came of it.
    package struct Report: CommandReport {
        /// The checkpoint folders.
        package var experts: [String]
        /// Summed loss of each expert on each sequence in nats: [experts][sequences].
        package var losses: [[Double]]
        /// Predicted tokens per sequence.
        package var tokens: [Int]
        /// What follows from them.
        package var weights: PosteriorWeights

        package var text: String {
            var lines = weights.sequences.enumerated().map { index, posterior in
                "sequence \(index): " + posterior.map { fixed($0, 4) }.joined(separator: "  ")
            }
            lines.append("mean: " + weights.mean.map { fixed($0, 4) }.joined(separator: "  "))
            lines.append("all as one: " + weights.joint.map { fixed($0, 4) }.joined(separator: "  "))
            lines.append("experts: " + experts.joined(separator: "  "))
            return lines.joined(separator: "\n")
        }

        package var json: JSONValue {
            func numbers(_ values: [Double]) -> JSONValue { .array(values.map { .number($0) }) }
            return [
                "experts": .array(experts.map { .text($0) }),
                "sequences": .array(
                    weights.sequences.enumerated().map { index, posterior in
                        [
                            "posterior": numbers(posterior), "losses": numbers(losses.map { $0[index] }),
                            "tokens": .integer(Int64(tokens[index])),
                        ]
                    }),
                "mean": numbers(weights.mean), "joint": numbers(weights.joint),
            ]
        }
    }

    /// The posteriors of the sequences of a file, of at least two ids each.
    ///
    /// - Parameter prior: `uniform` or a share per expert.
    package static func run(
        _ paths: [String], ids: String, prior: String, threads: Int?
    ) throws(UserError) -> Report {
        let threads = try threadCount(threads)
        let flags = try EnsembleFlags(prior: prior).checked(expertCount: paths.count, learns: false)
        let sequences = try TokenSequences.read(ids, atLeast: 2)
        do {
            let experts = try ExpertSet(paths)
            let losses = try experts.tokenLosses(sequences, threads: threads).map { $0.map { $0.reduce(0, +) } }
            var shares: [Double]?
            if case .fixed(let prior) = flags.prior { shares = prior.weights }
            return Report(
                experts: paths, losses: losses, tokens: sequences.map { $0.count - 1 },
                weights: PosteriorWeights(losses: losses, prior: shares))
        } catch { throw UserError(ensemble: error) }
    }

    /// Windows of a sample that weights for an average are taken from.
    private static let sampleWindows = 100

    /// The weights that `--weights` names, as numbers with commas: `uniform`, and with a sample of text `posterior` (the
    /// mean of its windows' posteriors) or `argmax` (all on the largest of these); what is none of these, as it is.
    package static func mergeWeights(
        _ weights: String?, of paths: [String], sample: [String]
    ) throws(UserError) -> String? {
        guard let weights, ["posterior", "argmax", "uniform"].contains(weights) else {
            guard sample.isEmpty else {
                throw UserError(
                    "--data is a sample for --weights posterior or argmax", cure: "Leave one of the two out",
                    exitCode: .usage)
            }
            return weights
        }
        if weights == "uniform" { return nil }
        let sources = try DataSelection.parseUnweighted(
            sample, for: "the weights of a merge", cure: "Write NAME=GLOB or GLOB")
        let experts: ExpertSet
        do { experts = try ExpertSet(paths) } catch { throw UserError(ensemble: error) }
        let text: EvaluationText
        do {
            text = try EvaluationText(
                sources, part: .all, tokenizer: experts.tokenizer, contextLength: experts.contextLength,
                windowCountMax: sampleWindows)
        } catch { throw UserError(corpus: error) }
        let windows = text.domains.flatMap { domain in (0..<domain.windows.count).map { Array(domain.windows[$0]) } }
        do {
            let posterior = try PosteriorWeights(experts, sample: windows, threads: threadCount(nil))
            return (weights == "argmax" ? posterior.argMax : posterior.mean).map { "\($0)" }.joined(separator: ",")
        } catch let error as EnsembleError {
            throw UserError(ensemble: error)
        } catch { throw UserError(wrapping: error) }
    }
}
