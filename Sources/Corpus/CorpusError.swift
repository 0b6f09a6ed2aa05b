/// Why a corpus cannot be used, with what a person can do about it.
package enum CorpusError: Error, Hashable, Sendable, CustomStringConvertible {
    /// No domain was named.
    case noDomains
    /// More domains than the limit.
    case tooManyDomains(limit: Int)
    /// A domain's name is empty or longer than the limit.
    case invalidName(byteCountMax: Int)
    /// Two domains have the same name.
    case duplicateDomain(String)
    /// A domain's weight is not a finite number of at least 0, or all weights are 0.
    case invalidWeight(domain: String)
    /// No file matched the patterns of a domain.
    case noFileMatched(domain: String, patterns: [String])
    /// Files matched, but none could be read; `example` is one with the system's reason.
    case nothingReadable(domain: String, fileCount: Int, example: String)
    /// Too little text to make a window for training and one for evaluation.
    case tooSmall(domain: String, byteCount: Int, byteCountNeeded: Int)
    /// More files matched than the limit.
    case tooManyFiles(domain: String, limit: Int)
    /// One named file cannot be read.
    case unreadable(path: String, reason: String)

    /// The reason in words.
    package var description: String {
        switch self {
        case .noDomains: "no training data was named"
        case .tooManyDomains(let limit): "more than \(limit) domains were named"
        case .invalidName(let limit): "the name of a domain is empty or longer than \(limit) bytes"
        case .duplicateDomain(let name): "two domains have the name \(name)"
        case .invalidWeight(let domain): "the weight of domain \(domain) is not a positive number"
        case .noFileMatched(let domain, let patterns):
            "no file matches \(patterns.joined(separator: ", ")) (domain \(domain))"
        case .nothingReadable(let domain, let count, let example):
            "none of the \(count) files of domain \(domain) can be read (\(example))"
        case .tooSmall(let domain, let count, let needed):
            "domain \(domain) has \(count) bytes of text, \(needed) are needed"
        case .tooManyFiles(let domain, let limit): "more than \(limit) files match the patterns of domain \(domain)"
        case .unreadable(let path, let reason): "cannot read \(path): \(reason)"
        }
    }

    /// What a person can do about it.
    package var cure: String {
        switch self {
        case .noDomains: "Name files, folders or globs with --data, or in the node's config"
        case .tooManyDomains: "Put the patterns of similar text into one domain"
        case .invalidName, .duplicateDomain: "Give every domain a short name of its own"
        case .invalidWeight: "Use numbers such as 1 or 0.5; at least one must be above 0"
        case .noFileMatched: "Check the pattern; quote it so that the shell leaves it alone, ** reaches into subfolders"
        case .nothingReadable, .unreadable: "Check the owner and mode of the files"
        case .tooSmall: "Name more files, or choose a model with a shorter context"
        case .tooManyFiles: "Use narrower patterns"
        }
    }
}
