/// Why a checkpoint, snapshot or journal cannot be read or written.
package enum CheckpointError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The system refused a file operation.
    case file(FileError)
    /// A file does not hold what its format asks for.
    case damaged(path: String, reason: String)
    /// A checkpoint is well-formed, but of a kind that is not supported.
    case unsupported(path: String, reason: String)
    /// A value of a tensor is NaN, infinite, or beyond what the element type can hold; nothing is left of the output.
    case unrepresentable(path: String, tensor: String, type: FloatType)
    /// The writing of this checkpoint was cancelled; nothing is left of it.
    case cancelled(path: String)

    /// The reason in words, with the path.
    package var description: String {
        switch self {
        case .file(let error): error.description
        case .damaged(let path, let reason): "\(path) is damaged: \(reason)"
        case .unsupported(let path, let reason): "\(path) cannot be used: \(reason)"
        case .unrepresentable(let path, let tensor, let type):
            "\(path) cannot be written: \(tensor) holds values that are not finite in \(type.rawValue)"
        case .cancelled(let path): "the writing of \(path) was stopped"
        }
    }

    /// What a person can do about it.
    package var cure: String {
        switch self {
        case .file(let error): error.cure
        case .damaged: "Take it from its source again, or choose another"
        case .unsupported: "Choose a Llama checkpoint as atoll or transformers writes it"
        case .unrepresentable(_, _, .float32): "Train with a lower learning rate, or merge with other weights"
        case .unrepresentable: "Choose float32 or bfloat16"
        case .cancelled: "Nothing was written"
        }
    }
}
