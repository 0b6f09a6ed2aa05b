package import Checkpoint
package import LanguageModel

/// Why checkpoints cannot work as an ensemble.
package enum EnsembleError: Error, Hashable, Sendable, CustomStringConvertible {
    /// No checkpoint was named.
    case noExperts
    /// Two checkpoints differ in something that an ensemble needs to be equal.
    case different(String, String, what: String)
    /// There must be one share per expert.
    case priorCount(given: Int, expected: Int)
    /// The shares of a prior are no shares.
    case invalidPrior
    /// A file could not be read, or does not hold what it should.
    case checkpoint(CheckpointError)
    /// A model cannot be evaluated.
    case model(ModelError)

    /// The reason in words.
    package var description: String {
        switch self {
        case .noExperts: "no expert was named"
        case .different(let left, let right, let what): "\(left) and \(right) differ in \(what)"
        case .priorCount(let given, let expected): "\(given) shares were given for \(expected) experts"
        case .invalidPrior: "the shares of the prior are not usable"
        case .checkpoint(let error): error.description
        case .model(let error): error.description
        }
    }

    /// What a person can do about it.
    package var cure: String {
        switch self {
        case .noExperts: "Name at least one checkpoint folder"
        case .different: "Take experts with one tokenizer, such as those branched from one model"
        case .priorCount: "Give one share per expert"
        case .invalidPrior: "Give numbers of 0 or more, at least one of them above 0"
        case .checkpoint(let error): error.cure
        case .model: "Use checkpoints and text that fit each other"
        }
    }
}
