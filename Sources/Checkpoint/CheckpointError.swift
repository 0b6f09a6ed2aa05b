/// Why a checkpoint, snapshot or journal cannot be read or written.
package enum CheckpointError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The system refused a file operation.
    case file(FileError)
    /// A file does not hold what its format asks for.
    case damaged(path: String, reason: String)
    /// A checkpoint is well-formed, but of a kind that is not supported.
    case unsupported(path: String, reason: String)
    /// The writing of this checkpoint was cancelled; nothing is left of it.
    case cancelled(path: String)

    /// The reason in words, with the path.
    package var description: String {
        switch self {
        case .file(let error): error.description
        case .damaged(let path, let reason): "\(path) is damaged: \(reason)"
        case .unsupported(let path, let reason): "\(path) cannot be used: \(reason)"
        case .cancelled(let path): "the writing of \(path) was stopped"
        }
    }

    /// What a person can do about it.
    package var cure: String {
        switch self {
        case .file(let error): error.cure
        case .damaged: "Take it from its source again, or choose another"
        case .unsupported: "Choose a Llama checkpoint as atoll or transformers writes it"
        case .cancelled: "Nothing was written"
        }
    }
}
