import Checkpoint
package import JSONText

extension MergeRecipe {
    /// Reads a recipe from the tree of its YAML or JSON text.
    ///
    /// - Parameter file: the recipe's name in messages.
    package init(_ tree: JSONValue, file: String) throws(RecipeProblem) {
        let place = RecipePlace(file: file)
        var root = try RecipeNode(value: tree, place: place).mapping()
        self.place = place
        try Self.refuseForeignKinds(&root)
        method = try Self.method(try root.require("merge_method"))
        base = try root.take("base_model").map { (node) throws(RecipeProblem) in try Self.model(node) }
        parameters = try Self.parameters(&root, of: method, scope: .all)
        (slices, namesModels) = try Self.slices(&root, method: method, base: base)
        type = try Self.type(&root)
        tokenizer = try Self.tokenizer(&root)
        chatTemplate = try root.take("chat_template").map { (node) throws(RecipeProblem) in try node.text() }
        try root.finish()
        try checkBase()
        try checkRequired()
    }

    /// Keys of mergekit that mean another kind of work.
    private static func refuseForeignKinds(_ root: inout RecipeMapping) throws(RecipeProblem) {
        if let node = root.take("modules") {
            throw RecipeProblem(
                node.place, "models of several parts are not merged",
                cure: "Merge each part by a recipe of its own with models or slices")
        }
    }

    private static func method(_ node: RecipeNode) throws(RecipeProblem) -> MergeMethod {
        let name = try node.word(of: MergeMethod.allCases.map(\.rawValue), "merge method")
        guard let method = MergeMethod(rawValue: name) else { preconditionFailure("the word is one of the methods") }
        return method
    }

    /// A model's folder. Everything that mergekit would fetch or patch is refused when the folder is opened.
    static func model(_ node: RecipeNode) throws(RecipeProblem) -> String {
        guard node.value.object == nil else {
            throw RecipeProblem(
                node.place, "a model is given by keys", cure: "Write the path of a local folder")
        }
        let name = try node.text()
        guard !name.isEmpty else {
            throw RecipeProblem(node.place, "the path is empty", cure: "Write the path of a local folder")
        }
        return name
    }

    // MARK: Parameters

    /// Where parameters stand.
    private enum Scope {
        /// For the whole recipe, or for a slice: every parameter may be given.
        case all
        /// For one model: only what may differ by model.
        case model
    }

    private static func parameters(
        _ mapping: inout RecipeMapping, of method: MergeMethod, scope: Scope
    ) throws(RecipeProblem) -> [MergeParameter: ParameterSetting] {
        guard let node = mapping.take("parameters") else { return [:] }
        var members = try node.mapping()
        var settings: [MergeParameter: ParameterSetting] = [:]
        for (name, node) in members.takeAll() {
            guard let rule = method.rules.first(where: { $0.parameter.rawValue == name }) else {
                let names = method.rules.map(\.parameter.rawValue)
                throw RecipeProblem(
                    node.place, "\(method.rawValue) has no parameter '\(name)'\(suggestion(for: name, among: names))",
                    cure: names.isEmpty ? "Remove it" : "Its parameters are \(names.joined(separator: ", "))")
            }
            guard rule.isPerModel || scope == .all else {
                throw RecipeProblem(
                    node.place, "'\(name)' is a parameter of the merge, not of one model",
                    cure: "Move it to the parameters of the slice or of the recipe")
            }
            settings[rule.parameter] = try ParameterSetting(node, within: rule.range)
        }
        return settings
    }

    // MARK: Slices

    private static func slices(
        _ root: inout RecipeMapping, method: MergeMethod, base: String?
    ) throws(RecipeProblem) -> ([Slice], namesModels: Bool) {
        let (models, slices) = (root.take("models"), root.take("slices"))
        switch (models, slices) {
        case (let models?, nil):
            var sources: [Source] = []
            for node in try nonEmpty(models) {
                var mapping = try node.mapping()
                sources.append(try source(&mapping, method: method, withLayers: false))
            }
            return ([Slice(sources: sources, base: base, parameters: [:], place: root.place)], true)
        case (nil, let slices?):
            var result: [Slice] = []
            for node in try nonEmpty(slices) {
                var mapping = try node.mapping()
                let own = try mapping.take("base_model").map { (node) throws(RecipeProblem) in try model(node) }
                let settings = try parameters(&mapping, of: method, scope: .all)
                var sources: [Source] = []
                for element in try nonEmpty(try mapping.require("sources")) {
                    var mapping = try element.mapping()
                    sources.append(try source(&mapping, method: method, withLayers: true))
                }
                try mapping.finish()
                result.append(
                    Slice(sources: sources, base: own ?? base, parameters: settings, place: node.place))
            }
            return (result, false)
        case (_?, _?):
            throw RecipeProblem(root.place, "it has both 'models' and 'slices'", cure: "Keep one of them")
        case (nil, nil):
            throw RecipeProblem(root.place, "it has neither 'models' nor 'slices'", cure: "Name what is merged")
        }
    }

    private static func nonEmpty(_ node: RecipeNode) throws(RecipeProblem) -> [RecipeNode] {
        let elements = try node.elements()
        guard !elements.isEmpty else {
            throw RecipeProblem(node.place, "the list is empty", cure: "Name at least one model")
        }
        return elements
    }

    private static func source(
        _ mapping: inout RecipeMapping, method: MergeMethod, withLayers: Bool
    ) throws(RecipeProblem) -> Source {
        let model = try model(try mapping.require("model"))
        var layers: Range<Int>?
        if withLayers { layers = try range(try mapping.require("layer_range")) }
        let settings = try parameters(&mapping, of: method, scope: .model)
        try mapping.finish()
        return Source(model: model, layers: layers, parameters: settings, place: mapping.place)
    }

    private static func range(_ node: RecipeNode) throws(RecipeProblem) -> Range<Int> {
        guard let ends = node.value.array, ends.count == 2, let start = ends[0].integer, let end = ends[1].integer,
            start >= 0, start < end
        else {
            throw RecipeProblem(
                node.place, "it is no range of layers",
                cure: "Write [first, end], such as [0, 4] for the first four layers")
        }
        return start..<end
    }

    // MARK: The rest

    /// The result's element type: `out_dtype`, else `dtype`. Merging itself is always done in float32 or better.
    static func type(_ root: inout RecipeMapping) throws(RecipeProblem) -> FloatType? {
        var type: FloatType?
        for key in ["out_dtype", "dtype"] {
            guard let node = root.take(key) else { continue }
            let text = try node.text()
            let name = text.hasPrefix("torch.") ? String(text.dropFirst(6)) : text
            guard let found = FloatType(rawValue: name) else {
                // Nothing is lost where another type is asked for as well: no merge is less exact than float32.
                if name == "float64", type != nil { continue }
                throw RecipeProblem(
                    node.place, "checkpoints are not written in \(name)",
                    cure: "Choose one of \(FloatType.allCases.map(\.rawValue).joined(separator: ", "))")
            }
            type = type ?? found
        }
        return type
    }

    private func checkBase() throws(RecipeProblem) {
        guard method.baseUse == .required else { return }
        for slice in slices {
            guard let base = slice.base else {
                throw RecipeProblem(
                    place, "\(method.rawValue) needs a base model", cure: "Add base_model with a folder")
            }
            // With `models` the base joins the inputs by itself; a slice's layers have to be said.
            if !namesModels, !slice.sources.contains(where: { $0.model == base }) {
                throw RecipeProblem(
                    slice.place.member("sources"), "the base model \(base) is not among them",
                    cure: "Add it with the layer_range that the others are compared with")
            }
        }
    }

    /// Parameters without a default, for every model that takes part; conditions may leave tensors out, which shows later.
    private func checkRequired() throws(RecipeProblem) {
        for rule in method.rules where rule.standard == nil {
            let parameter = rule.parameter
            for slice in slices where parameters[parameter] == nil && slice.parameters[parameter] == nil {
                guard rule.isPerModel else {
                    throw RecipeProblem(
                        slice.place, "\(method.rawValue) needs the parameter '\(parameter.rawValue)'",
                        cure: "Add it to the recipe's parameters")
                }
                for source in slice.sources
                where source.parameters[parameter] == nil && !(source.model == slice.base && method.setsBaseApart) {
                    throw RecipeProblem(
                        source.place, "\(method.rawValue) needs the parameter '\(parameter.rawValue)' of every model",
                        cure: "Add it to the model's parameters, or once to the recipe's")
                }
            }
        }
    }
}

extension MergeMethod {
    /// Whether the base is no input like the others, so that it has no parameters of its own.
    var setsBaseApart: Bool { baseUse != .unused }
}
