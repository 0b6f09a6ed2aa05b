package import JSONText

extension Tokenizer {
    /// The names of all ids, spelt in the file's characters; nil for an id without a token.
    package var tokenNames: [JSONString?] {
        switch model {
        case .bytes: return ByteCharacters.names
        case .bytePairs(let model):
            var names = [JSONString?](repeating: nil, count: model.vocabularySize)
            for entry in model.entries { names[Int(entry.id)] = entry.name }
            for token in model.addedTokens { names[Int(token.id)] = token.name }
            return names
        }
    }

    /// This tokenizer with the tokens of others that it lacks: first their ordinary tokens, then their added ones, in
    /// the order of the tokenizers and their ids. nil if this is the tokenizer of bytes and lacks a token.
    ///
    /// Old ids stay, and so does the cutting of every text without a new added token: merges of two vocabularies have no
    /// common order, so new ordinary tokens get an id and a name, but no merges; text is cut into one only where the file
    /// takes whole pieces (`ignoresMerges`). mergekit adds no merges either.
    package func adding(tokensOf others: [Tokenizer]) -> Tokenizer? {
        guard case .bytePairs(var model) = model else {
            let own = Set(ByteCharacters.names)
            return others.allSatisfy { $0.tokenNames.allSatisfy { $0.map(own.contains) ?? true } } ? self : nil
        }
        var known = Set(tokenNames.compactMap { $0 })
        let oldSize = Int32(truncatingIfNeeded: model.vocabularySize)
        var next = oldSize
        // Added tokens whose ids follow from their number keep them only if the vocabulary names them too.
        var named = Set(model.entries.map(\.name))
        for token in model.addedTokens where named.insert(token.name).inserted {
            model.entries.append(BytePairModel.Entry(name: token.name, id: token.id))
        }
        var added: [AddedToken] = []
        for other in others {
            let tokens = other.addedTokens
            added += tokens
            let names = Set(tokens.map(\.name))
            for name in other.tokenNames {
                guard let name, !names.contains(name), known.insert(name).inserted else { continue }
                model.entries.append(BytePairModel.Entry(name: name, id: next))
                next += 1
            }
        }
        for var token in added where known.insert(token.name).inserted {
            token.id = next
            model.addedTokens.append(token)
            model.entries.append(BytePairModel.Entry(name: token.name, id: next))
            next += 1
        }
        guard next > oldSize else { return self }
        model.entries.sort { $0.id < $1.id }
        return Tokenizer(model: .bytePairs(model))
    }
}
