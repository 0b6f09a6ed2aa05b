import Checkpoint
import JSONText

extension MergePlan {
    /// The recipe as YAML, for a merge whose numbers come from a search.
    package var recipeText: String { YAMLText.lines(of: recipe.tree, indent: 0).joined(separator: "\n") + "\n" }
}

extension MergeRecipe {
    /// The recipe as a tree that reads back as the same recipe.
    var tree: JSONValue {
        var root = JSONObject()
        root["merge_method"] = .text(method.rawValue)
        root["base_model"] = base.map { .text($0) }
        let slices = slices.map { slice in
            var object = JSONObject()
            object["sources"] = .array(slice.sources.map(\.tree))
            if slice.base != base { object["base_model"] = slice.base.map { .text($0) } }
            object["parameters"] = Self.tree(slice.parameters)
            return object
        }
        if namesModels {
            root["models"] = slices.first?["sources"]
        } else {
            root["slices"] = .array(slices.map { .object($0) })
        }
        root["parameters"] = Self.tree(parameters)
        root["dtype"] = type.map { .text($0.rawValue) }
        root["tokenizer"] = tokenizer?.tree
        root["chat_template"] = chatTemplate.map { .text($0) }
        return .object(root)
    }

    /// nil where nothing is set; in the order of the names.
    fileprivate static func tree(_ parameters: [MergeParameter: ParameterSetting]) -> JSONValue? {
        guard !parameters.isEmpty else { return nil }
        var object = JSONObject()
        for (parameter, setting) in parameters.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
            object[JSONString(parameter.rawValue)] = setting.tree
        }
        return .object(object)
    }
}

extension MergeRecipe.Source {
    fileprivate var tree: JSONValue {
        var object = JSONObject()
        object["model"] = .text(model)
        object["layer_range"] = layers.map {
            [.integer(Int64($0.lowerBound)), .integer(Int64($0.upperBound))]
        }
        object["parameters"] = MergeRecipe.tree(parameters)
        return .object(object)
    }
}

extension ParameterSetting {
    fileprivate var tree: JSONValue {
        func number(_ gradient: Gradient) -> JSONValue {
            gradient.points.count == 1 ? .number(gradient.points[0]) : .array(gradient.points.map { .number($0) })
        }
        if conditions.count == 1, conditions[0].filter == nil { return number(conditions[0].value) }
        return .array(
            conditions.map { condition in
                var object = JSONObject()
                object["filter"] = condition.filter.map { .text($0) }
                object["value"] = number(condition.value)
                return .object(object)
            })
    }
}

extension MergeRecipe.TokenizerChoice {
    fileprivate var tree: JSONValue {
        var object = JSONObject()
        switch source {
        case .base: object["source"] = "base"
        case .union: object["source"] = "union"
        case .model(let name): object["source"] = .text(name)
        }
        var tokens = JSONObject()
        for rule in rules { tokens[JSONString(rule.token)] = rule.tree }
        if !rules.isEmpty { object["tokens"] = .object(tokens) }
        object["pad_to_multiple_of"] = padMultiple.map { .integer(Int64($0)) }
        return .object(object)
    }
}

extension MergeRecipe.TokenRule {
    fileprivate var tree: JSONValue {
        var object = JSONObject()
        switch source {
        case nil: break
        case .zero: object["source"] = ["kind": "zero"]
        case .model(let name): object["source"] = .text(name)
        case .token(let model, .text(let token)):
            object["source"] = ["kind": "model_token", "model": .text(model), "token": .text(token)]
        case .token(let model, .id(let id)):
            object["source"] = ["kind": "model_token", "model": .text(model), "token_id": .integer(Int64(id))]
        }
        object["force"] = .bool(force)
        return .object(object)
    }
}

/// YAML in block form, whose texts are quoted as in JSON, which every YAML reader takes.
private enum YAMLText {
    static func lines(of value: JSONValue, indent: Int) -> [String] {
        let space = String(repeating: " ", count: indent)
        switch value {
        case .object(let object) where !object.members.isEmpty:
            return object.members.flatMap { member -> [String] in
                let key = isPlain(member.key.string) ? member.key.string : scalar(.string(member.key))
                guard isBlock(member.value) else { return ["\(space)\(key): \(scalar(member.value))"] }
                return ["\(space)\(key):"] + lines(of: member.value, indent: indent + 2)
            }
        case .array(let elements) where isBlock(value):
            return elements.flatMap { element -> [String] in
                guard isBlock(element) else { return ["\(space)- \(scalar(element))"] }
                // The dash takes the place of the first line's indentation.
                let inner = lines(of: element, indent: indent + 2)
                return ["\(space)- \(inner[0].dropFirst(indent + 2))"] + inner.dropFirst()
            }
        default: return ["\(space)\(scalar(value))"]
        }
    }

    /// Lists of plain values, such as gradients, stay on one line.
    private static func isBlock(_ value: JSONValue) -> Bool {
        switch value {
        case .object(let object): !object.members.isEmpty
        case .array(let elements): elements.contains { $0.object != nil || $0.array != nil }
        default: false
        }
    }

    private static func scalar(_ value: JSONValue) -> String { String(decoding: value.line, as: UTF8.self) }

    private static func isPlain(_ key: String) -> Bool {
        key.utf8.allSatisfy { (0x61...0x7A).contains($0) || $0 == UInt8(ascii: "_") }
            && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(key)
    }
}
