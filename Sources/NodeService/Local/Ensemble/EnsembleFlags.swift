import Experts

/// How `atoll ensemble` mixes experts, as its flags say.
package struct EnsembleFlags: Sendable {
    /// `--rule`.
    package var rule: String
    /// `--prior`.
    package var prior: String
    /// `--top-experts`; nil for all.
    package var topExperts: Int?

    /// Wraps the three.
    package init(rule: String = MixtureRule.bayes.rawValue, prior: String = "uniform", topExperts: Int? = nil) {
        self.rule = rule
        self.prior = prior
        self.topExperts = topExperts
    }

    /// What is believed of the experts before a block of text.
    enum Prior: Equatable {
        /// Equal shares.
        case uniform
        /// A moving average of the posteriors of the blocks before.
        case updating
        /// What the moving average has come to on some of each domain's blocks, which are then not scored.
        case cached
        /// These shares.
        case fixed(DomainPrior)
    }

    /// The checked flags for a number of experts.
    struct Checked {
        var rule: MixtureRule
        var prior: Prior
        var topExperts: Int?
    }

    /// Checks the flags.
    ///
    /// - Parameter learns: whether there is text that a prior could be learnt from.
    func checked(expertCount: Int, learns: Bool) throws(UserError) -> Checked {
        guard let rule = MixtureRule(rawValue: rule) else {
            let names = MixtureRule.allCases.map(\.rawValue).joined(separator: " or ")
            throw UserError("--rule \(rule) is no rule", cure: "Choose \(names)", exitCode: .usage)
        }
        if let topExperts { try checkFlag("--top-experts", topExperts, in: 1...Int(Int32.max)) }
        return Checked(
            rule: rule, prior: try prior(expertCount: expertCount, learns: learns), topExperts: topExperts)
    }

    private func prior(expertCount: Int, learns: Bool) throws(UserError) -> Prior {
        switch prior {
        case "uniform": return .uniform
        case "updating" where learns: return .updating
        case "cached" where learns: return .cached
        default: break
        }
        var shares: [Double] = []
        for part in prior.split(separator: ",", omittingEmptySubsequences: false) {
            guard let share = Double(part) else {
                throw UserError(
                    "--prior \(prior) is no prior",
                    cure: "Write uniform\(learns ? ", updating, cached" : ""), or a share per expert such as 0.7,0.3",
                    exitCode: .usage)
            }
            shares.append(share)
        }
        guard shares.count == expertCount else {
            throw UserError(ensemble: .priorCount(given: shares.count, expected: expertCount))
        }
        do { return .fixed(try DomainPrior(fixed: shares)) } catch { throw UserError(ensemble: error) }
    }
}

extension UserError {
    /// An error of an ensemble.
    init(ensemble error: EnsembleError) {
        switch error {
        case .checkpoint(let error): self.init(checkpoint: error)
        case .model(let error): self.init(model: error)
        case .noExperts, .priorCount, .invalidPrior:
            self.init(error.description, cure: error.cure, exitCode: .usage)
        case .different: self.init(error.description, cure: error.cure, exitCode: .badData)
        }
    }
}
