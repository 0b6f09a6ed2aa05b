import Glibc

/// What the seeds of each configuration reached, as a Markdown table, best described against a baseline.
package struct LabTable {
    /// The runs of one configuration.
    package struct Row: Sendable {
        /// The configuration's name.
        package var name: String
        /// Its runs, by seed.
        package var results: [LabResult]

        /// Mean of the last held-out losses.
        package var meanLoss: Double { results.reduce(0) { $0 + $1.finalLoss } / Double(results.count) }
        /// Their standard deviation over seeds (n - 1); 0 for one seed.
        package var deviation: Double {
            guard results.count > 1 else { return 0 }
            let mean = meanLoss
            let squares = results.reduce(0) { $0 + ($1.finalLoss - mean) * ($1.finalLoss - mean) }
            return (squares / Double(results.count - 1)).squareRoot()
        }
        /// Mean of the bytes that a worker uploaded.
        package var meanBytes: Double { results.reduce(0) { $0 + $1.finalBytes } / Double(results.count) }
    }

    /// One row per configuration that has finished runs, in the grid's order.
    package let rows: [Row]
    private let baseline: String?
    private let dataParallelBytes: Double

    /// Groups results by configuration.
    ///
    /// - Parameters:
    ///   - names: the grid's order.
    ///   - baseline: the configuration against which the others are described, by the same seeds.
    ///   - dataParallelBytes: what a worker would upload with float32 all-reduce at every step, for the ratio.
    package init(_ results: [LabResult], names: [String], baseline: String?, dataParallelBytes: Double) {
        rows = names.compactMap { name in
            let runs = results.filter { $0.name == name }.sorted { $0.seed < $1.seed }
            return runs.isEmpty ? nil : Row(name: name, results: runs)
        }
        self.baseline = baseline
        self.dataParallelBytes = dataParallelBytes
    }

    /// The mean over common seeds of (loss / baseline's loss - 1), and its standard deviation; nil without common seeds.
    private func gap(_ row: Row, to other: Row) -> (mean: Double, deviation: Double)? {
        let gaps = row.results.compactMap { result in
            other.results.first { $0.seed == result.seed }.map { result.finalLoss / $0.finalLoss - 1 }
        }
        guard !gaps.isEmpty else { return nil }
        let mean = gaps.reduce(0, +) / Double(gaps.count)
        let squares = gaps.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
        return (mean, gaps.count > 1 ? (squares / Double(gaps.count - 1)).squareRoot() : 0)
    }

    /// The table.
    package var markdown: String {
        let base = rows.first { $0.name == baseline }
        var lines = [
            "| configuration | held-out loss by seed | mean | deviation |"
                + (base.map { " against \($0.name) |" } ?? "")
                + " MB per worker | fewer bytes than float32 all-reduce |",
            "|---|---|---|---|" + (base == nil ? "" : "---|") + "---|---|",
        ]
        for row in rows {
            var line = "| \(row.name) | " + row.results.map { decimal($0.finalLoss, 4) }.joined(separator: ", ")
            line += " | \(decimal(row.meanLoss, 4)) | \(decimal(row.deviation, 4)) |"
            if let base {
                let text = gap(row, to: base).map {
                    "\($0.mean < 0 ? "" : "+")\(decimal(100 * $0.mean, 2)) ± \(decimal(100 * $0.deviation, 2)) %"
                }
                line += " \(row.name == base.name ? "–" : text ?? "no common seed") |"
            }
            line += " \(row.meanBytes > 0 ? decimal(row.meanBytes / 1e6, row.meanBytes < 1e7 ? 3 : 1) : "0") |"
            line += row.meanBytes > 0 ? " \(decimal(dataParallelBytes / row.meanBytes, 0))x |" : " – |"
            lines.append(line)
        }
        return lines.joined(separator: "\n") + "\n"
    }
}

/// A number with so many decimals.
func decimal(_ value: Double, _ decimals: Int) -> String {
    guard value.isFinite else { return "–" }
    let scale = pow(10, Double(decimals))
    let rounded = (value.magnitude * scale).rounded()
    guard rounded < 1e15 else { return "\(value)" }
    let whole = Int(rounded)
    let (integer, fraction) = whole.quotientAndRemainder(dividingBy: Int(scale))
    let sign = value < 0 && whole != 0 ? "-" : ""
    guard decimals > 0 else { return "\(sign)\(integer)" }
    let digits = "\(fraction)"
    return "\(sign)\(integer).\(String(repeating: "0", count: decimals - digits.count))\(digits)"
}
