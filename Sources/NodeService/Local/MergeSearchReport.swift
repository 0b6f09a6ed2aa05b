package import JSONText

/// What a search for a merge found.
package struct MergeSearchReport: CommandReport {
    /// One merge.
    package struct Row: Sendable {
        /// `recipe`, `uniform`, `frontier` or `best`.
        package var name: String
        /// Its numbers.
        package var values: [Double]
        /// Mean loss per token on each domain's searched and held-out windows, in nats.
        package var searched: [Double]
        package var heldOut: [Double]
    }

    /// What the numbers are.
    package var names: [String]
    package var domains: [String]
    package var trialCount: Int
    /// The recipe's numbers, equal weights, the merges that none beats on all domains, and the best.
    package var rows: [Row]
    /// The new folder.
    package var out: String?

    /// Rows of the frontier that are shown.
    static let frontierCountMax = 20

    private static func mean(_ losses: [Double]) -> Double { losses.reduce(0, +) / Double(losses.count) }

    package var text: String {
        var lines = [
            "\(trialCount) merges tried; loss on held-out windows, in nats per token (searched windows in brackets)"
        ]
        lines.append((["merge", "mean"] + domains).joined(separator: "  "))
        for row in rows {
            let pairs = [(Self.mean(row.heldOut), Self.mean(row.searched))] + Array(zip(row.heldOut, row.searched))
            let losses = pairs.map { "\(fixed($0.0, 4)) (\(fixed($0.1, 4)))" }
            lines.append(([row.name] + losses).joined(separator: "  "))
            if row.name == "frontier" || row.name == "best" {
                lines.append("    " + row.values.map { fixed($0, 3) }.joined(separator: " "))
            }
        }
        lines.append("numbers: " + names.joined(separator: ", "))
        if let out { lines.append("best merge in \(out)") }
        return lines.joined(separator: "\n")
    }

    package var json: JSONValue {
        [
            "names": .array(names.map { .text($0) }), "domains": .array(domains.map { .text($0) }),
            "trials": .integer(Int64(trialCount)),
            "rows": .array(
                rows.map { row in
                    [
                        "name": .text(row.name), "values": .array(row.values.map { .number($0) }),
                        "searched_loss": .array(row.searched.map { .number($0) }),
                        "held_out_loss": .array(row.heldOut.map { .number($0) }),
                    ]
                }), "out": out.map { JSONValue.text($0) } ?? .null,
        ]
    }
}
