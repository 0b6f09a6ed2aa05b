package import JSONText

extension LocalEnsembleEvaluation {
    /// What came of it.
    package struct Report: CommandReport {
        /// One domain.
        package struct Domain: Sendable {
            /// Its name.
            package var name: String
            /// The mixture.
            package var ensemble: LocalEvaluation.Score
            /// Each expert alone.
            package var experts: [LocalEvaluation.Score]
            /// Mean posterior of the experts after a block.
            package var posterior: [Double]
            /// The prior after the last block.
            package var prior: [Double]
        }

        /// The checkpoint folders.
        package var experts: [String]
        /// Per domain.
        package var domains: [Domain]
        /// Tokens that a window predicts.
        package var contextLength: Int
        /// How the experts are weighed.
        package var rule: String
        /// The prior as it was asked for.
        package var prior: String
        /// Experts that take part in a block; nil for all.
        package var topExperts: Int?

        /// Scores over all domains: the mixture, then each expert.
        package var all: [LocalEvaluation.Score] {
            domains.dropFirst().reduce(Self.scores(domains[0])) { sums, domain in
                zip(sums, Self.scores(domain)).map { sum, score in
                    LocalEvaluation.Score(
                        name: sum.name, loss: sum.loss + score.loss, tokens: sum.tokens + score.tokens,
                        bytes: sum.bytes + score.bytes)
                }
            }
        }

        private static func scores(_ domain: Domain) -> [LocalEvaluation.Score] { [domain.ensemble] + domain.experts }

        package var text: String {
            let columns = domains.map { Self.scores($0) } + (domains.count > 1 ? [all] : [])
            let names = domains.map(\.name) + (domains.count > 1 ? ["all"] : [])
            var rows = [["perplexity"] + names]
            for place in [Int](1...experts.count) + [0] {
                rows.append([columns[0][place].name] + columns.map { fixed($0[place].perplexity, 3) })
            }
            rows.append(["posterior"] + names.map { _ in "" })
            for (place, expert) in experts.enumerated() {
                rows.append(
                    [expert] + domains.map { fixed($0.posterior[place], 3) }
                        + columns.dropFirst(domains.count).map { _ in "" })
            }
            let first = rows.reduce(0) { max($0, $1[0].count) }
            let widths = names.indices.map { column in rows.reduce(8) { max($0, $1[column + 1].count) } }
            var lines = rows.map { row in
                let cells = zip(row.dropFirst(), widths).map { cell, width in
                    String(repeating: " ", count: width - cell.count) + cell
                }
                let name = row[0] + String(repeating: " ", count: first - row[0].count)
                return String(([name] + cells).joined(separator: "  ").reversed().drop { $0 == " " }.reversed())
            }
            lines.append(
                "rule \(rule), prior \(prior)\(topExperts.map { ", top \($0)" } ?? ""); windows of \(contextLength) tokens, "
                    + "no overlap, first token not scored (\(domains.reduce(0) { $0 + $1.ensemble.tokens }) tokens)")
            return lines.joined(separator: "\n")
        }

        package var json: JSONValue {
            var object = JSONObject()
            object["context"] = .integer(Int64(contextLength))
            object["rule"] = .text(rule)
            object["prior"] = .text(prior)
            object["top_experts"] = topExperts.map { .integer(Int64($0)) } ?? .null
            object["ensemble"] = all[0].json
            object["experts"] = .array(all.dropFirst().map(\.json))
            object["domains"] = .array(
                domains.map { domain in
                    [
                        "name": .text(domain.name), "ensemble": domain.ensemble.json,
                        "experts": .array(domain.experts.map(\.json)),
                        "posterior": .array(domain.posterior.map { .number($0) }),
                        "prior": .array(domain.prior.map { .number($0) }),
                    ]
                })
            return .object(object)
        }
    }
}
