import Tokenizing

extension UserError {
    /// An error of the training of a tokenizer.
    init(training error: TokenizerTraining.Failure) {
        switch error {
        case .vocabularySize:
            self.init(error.description, cure: "Give another --vocab-size", exitCode: .usage)
        case .specialToken, .tooManySpecialTokens:
            self.init(error.description, cure: "Give short names that differ", exitCode: .usage)
        case .noText: self.init(error.description, cure: "Name files that are not empty", exitCode: .badData)
        case .tooManyWords:
            self.init(
                error.description, cure: "Name less text, or text with words in it", exitCode: .badData)
        case .cancelled: self = .interrupted
        }
    }
}

extension TokenizerTraining.Pattern {
    /// The value of `--pattern`.
    init(flag: String) throws(UserError) {
        guard let pattern = Self(rawValue: flag) else {
            throw UserError(
                "there is no pattern '\(flag)'",
                cure: "Choose one of \(Self.allCases.map(\.rawValue).joined(separator: ", "))", exitCode: .usage)
        }
        self = pattern
    }
}
