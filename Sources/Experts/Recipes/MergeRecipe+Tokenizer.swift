import JSONText

extension MergeRecipe {
    /// Reads `tokenizer`, or its older form `tokenizer_source`.
    static func tokenizer(_ root: inout RecipeMapping) throws(RecipeProblem) -> TokenizerChoice? {
        let old = root.take("tokenizer_source")
        guard let node = root.take("tokenizer") else {
            guard let old else { return nil }
            return TokenizerChoice(source: try source(old), place: old.place)
        }
        if let old {
            throw RecipeProblem(
                old.place, "it is given beside 'tokenizer'", cure: "Keep 'tokenizer' and write the source there")
        }
        var mapping = try node.mapping()
        var choice = TokenizerChoice(source: .union, place: node.place)
        if let node = mapping.take("source") { choice.source = try source(node) }
        choice.padMultiple = try mapping.take("pad_to_multiple_of").map { (node) throws(RecipeProblem) in
            try node.integer(in: 1...65_536)
        }
        if let node = mapping.take("tokens") {
            var tokens = try node.mapping()
            for (token, node) in tokens.takeAll() { choice.rules.append(try rule(token, node)) }
        }
        try mapping.finish()
        return choice
    }

    private static func source(_ node: RecipeNode) throws(RecipeProblem) -> TokenizerSource {
        switch try model(node) {
        case "union": .union
        case "base": .base
        case let name: .model(name)
        }
    }

    private static func rule(_ token: String, _ node: RecipeNode) throws(RecipeProblem) -> TokenRule {
        var mapping = try node.mapping()
        let force = try mapping.take("force").map { (node) throws(RecipeProblem) in try node.flag() } ?? false
        let source = try mapping.take("source").map { (node) throws(RecipeProblem) in try embedding(node) }
        try mapping.finish()
        return TokenRule(token: token, source: source, force: force, place: node.place)
    }

    private static func embedding(_ node: RecipeNode) throws(RecipeProblem) -> TokenEmbedding {
        guard node.value.object != nil else { return .model(try model(node)) }
        var mapping = try node.mapping()
        switch try mapping.require("kind").word(of: ["zero", "model_token"], "kind of source") {
        case "zero":
            try mapping.finish()
            return .zero
        default:
            let name = try model(try mapping.require("model"))
            let (text, id) = (mapping.take("token"), mapping.take("token_id"))
            try mapping.finish()
            switch (text, id) {
            case (let text?, nil): return .token(model: name, .text(try text.text()))
            case (nil, let id?): return .token(model: name, .id(try id.integer(in: 0...Int(Int32.max))))
            case (_?, _?), (nil, nil):
                throw RecipeProblem(mapping.place, "it needs a token", cure: "Write either token or token_id")
            }
        }
    }
}
