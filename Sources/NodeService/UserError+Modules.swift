import Checkpoint
import Corpus
import Experts
import LanguageModel

extension UserError {
    /// An error of a checkpoint, snapshot or journal.
    init(checkpoint error: CheckpointError) {
        switch error {
        case .file(let error):
            self = .system("\(error.operation.rawValue) \(error.path)", errno: error.reason.number)
        case .damaged, .unsupported, .unrepresentable:
            self.init(error.description, cure: error.cure, exitCode: .badData)
        case .cancelled: self = .interrupted
        }
    }

    /// An error of a corpus.
    init(corpus error: CorpusError) {
        let code: ExitCode
        switch error {
        case .noDomains, .tooManyDomains, .invalidName, .duplicateDomain, .invalidWeight, .tooManyFiles,
            .preparedAndText, .alreadyPrepared, .noSuchDomain:
            code = .usage
        case .noFileMatched, .nothingReadable, .unreadable: code = .noInput
        case .tooSmall, .noUsableLine, .damaged, .otherTokenizer, .holdsExcluded: code = .badData
        case .changed: code = .temporaryFailure
        case .cannotWrite(let operation, let path, let number):
            self = .system("\(operation) \(path)", errno: number)
            return
        case .cancelled:
            self = .interrupted
            return
        }
        self.init(error.description, cure: error.cure, exitCode: code)
    }

    /// An error of a merge.
    init(merge error: MergeError) {
        switch error {
        case .checkpoint(let error): self.init(checkpoint: error)
        case .noInputs, .weightCount, .weightNotFinite, .weightsSumToZero:
            self.init(error.description, cure: error.cure, exitCode: .usage)
        case .different, .vocabulary, .recipe: self.init(error.description, cure: error.cure, exitCode: .badData)
        case .parameters, .opposed: self.init(error.description, cure: error.cure, exitCode: .badData)
        case .cancelled: self = .interrupted
        case .noSpace: self.init(error.description, cure: error.cure, exitCode: .inputOutput)
        case .noModel: self.init(error.description, cure: error.cure, exitCode: .noInput)
        case .outputIsInput: self.init(error.description, cure: error.cure, exitCode: .cannotCreate)
        }
    }

    /// An error of a model that its caller has not prevented.
    init(model error: ModelError) {
        self.init(error.description, cure: "Use a checkpoint and text that fit each other", exitCode: .badData)
    }

    /// Stopped by Ctrl-C before anything was kept.
    static var interrupted: UserError {
        UserError("stopped", cure: "Nothing was written", exitCode: .interrupted)
    }
}
