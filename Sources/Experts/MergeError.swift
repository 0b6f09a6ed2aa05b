package import Checkpoint

/// Why checkpoints cannot be merged.
package enum MergeError: Error, Hashable, Sendable, CustomStringConvertible {
    /// No checkpoint was named.
    case noInputs
    /// There must be one weight per checkpoint.
    case weightCount(given: Int, expected: Int)
    /// A weight is infinite or NaN.
    case weightNotFinite
    /// The weights cancel out, so they have no average.
    case weightsSumToZero
    /// Two checkpoints differ in something that a parameter average needs to be equal.
    case different(String, String, what: String)
    /// The output is one of the inputs.
    case outputIsInput(String)
    /// Parameters that do not go together, or not with the tensor.
    case parameters(tensor: String, reason: String)
    /// The inputs of a tensor point in opposite directions, so that no direction lies between them.
    case opposed(tensor: String)
    /// Ctrl-C.
    case cancelled
    /// A file could not be read or written, or does not hold what it should.
    case checkpoint(CheckpointError)

    /// The reason in words.
    package var description: String {
        switch self {
        case .noInputs: "no checkpoint was named"
        case .weightCount(let given, let expected): "\(given) weights were given for \(expected) checkpoints"
        case .weightNotFinite: "a weight is not a number"
        case .weightsSumToZero: "the weights sum to zero"
        case .different(let left, let right, let what): "\(left) and \(right) differ in \(what)"
        case .outputIsInput(let path): "the output \(path) is one of the inputs"
        case .parameters(let tensor, let reason): "\(tensor): \(reason)"
        case .opposed(let tensor): "\(tensor): the inputs cancel out, so that they have no mean direction"
        case .cancelled: "stopped"
        case .checkpoint(let error): error.description
        }
    }

    /// What a person can do about it.
    package var cure: String {
        switch self {
        case .noInputs: "Name at least one checkpoint folder"
        case .weightCount: "Give one weight per checkpoint, or none for equal shares"
        case .weightNotFinite, .weightsSumToZero: "Give numbers with a sum other than zero, such as 0.5,0.5"
        case .different: "Merge checkpoints that were branched from one model"
        case .outputIsInput: "Choose another path for the output"
        case .parameters: "Correct the recipe's parameters"
        case .opposed: "Use linear, or other weights"
        case .cancelled: "Nothing was left behind; run the command again"
        case .checkpoint(let error): error.cure
        }
    }
}
