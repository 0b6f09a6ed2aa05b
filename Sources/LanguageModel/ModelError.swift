/// What can be wrong with a model's description or with what it is fed.
package enum ModelError: Error, Hashable, Sendable, CustomStringConvertible {
    /// A field of a `ModelConfiguration` is out of range; the text names the field and the rule.
    case invalidConfiguration(String)
    /// A token id is not in the vocabulary.
    case tokenOutOfRange(token: Int32, vocabularySize: Int)
    /// A window, a batch or a text has the wrong number of tokens.
    case wrongTokenCount(given: Int, expected: String)
    /// A flat parameter buffer does not fit the layout.
    case wrongParameterCount(given: Int, expected: Int)
    /// The model computes infinity or what is not a number, so no token can be drawn.
    case nonFiniteLogits

    /// Cause, in words.
    package var description: String {
        switch self {
        case .invalidConfiguration(let rule): "the model configuration is not valid: \(rule)"
        case .tokenOutOfRange(let token, let size): "token id \(token) is outside the vocabulary of \(size)"
        case .wrongTokenCount(let given, let expected): "\(given) tokens given, \(expected) expected"
        case .wrongParameterCount(let given, let expected): "\(given) parameters given, \(expected) expected"
        case .nonFiniteLogits: "the model computes infinity or NaN"
        }
    }
}
