/// A tokenizer as GGUF stores it: the vocabulary of a byte-level BPE in the characters of GPT-2's byte map.
struct GGUFVocabulary: Hashable {
    /// What llama.cpp does with a token.
    enum Kind: Int32 {
        case normal = 1
        case control = 3
        case userDefined = 4
        case unused = 5
    }

    /// One token: normal ones in mapped characters, the others as their text.
    struct Token: Hashable {
        var text: [UInt8]
        var kind: Kind
    }

    /// The name of the pre-tokenizer that llama.cpp has built in: gpt-2, llama-bpe, smollm.
    var preTokenizer: String
    /// By id.
    var tokens: [Token]
    /// Pairs of mapped characters, a space between them, by rank.
    var merges: [[UInt8]]
    /// Special ids, where there are any.
    var beginID, endID, paddingID: Int?
    /// Whether the begin token is put before every text.
    var addsBegin: Bool
    /// The template of chats (Jinja).
    var chatTemplate: [UInt8]?

    /// Adds what is missing to `count` ids: a model may have more embeddings than its tokenizer has tokens.
    mutating func pad(to count: Int) {
        while tokens.count < count { tokens.append(Token(text: Array("[PAD\(tokens.count)]".utf8), kind: .unused)) }
    }

    /// Why llama.cpp would not load the vocabulary; nil if it would.
    var objection: String? {
        var seen: Set<[UInt8]> = []
        for (id, token) in tokens.enumerated() {
            let text = String(decoding: token.text.prefix(64), as: UTF8.self)
            if token.text.isEmpty { return "token \(id) is empty" }
            guard seen.insert(token.text).inserted else { return "token \(id), \"\(text)\", has the text of another" }
        }
        return nil
    }

    /// Adds the tokenizer's part of the metadata.
    func write(to header: inout GGUFHeader) {
        header.add("tokenizer.ggml.model", .string(Array("gpt2".utf8)))
        header.add("tokenizer.ggml.pre", .string(Array(preTokenizer.utf8)))
        header.add("tokenizer.ggml.tokens", .strings(tokens.map(\.text)))
        header.add("tokenizer.ggml.token_type", .int32s(tokens.map(\.kind.rawValue)))
        header.add("tokenizer.ggml.merges", .strings(merges))
        // Without these llama.cpp takes id 11 for both, whatever it is. The byte 0xFF occurs in no UTF-8 text.
        let stand = tokens.firstIndex { $0.text == Array("\u{FF}".utf8) }
        for (name, id) in [("bos", beginID ?? stand), ("eos", endID ?? stand), ("padding", paddingID)] {
            guard let id else { continue }
            header.add("tokenizer.ggml.\(name)_token_id", .uint32(UInt32(id)))
        }
        header.add("tokenizer.ggml.add_bos_token", .bool(addsBegin && beginID != nil))
        if let chatTemplate { header.add("tokenizer.chat_template", .string(chatTemplate)) }
    }
}
