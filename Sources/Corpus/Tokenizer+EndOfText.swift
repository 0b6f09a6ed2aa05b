import Tokenizing

extension Tokenizer {
    /// The id that ends a document; nil where the vocabulary has none (bytes have none to spare).
    var endOfText: Int32? { roles.eos }
}
