package import JSONText

/// What one set of experts reached with one seed.
package struct BranchResult: Hashable, Sendable {
    /// A way to use the experts.
    package enum Method: String, Hashable, Sendable, CaseIterable {
        /// The model that was trained on all domains to the end.
        case dense
        /// Expert number i on domain number i, alone.
        case expert
        /// The mixture by Bayes' rule, whose prior moves with the text.
        case ensemble
        /// The same with the prior of the sample, kept.
        case cachedEnsemble = "ensemble, cached prior"
        /// The same as `ensemble` with equal priors.
        case uniformEnsemble = "ensemble, uniform prior"
        /// The same as `ensemble` with the one expert of the largest prior.
        case topOne = "ensemble, top 1"
        /// The same as `ensemble` with two of them.
        case topTwo = "ensemble, top 2"
        /// The released scorers' rule, whose prior moves with the text.
        case previousToken = "ensemble, previous token"
        /// Parameters averaged by the posterior of each domain's sample.
        case posteriorAverage = "posterior average"
        /// Parameters averaged equally.
        case uniformAverage = "uniform average"
    }

    /// What decided the run, as a digest (settings and text).
    package var key: String
    /// Its seed.
    package var seed: UInt64
    /// Which experts.
    package var part: BranchSettings.Part
    /// The domains' names.
    package var domains: [String]
    /// Held-out loss in nats per token, by method and domain.
    package var losses: [Method: [Double]]
    /// How long it took, in seconds of one thread.
    package var seconds: Double

    /// Wraps the fields.
    package init(
        key: String, seed: UInt64, part: BranchSettings.Part, domains: [String], losses: [Method: [Double]],
        seconds: Double
    ) {
        self.key = key
        self.seed = seed
        self.part = part
        self.domains = domains
        self.losses = losses
        self.seconds = seconds
    }

    /// Mean over the domains of a method's losses; nil where it was not scored.
    package func meanLoss(_ method: Method) -> Double? {
        losses[method].map { $0.reduce(0, +) / Double($0.count) }
    }

    /// One line of `results.jsonl`.
    package var json: JSONValue {
        var table = JSONObject()
        for method in Method.allCases {
            if let row = losses[method] { table[JSONString(method.rawValue)] = .array(row.map { .number($0) }) }
        }
        return [
            "key": .text(key), "seed": .text(String(seed)), "seed_fraction": .number(part.fraction),
            "split": .text(part.split.rawValue), "domains": .array(domains.map { .text($0) }),
            "losses": .object(table), "seconds": .number(seconds),
        ]
    }

    /// Reads such a line; nil if it is none (torn by a crash, or of another version).
    package init?(line: [UInt8]) {
        guard let value = try? JSONValue(parsing: line).object, let key = value["key"]?.string,
            let seed = (value["seed"]?.string).flatMap({ UInt64("\($0)") }),
            let fraction = value["seed_fraction"]?.double,
            let split = (value["split"]?.string).flatMap({ BranchSettings.Split(rawValue: "\($0)") }),
            let names = value["domains"]?.array?.compactMap({ $0.string.map { "\($0)" } }), !names.isEmpty,
            let table = value["losses"]?.object, let seconds = value["seconds"]?.double
        else { return nil }
        var losses: [Method: [Double]] = [:]
        for method in Method.allCases {
            guard let row = table[JSONString(method.rawValue)]?.array else { continue }
            let numbers = row.compactMap(\.double)
            guard numbers.count == names.count else { return nil }
            losses[method] = numbers
        }
        self.init(
            key: "\(key)", seed: seed, part: BranchSettings.Part(fraction: fraction, split: split), domains: names,
            losses: losses, seconds: seconds)
    }
}
