import Glibc

/// What the seeds of a Branch-Train-Merge experiment reached, as Markdown and as curves.
package struct BranchTable {
    private let results: [BranchResult]
    private let settings: BranchSettings

    /// Takes the results of one experiment.
    package init(_ results: [BranchResult], settings: BranchSettings) {
        self.results = results.sorted { $0.seed < $1.seed }
        self.settings = settings
    }

    private func results(_ part: BranchSettings.Part) -> [BranchResult] { results.filter { $0.part == part } }

    /// Mean and standard deviation (n - 1) of values; nil for none.
    private static func describe(_ values: [Double]) -> (mean: Double, deviation: Double)? {
        guard !values.isEmpty else { return nil }
        let mean = values.reduce(0, +) / Double(values.count)
        let squares = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
        return (mean, values.count > 1 ? (squares / Double(values.count - 1)).squareRoot() : 0)
    }

    private var finishedParts: [BranchSettings.Part] { settings.parts.filter { !results($0).isEmpty } }

    /// The tables: losses by part and method; perplexities by domain.
    package var markdown: String {
        let methods = BranchResult.Method.allCases.filter { method in
            results.contains { $0.losses[method] != nil }
        }
        var lines = [
            "Held-out loss in nats per byte, mean over the domains and seeds ± deviation over seeds.", "",
            "| experts branch off after | split | seeds | " + methods.map(\.rawValue).joined(separator: " | ") + " |",
            "|---|---|---|" + String(repeating: "---|", count: methods.count),
        ]
        for part in finishedParts {
            let rows = results(part)
            let cells = methods.map { method in
                Self.describe(rows.compactMap { $0.meanLoss(method) }).map {
                    "\(decimal($0.mean, 4)) ± \(decimal($0.deviation, 4))"
                } ?? "–"
            }
            let split = part.fraction == 1 ? "–" : part.split.rawValue
            lines.append(
                "| \(decimal(100 * part.fraction, 0)) % | \(split) | \(rows.count) | "
                    + cells.joined(separator: " | ") + " |")
        }
        guard let domains = results.first?.domains else { return lines.joined(separator: "\n") + "\n" }
        lines += [
            "", "Perplexity per byte by domain, from the mean loss over seeds.", "",
            "| experts branch off after | split | method | " + domains.joined(separator: " | ") + " |",
            "|---|---|---|" + String(repeating: "---|", count: domains.count),
        ]
        for part in finishedParts {
            for method in methods {
                let rows = results(part).compactMap { $0.losses[method] }
                guard !rows.isEmpty else { continue }
                let cells = domains.indices.map { domain in
                    decimal(exp(rows.reduce(0) { $0 + $1[domain] } / Double(rows.count)), 3)
                }
                let split = part.fraction == 1 ? "–" : part.split.rawValue
                lines.append(
                    "| \(decimal(100 * part.fraction, 0)) % | \(split) | \(method.rawValue) | "
                        + cells.joined(separator: " | ") + " |")
            }
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// One curve of a plot: a method on experts of one split.
    package struct Curve: Hashable, Sendable {
        let name: String
        let method: BranchResult.Method
        let split: BranchSettings.Split

        /// The ensembles against the dense model, and the control.
        package static let ensembles = [
            Curve(name: "ensemble", method: .ensemble, split: .domains),
            Curve(name: "ensemble, previous token", method: .previousToken, split: .domains),
            Curve(name: "ensemble, top 1", method: .topOne, split: .domains),
            Curve(name: "ensemble, random split", method: .ensemble, split: .random),
        ]
        /// The parameter averages against the ensemble.
        package static let averages = [
            Curve(name: "ensemble", method: .ensemble, split: .domains),
            Curve(name: "posterior average", method: .posteriorAverage, split: .domains),
            Curve(name: "uniform average", method: .uniformAverage, split: .domains),
            Curve(name: "uniform average, random split", method: .uniformAverage, split: .random),
        ]
    }

    /// A plot of losses over the part of the seed model: curves, and the dense model as a level line. Each curve ends
    /// where the dense model is.
    package func plot(_ curves: [Curve]) -> LabPlot {
        var runs: [LabResult] = []
        for seed in Set(results.map(\.seed)).sorted() {
            let own = results.filter { $0.seed == seed }
            guard let dense = own.first(where: { $0.part.fraction == 1 })?.meanLoss(.dense) else { continue }
            func add(_ name: String, _ losses: [(Double, Double)]) {
                let points = (losses + [(1, dense)]).map { fraction, loss in
                    LabPoint(
                        tokens: Int((fraction * Double(settings.tokens)).rounded()), loss: loss, bytesPerWorker: 0)
                }
                runs.append(LabResult(name: name, key: "", seed: seed, points: points, seconds: 0))
            }
            add("dense", settings.seedFractions.prefix(1).map { ($0, dense) })
            for curve in curves {
                let losses = own.filter { $0.part.split == curve.split && $0.part.fraction < 1 }
                    .sorted { $0.part.fraction < $1.part.fraction }
                    .compactMap { result in result.meanLoss(curve.method).map { (result.part.fraction, $0) } }
                if !losses.isEmpty { add(curve.name, losses) }
            }
        }
        let table = LabTable(runs, names: ["dense"] + curves.map(\.name), baseline: nil, dataParallelBytes: 0)
        return LabPlot(table, axis: .sharedTokens)
    }
}
