import Tokenizing

extension Tokenizer {
    /// The id that ends a document; nil for bytes, which have none to spare.
    var endOfText: Int32? { nil }
}
