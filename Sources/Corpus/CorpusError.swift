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
    /// Files of JSON lines matched, but no line holds text; `example` is one with the reason.
    case noUsableLine(domain: String, lineCount: Int, example: String)
    /// A file changed between two readings.
    case changed(path: String)
    /// A prepared folder does not hold what it should.
    case damaged(path: String, reason: String)
    /// A prepared folder was made with another tokenizer than the model's.
    case otherTokenizer(path: String, vocabularySize: Int, modelVocabularySize: Int)
    /// A prepared folder has several domains, and none of this name.
    case noSuchDomain(String, path: String, names: [String])
    /// A domain names prepared folders and text.
    case preparedAndText(domain: String)
    /// A prepared folder cannot be prepared again.
    case alreadyPrepared(path: String)
    /// A prepared folder holds text that the swarm holds out for everybody.
    case holdsExcluded(path: String)
    /// Writing prepared text failed, with the system's error number.
    case cannotWrite(operation: String, path: String, errno: Int32)
    /// A preparation was stopped.
    case cancelled

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
        case .noUsableLine(let domain, let count, let example):
            "none of the \(count) lines of domain \(domain) holds text (\(example))"
        case .changed(let path): "\(path) changed while it was read"
        case .damaged(let path, let reason): "\(path) is damaged: \(reason)"
        case .otherTokenizer(let path, let size, let modelSize):
            "\(path) was prepared with another tokenizer (\(size) tokens) than the model's (\(modelSize) tokens)"
        case .noSuchDomain(let name, let path, let names):
            "\(path) has no domain \(name), only \(names.joined(separator: ", "))"
        case .preparedAndText(let domain): "domain \(domain) names prepared folders and text"
        case .alreadyPrepared(let path): "\(path) is prepared already"
        case .holdsExcluded(let path): "\(path) holds text that this swarm holds out for everybody"
        case .cannotWrite(let operation, let path, let number): "cannot \(operation) \(path): error \(number)"
        case .cancelled: "stopped"
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
        case .noUsableLine: "Give every line a JSON object with the text as \"text\", or name plain text .txt"
        case .changed: "Let nothing write to it and run again"
        case .damaged: "Prepare the text again with atoll data prepare"
        case .otherTokenizer: "Prepare the text again with --tokenizer and the model's folder"
        case .noSuchDomain: "Name one of them, or name the folder alone for all of them"
        case .preparedAndText: "Give the prepared folders a domain of their own, or prepare the text too"
        case .alreadyPrepared: "Name the text that it was made from"
        case .holdsExcluded: "Leave that text out and prepare the rest again"
        case .cannotWrite: "Check the disk"
        case .cancelled: "Nothing was written"
        }
    }
}
