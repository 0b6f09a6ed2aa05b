import JSONText
package import Numerics

/// Text to token ids and back, as a Hugging Face `tokenizer.json` describes it.
///
/// Two kinds: the 256 bytes themselves, binary-safe; and byte-level BPE, which gives the ids that the Python library
/// `tokenizers` gives for the same file. The latter decodes valid UTF-8 exactly; of other input each maximal invalid
/// subpart becomes U+FFFD first.
package struct Tokenizer: Hashable, Sendable {
    /// How ids are made.
    enum Model: Hashable, Sendable {
        /// Id = byte value.
        case bytes
        case bytePairs(BytePairModel)
    }

    let model: Model
    /// Tables made from the model; nil for bytes.
    private let encoder: BytePairEncoder?

    /// The tokenizer whose 256 ids are the byte values.
    package static let bytes = Tokenizer(model: .bytes)

    /// The tokens with a role. From `tokenizer_config.json` where it was given; else `bos` is what the post-processor puts
    /// first and `eos` a special token of one of the usual names.
    package let roles: SpecialTokenRoles
    /// `chat_template` of `tokenizer_config.json`.
    let chatTemplate: JSONValue?

    /// - Parameter config: the `tokenizer_config.json` beside the file.
    init(model: Model, config: JSONObject? = nil) {
        self.model = model
        roles = SpecialTokenRoles(model, config: config)
        chatTemplate = config?["chat_template"]
        encoder =
            switch model {
            case .bytes: nil
            case .bytePairs(let model): BytePairEncoder(model)
            }
    }

    /// Tokenizers are equal if their files are; what `tokenizer_config.json` said does not count.
    package static func == (left: Tokenizer, right: Tokenizer) -> Bool { left.model == right.model }

    /// Hashes the model.
    package func hash(into hasher: inout Hasher) { hasher.combine(model) }

    /// The number of ids: 0 ..< vocabularySize. A file may leave some of them without a token.
    package var vocabularySize: Int {
        switch model {
        case .bytes: 256
        case .bytePairs(let model): model.vocabularySize
        }
    }

    // MARK: Encoding

    /// The ids of some bytes, added tokens in the text included, without what marks begin and end.
    ///
    /// Takes an array, not any sequence: callers are in other modules, where a generic function runs unspecialized. Texts
    /// have less than 4 GiB.
    package func encode(_ bytes: [UInt8]) -> [Int32] { encode(bytes, pool: nil) }

    /// The ids of some bytes, computed by several threads where the text is long. The ids do not depend on their number.
    package func encode(_ bytes: [UInt8], pool: WorkerPool?) -> [Int32] {
        guard let encoder else { return bytes.map { Int32($0) } }
        return encoder.encode(bytes, pool: pool)
    }

    /// The ids of some bytes, with the tokens around them that the file's post-processor asks for (the first of which is
    /// the begin-of-text token in Llama 3).
    package func encode(_ bytes: [UInt8], addSpecialTokens: Bool, pool: WorkerPool? = nil) -> [Int32] {
        let ids = encode(bytes, pool: pool)
        guard addSpecialTokens, case .bytePairs(let model) = model else { return ids }
        return model.prefix + ids + model.suffix
    }

    /// The ids of the UTF-8 bytes of a text.
    package func encode(_ text: String) -> [Int32] { encode(Array(text.utf8)) }

    /// The ids of the UTF-8 bytes of a text, with the tokens around them that the file's post-processor asks for.
    package func encode(_ text: String, addSpecialTokens: Bool) -> [Int32] {
        encode(Array(text.utf8), addSpecialTokens: addSpecialTokens)
    }

    // MARK: Decoding

    /// The bytes of some ids; nil if one is outside the vocabulary. They need not be valid UTF-8.
    package func decode(_ ids: some Sequence<Int32>) -> [UInt8]? { decode(ids, skippingSpecialTokens: false) }

    /// The bytes of some ids, special tokens left out if asked for; nil if one is outside the vocabulary.
    package func decode(_ ids: some Sequence<Int32>, skippingSpecialTokens: Bool) -> [UInt8]? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(ids.underestimatedCount)
        for id in ids {
            if let encoder {
                guard let range = encoder.tokenBytes.range(of: id) else { return nil }
                if skippingSpecialTokens, encoder.specialIDs.contains(id) { continue }
                bytes += encoder.tokenBytes[range]
            } else {
                guard let byte = UInt8(exactly: id) else { return nil }
                bytes.append(byte)
            }
        }
        return bytes
    }

    /// The number of bytes that one id stands for; nil outside the vocabulary. Bits per byte are computed with it.
    package func byteCount(of id: Int32) -> Int? {
        guard let encoder else { return UInt8(exactly: id) == nil ? nil : 1 }
        return encoder.tokenBytes.range(of: id)?.count
    }
}

// MARK: - What a file says

extension Tokenizer {
    /// The bytes that an id stands for; nil outside the vocabulary. An added token stands for its text.
    package func tokenBytes(of id: Int32) -> [UInt8]? { decode([id]) }

    /// The name of an id in the vocabulary, spelt in the map's printable characters ("Ġthe"); nil outside it.
    package func tokenName(of id: Int32) -> String? {
        switch model {
        case .bytes: UInt8(exactly: id).map { ByteCharacters.names[Int($0)].string }
        case .bytePairs(let model): Self.name(of: id, in: model)?.string
        }
    }

    /// The merges as pairs of ids with the id that they become, strongest first.
    package var merges: [(left: Int32, right: Int32, result: Int32)] {
        guard case .bytePairs(let model) = model else { return [] }
        return model.merges.map { ($0.left, $0.right, $0.result) }
    }

    /// The tokens that are found in the text before it is cut, in ascending order of ids.
    package var addedTokens: [AddedToken] {
        guard case .bytePairs(let model) = model else { return [] }
        return model.addedTokens
    }

    /// Whether `encode(_:addSpecialTokens: true)` puts the begin-of-text token first.
    package var addsBOS: Bool {
        guard case .bytePairs(let model) = model, let first = model.prefix.first else { return false }
        return first == roles.bos
    }

    /// The name of the cuts before merging in llama.cpp (`tokenizer.ggml.pre`: gpt-2, llama-bpe, smollm, qwen2); nil if it has
    /// no such cuts. For bytes any will do.
    package var ggufPreTokenizer: String? {
        switch model {
        case .bytes: "gpt-2"
        case .bytePairs(let model): model.preTokenizer.ggufName
        }
    }

    /// Whether a piece that is a token as a whole is taken as it is, whatever the merges say (Llama 3).
    package var ignoresMerges: Bool {
        guard case .bytePairs(let model) = model else { return false }
        return model.ignoresMerges
    }

    static func name(of id: Int32, in model: BytePairModel) -> JSONString? {
        var (low, high) = (0, model.entries.count)
        while low < high {
            let middle = (low + high) / 2
            if model.entries[middle].id < id { low = middle + 1 } else { high = middle }
        }
        if low < model.entries.count, model.entries[low].id == id { return model.entries[low].name }
        return model.addedTokens.first { $0.id == id }?.name
    }
}

/// Why a tokenizer file cannot be used.
package enum TokenizerError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The file is not JSON, or breaks its rules.
    case malformed(String)
    /// The file describes a tokenizer of another kind; `part` names the field.
    case unsupported(part: String, found: String)

    /// The reason in words.
    package var description: String {
        switch self {
        case .malformed(let reason): "the tokenizer file is damaged: \(reason)"
        case .unsupported(let part, let found):
            "the tokenizer is not a byte-level BPE of a known form: \(part) is \(found)"
        }
    }
}
