import Corpus
import Experts
import Tokenizing

/// `atoll ensemble eval`: the loss of experts and of their mixture, per domain.
///
/// Text is cut as `atoll eval` cuts it. A domain's windows are blocks in the order of the text; each begins with the prior,
/// and an updating one learns from it for the next. Every domain starts anew.
package struct LocalEnsembleEvaluation: Sendable {
    /// What the command line asks for.
    package struct Request: Sendable {
        /// The checkpoint folders.
        package var experts: [String]
        /// Values of `--data`.
        package var data: [String]
        /// Only what training would hold out.
        package var heldOutOnly: Bool
        /// Most windows per domain.
        package var windows: Int
        /// How the experts are mixed.
        package var flags: EnsembleFlags
        /// Threads; nil or 0 takes one per core.
        package var threads: Int?

        /// Wraps the fields.
        package init(
            experts: [String], data: [String], heldOutOnly: Bool = false, windows: Int = 1024,
            flags: EnsembleFlags = EnsembleFlags(), threads: Int? = nil
        ) {
            self.experts = experts
            self.data = data
            self.heldOutOnly = heldOutOnly
            self.windows = windows
            self.flags = flags
            self.threads = threads
        }
    }

    /// Blocks of a domain that a cached prior is learnt from, or half of them where there are fewer.
    private static let priorBlocks = 100

    /// Evaluates.
    package static func run(_ request: Request) throws(UserError) -> Report {
        try checkFlag("--windows", request.windows, in: 1...100_000_000)
        let threads = try threadCount(request.threads)
        let flags = try request.flags.checked(expertCount: request.experts.count, learns: true)
        let sources = try DataSelection.parseUnweighted(
            request.data, for: "atoll ensemble eval", cure: "Write NAME=GLOB")
        let experts: ExpertSet
        do { experts = try ExpertSet(request.experts) } catch { throw UserError(ensemble: error) }
        let text: EvaluationText
        do {
            text = try EvaluationText(
                sources, part: request.heldOutOnly ? .heldOut : .all, tokenizer: experts.tokenizer,
                contextLength: experts.contextLength, windowCountMax: request.windows)
        } catch { throw UserError(corpus: error) }
        // All domains at once, so that every expert is read once.
        let windows = text.domains.flatMap { domain in (0..<domain.windows.count).map { Array(domain.windows[$0]) } }
        let losses: [[[Double]]]
        do { losses = try experts.tokenLosses(windows, threads: threads) } catch { throw UserError(ensemble: error) }
        var domains: [Report.Domain] = []
        var first = 0
        for domain in text.domains {
            let blocks = first..<first + domain.windows.count
            first = blocks.upperBound
            domains.append(
                try score(
                    domain, losses.map { Array($0[blocks]) }, flags, paths: request.experts,
                    tokenizerBytes: { experts.tokenizer.byteCount(of: $0) ?? 0 }))
        }
        return Report(
            experts: request.experts, domains: domains, contextLength: text.contextLength, rule: flags.rule.rawValue,
            prior: request.flags.prior, topExperts: flags.topExperts)
    }

    private static func score(
        _ domain: EvaluationText.Domain, _ losses: [[[Double]]], _ flags: EnsembleFlags.Checked, paths: [String],
        tokenizerBytes: (Int32) -> Int
    ) throws(UserError) -> Report.Domain {
        var scored = Array(0..<domain.windows.count)
        var prior: DomainPrior
        switch flags.prior {
        case .uniform: prior = DomainPrior(uniform: paths.count)
        case .updating: prior = DomainPrior(updating: paths.count)
        case .fixed(let shares): prior = shares
        case .cached:
            let count = min(Self.priorBlocks, scored.count / 2)
            guard count > 0 else {
                throw UserError(
                    "domain \(domain.name) has one window, too few to learn a prior from",
                    cure: "Name more text, or another --prior", exitCode: .badData)
            }
            let sample = (0..<count).map { $0 * scored.count / count }
            scored.removeAll { sample.contains($0) }
            var moving = DomainPrior(updating: paths.count)
            _ = EnsembleScore(
                losses.map { expert in sample.map { expert[$0] } }, prior: &moving, rule: flags.rule)
            prior = moving.cached
        }
        let kept = losses.map { expert in scored.map { expert[$0] } }
        let ensemble = EnsembleScore(kept, prior: &prior, rule: flags.rule, topCount: flags.topExperts)
        let bytes = scored.reduce(0) { sum, window in
            sum + domain.windows[window].dropFirst().reduce(0) { $0 + tokenizerBytes($1) }
        }
        func score(_ name: String, _ loss: Double) -> LocalEvaluation.Score {
            LocalEvaluation.Score(name: name, loss: loss, tokens: ensemble.tokens, bytes: bytes)
        }
        return Report.Domain(
            name: domain.name, ensemble: score("ensemble", ensemble.loss),
            experts: zip(paths, kept).map { score($0, $1.reduce(0) { $0 + $1.reduce(0, +) }) },
            posterior: ensemble.posterior, prior: prior.weights)
    }
}
