import JSONText

extension Tokenizer {
    /// Reads a `tokenizer.json`: the 256 bytes, or byte-level BPE as GPT-2, Llama 3, SmolLM and their kin have it, however
    /// its members are ordered and whichever neutral members other programs have added. Everything else that could
    /// change an id is refused.
    ///
    /// - Parameter config: the `tokenizer_config.json` beside it, which names the tokens with a role.
    package init(tokenizerJSON bytes: [UInt8], config: [UInt8]? = nil) throws(TokenizerError) {
        let file = try Self.object(bytes, name: "it")
        for key: JSONString in ["normalizer", "truncation", "padding"] {
            try check(file[key] ?? .null, isOneOf: [.null], part: key.string)
        }
        if Self.isBytes(file) {
            self = .bytes
            return
        }
        let model = try BytePairModel(file: file)
        let roles = try config.map { (bytes) throws(TokenizerError) in
            try Self.object(bytes, name: "tokenizer_config.json")
        }
        self.init(model: .bytePairs(model), config: roles)
    }

    private static func object(_ bytes: [UInt8], name: String) throws(TokenizerError) -> JSONObject {
        let root: JSONValue
        do { root = try JSONValue(parsing: bytes) } catch { throw .malformed(error.description) }
        guard let object = root.object else { throw .malformed("\(name) is \(root.kind), not an object") }
        return object
    }

    /// Whether it is the tokenizer of bytes, whose ids are taken as they are, without regard to what is valid UTF-8.
    private static func isBytes(_ file: JSONObject) -> Bool {
        guard let model = file["model"]?.object, model["type"] == "BPE", model["merges"] == [],
            let vocabulary = model["vocab"]?.object, vocabulary.members.count == ByteCharacters.names.count,
            (file["post_processor"] ?? .null).isNull, file["added_tokens"] ?? [] == [],
            let stage = file["pre_tokenizer"]?.object, stage["type"] == "ByteLevel",
            stage["add_prefix_space"] == false, file["decoder"]?.object?["type"] == "ByteLevel"
        else { return false }
        for key: JSONString in ["dropout", "unk_token"] where !(model[key] ?? .null).isNull { return false }
        for key: JSONString in ["continuing_subword_prefix", "end_of_word_suffix"] {
            guard [.null, ""].contains(model[key] ?? .null) else { return false }
        }
        return ByteCharacters.names.enumerated().allSatisfy { vocabulary[$1] == .integer(Int64($0)) }
    }
}

extension BytePairModel {
    /// Checks and takes the members of a `tokenizer.json`.
    init(file: JSONObject) throws(TokenizerError) {
        guard let model = file["model"]?.object else { throw .malformed("it has no model") }
        try Self.checkModel(model)
        preTokenizerJSON = file["pre_tokenizer"] ?? .null
        preTokenizer = try PreTokenizer(json: preTokenizerJSON)
        decoderJSON = file["decoder"] ?? .null
        try check(decoderJSON.object?["type"] ?? .null, isOneOf: ["ByteLevel"], part: "decoder.type")
        entries = []
        merges = []
        addedTokens = []
        let ids = try readVocabulary(model)
        try readMerges(model, ids)
        try readAddedTokens(file, ids)
        try checkIDs()
        ignoresMerges = try model.flag("ignore_merges", default: false, part: "model")
        fusesUnknown = try model.flag("fuse_unk", default: false, part: "model")
        try readUnknown(model, ids)
        postProcessorJSON = file["post_processor"] ?? .null
        try readPostProcessor(postProcessorJSON, part: "post_processor")
        for id in prefix + suffix where Tokenizer.name(of: id, in: self) == nil {
            throw .malformed("post_processor adds the id \(id), which the vocabulary lacks")
        }
    }

    private static func checkModel(_ model: JSONObject) throws(TokenizerError) {
        try check(model["type"] ?? .null, isOneOf: ["BPE"], part: "model.type")
        try check(model["dropout"] ?? .null, isOneOf: [.null, 0, 0.0], part: "model.dropout")
        for key: JSONString in ["continuing_subword_prefix", "end_of_word_suffix"] {
            try check(model[key] ?? .null, isOneOf: [.null, ""], part: "model.\(key)")
        }
    }

    /// The ids of the names.
    private mutating func readVocabulary(_ model: JSONObject) throws(TokenizerError) -> [JSONString: Int32] {
        guard let vocabulary = model["vocab"]?.object else { throw .malformed("it has no vocabulary") }
        var ids: [JSONString: Int32] = [:]
        ids.reserveCapacity(vocabulary.members.count)
        entries.reserveCapacity(vocabulary.members.count)
        for member in vocabulary.members {
            guard let id = member.value.integer.flatMap({ Int32(exactly: $0) }), id >= 0 else {
                throw .malformed(
                    "the id of \"\(member.key.string.prefix(64))\" in model.vocab is \(member.value.excerpt)")
            }
            guard !member.key.bytes.isEmpty else { throw .malformed("model.vocab has an entry without a name") }
            ids[member.key] = id
            entries.append(Entry(name: member.key, id: id))
        }
        entries.sort { $0.id < $1.id }
        for (left, right) in zip(entries, entries.dropFirst()) where left.id == right.id {
            throw .malformed("two entries of model.vocab have the id \(left.id)")
        }
        return ids
    }

    private mutating func readMerges(
        _ model: JSONObject, _ ids: [JSONString: Int32]
    ) throws(TokenizerError) {
        guard let list = model["merges"]?.array else { throw .malformed("model.merges is not an array") }
        merges.reserveCapacity(list.count)
        for (index, element) in list.enumerated() {
            if element.string?.bytes.starts(with: "#version".utf8) == true { continue }
            guard let (left, right) = Self.parts(of: element) else {
                throw .malformed("merge \(index) is not a pair of names")
            }
            guard let leftID = ids[left], let rightID = ids[right] else {
                throw .malformed(
                    "merge \(index): \"\((ids[left] == nil ? left : right).string.prefix(64))\" is not in model.vocab")
            }
            let joined = JSONString(left.string + right.string)
            guard let result = ids[joined] else {
                throw .malformed("merge \(index): its result \"\(joined.string.prefix(64))\" is not in model.vocab")
            }
            merges.append(Merge(left: leftID, right: rightID, result: result))
        }
        dropRepeatedMerges()
    }

    /// The two names: an array of them, or, in old files, one string with a space between.
    private static func parts(of element: JSONValue) -> (JSONString, JSONString)? {
        if let pair = element.array {
            guard pair.count == 2, let left = pair[0].string, let right = pair[1].string else { return nil }
            return (left, right)
        }
        let parts =
            element.string?.bytes.split(
                separator: UInt8(ascii: " "), omittingEmptySubsequences: false) ?? []
        guard parts.count == 2 else { return nil }
        return (
            JSONString(String(decoding: parts[0], as: UTF8.self)), JSONString(String(decoding: parts[1], as: UTF8.self))
        )
    }

    /// Of merges of one pair the last one counts, as in `tokenizers`.
    mutating func dropRepeatedMerges() {
        var last = FlatMap(capacity: merges.count)
        for (index, merge) in merges.enumerated() { last[PieceMerger.key(merge.left, merge.right)] = UInt64(index) }
        guard last.count < merges.count else { return }
        merges = merges.enumerated().filter { last[PieceMerger.key($1.left, $1.right)] == UInt64($0) }.map(\.element)
    }

    private mutating func readAddedTokens(
        _ file: JSONObject, _ ids: [JSONString: Int32]
    ) throws(TokenizerError) {
        guard let list = (file["added_tokens"] ?? []).array else { throw .malformed("added_tokens is not an array") }
        var seen: Set<JSONString> = []
        // `tokenizers` takes the vocabulary's id, else the next free one, whatever the file says.
        var next = Int32(truncatingIfNeeded: entries.count)
        for element in list {
            let token = try AddedToken(json: element)
            guard seen.insert(token.name).inserted else {
                throw .malformed("the added token \"\(token.content.prefix(64))\" occurs twice")
            }
            let expected = ids[token.name] ?? next
            guard token.id == expected else {
                throw .malformed(
                    "the added token \"\(token.content.prefix(64))\" has the id \(token.id), but by its place "
                        + "in the file it gets \(expected)")
            }
            if ids[token.name] == nil { next += 1 }
            addedTokens.append(token)
        }
        addedTokens.sort { $0.id < $1.id }
    }

    /// Ids become places in tables: they may not be much larger than the file.
    private func checkIDs() throws(TokenizerError) {
        for (left, right) in zip(addedTokens, addedTokens.dropFirst()) where left.id == right.id {
            throw .malformed("two added tokens have the id \(left.id)")
        }
        let count = entries.count + addedTokens.count
        guard vocabularySize <= 2 * count + 1024 else {
            throw .malformed("an id is \(vocabularySize - 1), but there are only \(count) tokens")
        }
    }

    private mutating func readUnknown(
        _ model: JSONObject, _ ids: [JSONString: Int32]
    ) throws(TokenizerError) {
        let hasEveryByte = ByteCharacters.names.allSatisfy { ids[$0] != nil }
        if try model.flag("byte_fallback", default: false, part: "model"), !hasEveryByte {
            throw .unsupported(part: "model.byte_fallback", found: "true, and the vocabulary lacks some bytes")
        }
        guard let unknown = model["unk_token"], !unknown.isNull else { return }
        guard let name = unknown.string else { throw .malformed("model.unk_token is \(unknown.kind)") }
        guard hasEveryByte || ids[name] != nil else {
            throw .malformed("model.unk_token \"\(name.string.prefix(64))\" is not in model.vocab")
        }
        unknownToken = name
    }

    // MARK: Post-processor

    private mutating func readPostProcessor(_ value: JSONValue, part: String) throws(TokenizerError) {
        if value.isNull { return }
        guard let object = value.object else { throw .malformed("\(part) is \(value.kind)") }
        switch object["type"] {
        case "ByteLevel": return
        case "Sequence":
            guard let stages = object["processors"]?.array else { throw .malformed("\(part) has no processors") }
            for stage in stages {
                guard stage.object?["type"] != "Sequence" else {
                    throw .unsupported(part: part, found: "a sequence in a sequence")
                }
                try readPostProcessor(stage, part: part)
            }
        case "TemplateProcessing": try readTemplate(object, part: part)
        case "RobertaProcessing", "BertProcessing":
            prefix = [try Self.id(object["cls"]?.array?.last, part: "\(part).cls")] + prefix
            suffix.append(try Self.id(object["sep"]?.array?.last, part: "\(part).sep"))
        case let other: throw .unsupported(part: "\(part).type", found: (other ?? .null).excerpt)
        }
    }

    private mutating func readTemplate(_ object: JSONObject, part: String) throws(TokenizerError) {
        var before: [Int32] = []
        var after: [Int32] = []
        var hasText = false
        for element in object["single"]?.array ?? [] {
            if let sequence = element.object?["Sequence"]?.object {
                guard sequence["id"] == "A", !hasText else {
                    throw .unsupported(part: "\(part).single", found: "not one text with tokens around it")
                }
                hasText = true
            } else if let name = element.object?["SpecialToken"]?.object?["id"]?.string {
                guard let ids = object["special_tokens"]?.object?[name]?.object?["ids"]?.array else {
                    throw .malformed("\(part).special_tokens lacks \"\(name.string.prefix(64))\"")
                }
                for id in ids {
                    let id = try Self.id(id, part: "\(part).special_tokens")
                    if hasText { after.append(id) } else { before.append(id) }
                }
            } else {
                throw .malformed("\(part).single has an element that is neither a text nor a token")
            }
        }
        guard hasText else { throw .unsupported(part: "\(part).single", found: "without the text") }
        prefix = before + prefix
        suffix += after
    }

    private static func id(_ value: JSONValue?, part: String) throws(TokenizerError) -> Int32 {
        guard let id = value?.integer.flatMap({ Int32(exactly: $0) }) else { throw .malformed("\(part) has no id") }
        return id
    }
}

// MARK: - Roles

extension SpecialTokenRoles {
    /// Names that end-of-text tokens have in files that do not say which it is.
    private static let usualEndNames: [JSONString] = ["<|endoftext|>", "<|end_of_text|>", "</s>"]

    /// What a model makes likely, and what a `tokenizer_config.json` says. A token that the vocabulary lacks has no role.
    init(_ model: Tokenizer.Model, config: JSONObject?) {
        guard case .bytePairs(let model) = model else { return }
        bos = model.prefix.first
        let specials = model.addedTokens.filter(\.isSpecial)
        let usual = Self.usualEndNames.compactMap { name in specials.first { $0.name == name }?.id }
        eos = model.suffix.last ?? usual.first
        if let name = model.unknownToken { unknown = model.entries.first { $0.name == name }?.id }
        guard let config else { return }
        func id(_ key: JSONString, else guess: Int32?) -> Int32? {
            guard let member = config[key] else { return guess }
            guard let name = member.string ?? member.object?["content"]?.string else { return nil }
            return model.addedTokens.first { $0.name == name }?.id ?? model.entries.first { $0.name == name }?.id
        }
        bos = id("bos_token", else: bos)
        eos = id("eos_token", else: eos)
        pad = id("pad_token", else: pad)
        unknown = id("unk_token", else: unknown)
    }
}
