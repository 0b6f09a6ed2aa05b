import Checkpoint
import JSONText
import LanguageModel
import Tokenizing

/// The result's tokens, and where the row of each comes from in each model.
struct VocabularyPlan {
    /// Where a row of a model's embedding, in the result's order, comes from.
    enum Row: Hashable {
        /// A row of the model itself.
        case own(Int)
        /// The mean of rows of models, by their position among the recipe's models.
        case others([ModelRow])
        /// Zeros.
        case zero
        /// The mean of all rows before the padding.
        case mean
    }

    /// A row of a model.
    struct ModelRow: Hashable {
        var model: Int
        var row: Int
    }

    /// Rows of the result.
    let size: Int
    /// The result's tokenizer.
    let tokenizer: Tokenizer
    /// The model whose tokenizer's files the result has.
    let donor: ModelFolder
    /// Rows by model, in the order of the recipe's models, for those that take part; nil where every row stays.
    let rows: [[Row]]?
    /// Tokens that no model knows.
    let unknownCount: Int

    /// - Parameters:
    ///   - inputs: the models that are merged, by their position among the recipe's models.
    ///   - donor: the model whose files the result has where no other is named.
    init(
        _ recipe: MergeRecipe, models: RecipeModels, inputs: [Int], donor: ModelFolder
    ) throws(MergeError) {
        guard let choice = recipe.tokenizer else {
            try Self.checkEqual(models, inputs, donor: donor)
            size = donor.configuration.vocabularySize
            tokenizer = donor.tokenizer
            self.donor = donor
            rows = nil
            unknownCount = 0
            return
        }
        switch choice.source {
        case .base:
            self.donor = donor
            tokenizer = donor.tokenizer
        case .model(let name):
            self.donor = models[name]
            tokenizer = self.donor.tokenizer
        case .union:
            self.donor = donor
            let others = inputs.map { models.all[$0].folder.tokenizer }
            guard let union = donor.tokenizer.adding(tokensOf: others) else {
                throw .recipe(
                    RecipeProblem(
                        choice.place, "\(donor.path) has the tokenizer of bytes, which cannot take tokens",
                        cure: "Make a model with another tokenizer the base_model"))
            }
            tokenizer = union
        }
        let names = tokenizer.tokenNames
        let isIdentity =
            choice.rules.isEmpty && choice.padMultiple == nil
            && inputs.allSatisfy {
                let folder = models.all[$0].folder
                return folder.configuration.vocabularySize == donor.configuration.vocabularySize
                    && folder.tokenizer.tokenNames == names
            }
        guard !isIdentity else {
            size = donor.configuration.vocabularySize
            rows = nil
            unknownCount = 0
            return
        }
        let multiple = choice.padMultiple ?? 1
        size = (names.count + multiple - 1) / multiple * multiple
        let builder = try RowBuilder(
            choice, models: models, inputs: inputs, base: donor, tokenizer: tokenizer, tokenizerModel: self.donor)
        (rows, unknownCount) = builder.build(size: size)
    }

    /// Without a tokenizer in the recipe, equal rows must stand for equal tokens.
    private static func checkEqual(_ models: RecipeModels, _ inputs: [Int], donor: ModelFolder) throws(MergeError) {
        for index in inputs {
            let (name, folder) = models.all[index]
            guard folder !== donor else { continue }
            if folder.configuration.vocabularySize != donor.configuration.vocabularySize {
                throw .vocabulary(donor.path, name, what: "the vocabulary size")
            }
            if folder.tokenizer != donor.tokenizer, folder.tokenizer.tokenNames != donor.tokenizer.tokenNames {
                throw .vocabulary(donor.path, name, what: "the tokens of the vocabulary")
            }
        }
    }
}

/// Finds rows for tokens.
private struct RowBuilder {
    /// What decides about a token where a model lacks it, or in any case.
    private struct Rule {
        var row: VocabularyPlan.Row?
        var force: Bool
    }

    let models: RecipeModels
    let inputs: [Int]
    /// The base model's position.
    let base: Int?
    let names: [JSONString?]
    /// Ids by name, for each model that takes part.
    private var ids: [Int: [JSONString: Int]] = [:]
    private var rules: [JSONString: Rule] = [:]
    /// The model that has the result's tokenizer, and so also what its ids without a name mean.
    private let tokenizerModel: Int?

    init(
        _ choice: MergeRecipe.TokenizerChoice, models: RecipeModels, inputs: [Int], base: ModelFolder,
        tokenizer: Tokenizer, tokenizerModel: ModelFolder
    ) throws(MergeError) {
        self.models = models
        self.inputs = inputs
        self.base = inputs.first { models.all[$0].folder === base }
        self.tokenizerModel = inputs.first { models.all[$0].folder === tokenizerModel }
        names = tokenizer.tokenNames
        for index in models.all.indices { ids[index] = Self.ids(of: models.all[index].folder.tokenizer) }
        for rule in choice.rules { try add(rule, width: base.configuration.width) }
    }

    private static func ids(of tokenizer: Tokenizer) -> [JSONString: Int] {
        var ids: [JSONString: Int] = [:]
        for (id, name) in tokenizer.tokenNames.enumerated() {
            if let name, ids[name] == nil { ids[name] = id }
        }
        return ids
    }

    private mutating func add(_ rule: MergeRecipe.TokenRule, width: Int) throws(MergeError) {
        let name = JSONString(rule.token)
        guard names.contains(name) else {
            throw .recipe(
                RecipeProblem(rule.place, "the result has no such token", cure: "Check the token's spelling"))
        }
        var row: VocabularyPlan.Row?
        switch rule.source {
        case nil: break
        case .zero: row = .zero
        case .model(let model): row = try self.row(of: .text(rule.token), in: model, rule, width: width)
        case .token(let model, let token): row = try self.row(of: token, in: model, rule, width: width)
        }
        rules[name] = Rule(row: row, force: rule.force)
    }

    private func row(
        of token: MergeRecipe.TokenName, in name: String, _ rule: MergeRecipe.TokenRule, width: Int
    ) throws(MergeError) -> VocabularyPlan.Row {
        guard let model = models.all.firstIndex(where: { $0.name.utf8.elementsEqual(name.utf8) }) else {
            preconditionFailure("every model of a recipe is opened")
        }
        let folder = models.all[model].folder
        guard folder.configuration.width == width else {
            throw .different(folder.path, models.all[0].name, what: "the width")
        }
        let id: Int?
        let what: String
        switch token {
        case .text(let text): (id, what) = (ids[model]?[JSONString(text)], "no token \"\(text)\"")
        case .id(let number):
            id = number < folder.configuration.vocabularySize ? number : nil
            what = "no row \(number)"
        }
        guard let id else {
            throw .recipe(RecipeProblem(rule.place, "\(name) has \(what)", cure: "Name a token that the model has"))
        }
        return .others([VocabularyPlan.ModelRow(model: model, row: id)])
    }

    /// The rows of every model, and the number of tokens that none knows.
    func build(size: Int) -> (rows: [[VocabularyPlan.Row]], unknownCount: Int) {
        var rows = [[VocabularyPlan.Row]](repeating: [], count: models.all.count)
        var unknownCount = 0
        for id in names.indices {
            let holders = self.holders(of: id)
            let rule = names[id].flatMap { rules[$0] }
            let filling = rule?.row ?? filling(holders)
            if filling == .zero, rule?.row == nil { unknownCount += 1 }
            for model in inputs {
                let own = holders.first { $0.model == model }
                if let own, rule?.force != true {
                    rows[model].append(.own(own.row))
                } else {
                    rows[model].append(filling)
                }
            }
        }
        for model in inputs {
            rows[model] += Array(repeating: .mean, count: max(0, size - names.count))
        }
        return (rows, unknownCount)
    }

    /// The models that have a token, in the order of the recipe, with its row.
    private func holders(of id: Int) -> [VocabularyPlan.ModelRow] {
        guard let name = names[id] else {
            return tokenizerModel.map { [VocabularyPlan.ModelRow(model: $0, row: id)] } ?? []
        }
        return inputs.compactMap { model in
            ids[model]?[name].map { VocabularyPlan.ModelRow(model: model, row: $0) }
        }
    }

    /// What stands in where a model lacks a token: the base's row if that has it, else the mean of those that do.
    private func filling(_ holders: [VocabularyPlan.ModelRow]) -> VocabularyPlan.Row {
        if holders.isEmpty { return .zero }
        if let base, let own = holders.first(where: { $0.model == base }) { return .others([own]) }
        return .others(holders)
    }
}
