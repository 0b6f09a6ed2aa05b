package import JSONText
package import LanguageModel

/// An experiment on Branch-Train-Merge: a seed model on all domains for a part of the steps, then one expert per domain.
///
/// Every step trains as many windows whatever the part: the seed model on all of them, each expert on its share. So equal
/// steps are equal tokens and equal compute, and a part of 1 is the dense model.
package struct BranchSettings: Hashable, Sendable {
    /// The model.
    package var model = ModelConfiguration.nano
    /// Tokens of a window; at most the model's context.
    package var windowTokens = 64
    /// Windows of one step of the seed model; a multiple of the number of domains.
    package var globalBatch = 16
    /// Steps of the seed model and of an expert together.
    package var steps = 1500
    /// The optimizer; its schedule runs over all steps and its state goes from the seed model to the experts.
    package var inner = LabSettings.Inner()
    /// Parts of the steps after which experts branch off, in rising order, from 0 to below 1.
    package var seedFractions: [Double] = [0, 0.25, 0.5, 0.75]
    /// Those after which experts on a random split of the same windows branch off too.
    package var randomFractions: [Double] = [0, 0.5]
    /// Held-out windows per domain that are scored; as many others are the sample that priors and weights are taken from.
    package var heldOutWindows = 96

    /// The defaults.
    package init() {}

    /// Tokens of the whole budget.
    package var tokens: Int { globalBatch * windowTokens * steps }

    /// Steps of the seed model where experts branch off after this part.
    func seedSteps(_ fraction: Double) -> Int { Int((fraction * Double(steps)).rounded()) }

    /// How windows are dealt to experts.
    package enum Split: String, Hashable, Sendable {
        /// Each expert trains on one domain.
        case domains
        /// The windows of each step go to random experts.
        case random
    }

    /// One set of experts, or the dense model.
    package struct Part: Hashable, Sendable {
        /// Part of the steps before branching; 1 for the dense model.
        package var fraction: Double
        /// How windows were dealt.
        package var split: Split

        /// Wraps the two.
        package init(fraction: Double, split: Split) {
            self.fraction = fraction
            self.split = split
        }
    }

    /// All parts, in the order in which a run comes by them.
    package var parts: [Part] {
        seedFractions.flatMap { fraction in
            [Part(fraction: fraction, split: .domains)]
                + (randomFractions.contains(fraction) ? [Part(fraction: fraction, split: .random)] : [])
        } + [Part(fraction: 1, split: .domains)]
    }

    /// Steps of the seed model and of all experts, in steps of the full batch.
    package var workSteps: Int {
        parts.reduce(steps) { $0 + steps - seedSteps($1.fraction) }
    }

    /// All that decides a run but its seed and its text, in a fixed order. What is scored of it is counted by `version`.
    package var json: JSONValue {
        [
            "kind": "branch-train-merge", "version": 1, "parameters": .integer(Int64(model.parameterCount)),
            "window_tokens": .integer(Int64(windowTokens)), "global_batch": .integer(Int64(globalBatch)),
            "steps": .integer(Int64(steps)), "held_out_windows": .integer(Int64(heldOutWindows)),
            "inner": .text("\(inner)"),
        ]
    }
}
