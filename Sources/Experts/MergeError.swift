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
    /// Two models of a recipe have other tokens, and the recipe does not say which ones the result has.
    case vocabulary(String, String, what: String)
    /// The output is one of the inputs.
    case outputIsInput(String)
    /// A recipe asks for what cannot be done.
    case recipe(RecipeProblem)
    /// A recipe names a model that is not there.
    case noModel(RecipeProblem)
    /// The output's disk has too little room.
    case noSpace(path: String, needed: Int, free: Int)
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
        case .different(let left, let right, let what), .vocabulary(let left, let right, let what):
            "\(left) and \(right) differ in \(what)"
        case .outputIsInput(let path): "the output \(path) is one of the inputs"
        case .recipe(let problem), .noModel(let problem): problem.description
        case .noSpace(let path, let needed, let free):
            "\(path) needs \(needed / 1_000_000 + 1) MB, its disk has \(free / 1_000_000) MB left"
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
        case .vocabulary: "Add 'tokenizer_source: base' or 'union' to the recipe"
        case .outputIsInput: "Choose another path for the output"
        case .recipe(let problem), .noModel(let problem): problem.cure
        case .noSpace: "Free some space, choose another disk, or a smaller element type"
        case .parameters: "Correct the recipe's parameters"
        case .opposed: "Use linear, or other weights"
        case .cancelled: "Nothing was left behind; run the command again"
        case .checkpoint(let error): error.cure
        }
    }
}
