import JSONText
import Tokenizing

extension GGUFVocabulary {
    /// Why a tokenizer has no GGUF form.
    struct Refusal: Error, Hashable {
        /// In words.
        var reason: String
    }

    /// Takes vocabulary, merges and special tokens from a checkpoint's files, which say more than a tokenizer keeps.
    ///
    /// - Parameters:
    ///   - companions: the files; `tokenizer.json` has been read as a tokenizer before.
    ///   - preTokenizer: llama.cpp's name for the tokenizer's way to cut text.
    init(_ companions: Companions, preTokenizer: String) throws(Refusal) {
        let file = try Self.object(companions, "tokenizer.json") ?? JSONObject()
        guard let model = file["model"]?.object, let vocabulary = model["vocab"]?.object else {
            throw Refusal(reason: "it has no vocabulary")
        }
        // llama.cpp decides by the pre-tokenizer whether a piece that is a token is taken whole; without merges it is.
        let merges = try Self.merges(model["merges"]?.array ?? [])
        let ignoresMerges = model["ignore_merges"]?.bool ?? false
        guard merges.isEmpty || ignoresMerges == (preTokenizer == "llama-bpe") else {
            throw Refusal(reason: "llama.cpp has no \(preTokenizer) with ignore_merges \(ignoresMerges)")
        }
        var texts: [Int: Token] = [:]
        for member in vocabulary.members {
            guard let id = member.value.integer, (0..<Self.tokenCountMax).contains(id) else {
                throw Refusal(reason: "\"\(member.key)\" has no id")
            }
            texts[id] = Token(text: member.key.bytes, kind: .normal)
        }
        for value in file["added_tokens"]?.array ?? [] {
            guard let token = value.object, let id = token["id"]?.integer, let text = token["content"]?.string,
                (0..<Self.tokenCountMax).contains(id)
            else { throw Refusal(reason: "an added token has no id or text") }
            texts[id] = Token(text: text.bytes, kind: token["special"] == true ? .control : .userDefined)
        }
        self.init(preTokenizer: preTokenizer, tokens: [], merges: merges, addsBegin: false)
        for id in 0...(texts.keys.max() ?? 0) {
            tokens.append(texts[id] ?? Token(text: Array("[PAD\(id)]".utf8), kind: .unused))
        }
        let config = try Self.object(companions, "tokenizer_config.json") ?? JSONObject()
        beginID = specialID("bos", config, companions.config)
        endID = specialID("eos", config, companions.config)
        paddingID = specialID("pad", config, companions.config)
        addsBegin = try readsBegin(file["post_processor"] ?? .null)
        chatTemplate = companions.files["chat_template.jinja"] ?? config["chat_template"]?.string?.bytes
    }

    /// Above any vocabulary; bounds what an id in a file can make us allocate.
    private static let tokenCountMax = 1 << 20

    private static func object(_ companions: Companions, _ name: String) throws(Refusal) -> JSONObject? {
        guard let bytes = companions.files[name] else { return nil }
        guard let object = (try? JSONValue(parsing: bytes))?.object else {
            throw Refusal(reason: "\(name) is not a JSON object")
        }
        return object
    }

    /// Merges in the old form "a b" or the new one ["a", "b"].
    private static func merges(_ values: [JSONValue]) throws(Refusal) -> [[UInt8]] {
        var merges: [[UInt8]] = []
        merges.reserveCapacity(values.count)
        for value in values {
            let parts =
                value.array.map { $0.compactMap { $0.string?.bytes } }
                ?? value.string.map { $0.bytes.split(separator: 0x20).map(Array.init) } ?? []
            guard parts.count == 2, parts.allSatisfy({ !$0.isEmpty && !$0.contains(0x20) }) else {
                throw Refusal(reason: "merge \(merges.count) is not two tokens without spaces")
            }
            merges.append(parts[0] + [0x20] + parts[1])
        }
        return merges
    }

    /// The id of a special token: the one that the tokenizer's configuration names, else the model's, or its first.
    private func specialID(_ name: String, _ tokenizer: JSONObject, _ model: JSONObject) -> Int? {
        let named = tokenizer[JSONString("\(name)_token")]
        if let text = named?.string ?? named?.object?["content"]?.string,
            let id = tokens.firstIndex(where: { $0.text == text.bytes })
        {
            return id
        }
        let value = model[JSONString("\(name)_token_id")]
        let id = value?.integer ?? value?.array?.first?.integer
        return id.flatMap { tokens.indices.contains($0) ? $0 : nil }
    }

    /// Whether texts get the begin token: a TemplateProcessing stage that starts with it.
    private func readsBegin(_ postProcessor: JSONValue) throws(Refusal) -> Bool {
        let stages = postProcessor.object?["processors"]?.array ?? [postProcessor]
        for stage in stages where stage.object?["type"] == "TemplateProcessing" {
            guard let first = stage.object?["single"]?.array?.first?.object?["SpecialToken"]?.object?["id"]?.string
            else { continue }
            guard let beginID, tokens[beginID].text == first.bytes else {
                throw Refusal(reason: "\(first) is put before texts, but is not the bos token")
            }
            return true
        }
        return false
    }
}

extension GGUFVocabulary {
    /// The vocabulary of a checkpoint.
    init(_ folder: ModelFolder) throws(CheckpointError) {
        let companions = try folder.companions()
        guard let preTokenizer = folder.tokenizer.ggufPreTokenizer else {
            throw .unsupported(
                path: "\(folder.path)/tokenizer.json", reason: "llama.cpp has no pre-tokenizer that cuts text like it")
        }
        do { try self.init(companions, preTokenizer: preTokenizer) } catch {
            throw .unsupported(path: "\(folder.path)/tokenizer.json", reason: error.reason)
        }
    }
}
