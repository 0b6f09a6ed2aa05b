import JSONText
import Yams

/// A YAML file as a tree of values, for readers that know nothing of YAML.
enum YAMLTree {
    /// Most values in a tree: aliases could make a short text endless.
    private static let valueCountMax = 1 << 16
    /// Deepest nesting.
    private static let depthMax = 32

    /// Parses a whole file; an empty one is null.
    static func parse(_ text: String, name: String) throws(YAMLProblem) -> JSONValue {
        guard let node = try YAMLMapping.compose(text, name: name) else { return .null }
        var count = 0
        return try value(node, name: name, depth: 0, count: &count)
    }

    private static func value(
        _ node: Node, name: String, depth: Int, count: inout Int
    ) throws(YAMLProblem) -> JSONValue {
        count += 1
        guard count <= valueCountMax, depth <= depthMax else {
            throw YAMLProblem(description: "\(name): it holds too many values")
        }
        switch node {
        case .scalar(let scalar): return Self.scalar(scalar)
        case .sequence(let sequence):
            var elements: [JSONValue] = []
            for element in sequence {
                elements.append(try value(element, name: name, depth: depth + 1, count: &count))
            }
            return .array(elements)
        case .mapping(let mapping):
            return .object(try object(mapping, name: name, depth: depth, count: &count))
        case .alias:
            throw YAMLProblem(description: "\(name): an alias stands for nothing")
        }
    }

    private static func object(
        _ mapping: Node.Mapping, name: String, depth: Int, count: inout Int
    ) throws(YAMLProblem) -> JSONObject {
        var object = JSONObject()
        var defaults: [JSONObject] = []
        for (keyNode, node) in mapping {
            guard let key = keyNode.scalar?.string else {
                throw YAMLProblem(description: "\(name)\(line(of: keyNode)): a key is not text")
            }
            let value = try value(node, name: name, depth: depth + 1, count: &count)
            if key == "<<", keyNode.scalar?.style == .plain {
                let sources = value.array ?? [value]
                defaults += sources.compactMap(\.object)
                guard sources.allSatisfy({ $0.object != nil }) else {
                    throw YAMLProblem(description: "\(name)\(line(of: node)): '<<' stands for no keys and values")
                }
                continue
            }
            guard object[JSONString(key)] == nil else {
                throw YAMLProblem(description: "\(name)\(line(of: keyNode)): the key '\(key)' is given twice")
            }
            object[JSONString(key)] = value
        }
        for member in defaults.flatMap(\.members) where object[member.key] == nil { object[member.key] = member.value }
        return object
    }

    private static func line(of node: Node) -> String { node.mark.map { ", line \($0.line)" } ?? "" }

    /// What a scalar is by YAML 1.2; in quotes it is text.
    private static func scalar(_ scalar: Node.Scalar) -> JSONValue {
        let text = scalar.string
        guard scalar.style == .plain || scalar.style == .any else { return .text(text) }
        switch text {
        case "", "~", "null", "Null", "NULL": return .null
        case "true", "True", "TRUE": return true
        case "false", "False", "FALSE": return false
        default: break
        }
        let digits = text.first.map { "+-".contains($0) } == true ? text.dropFirst() : text[...]
        guard let first = digits.utf8.first, (0x30...0x39).contains(first) || first == UInt8(ascii: ".") else {
            return .text(text)
        }
        // Of what else Swift takes for numbers, such as hexadecimal fractions, YAML knows nothing.
        guard text.utf8.allSatisfy({ "0123456789+-.eE".utf8.contains($0) }) else { return .text(text) }
        if let integer = Int64(text) { return .integer(integer) }
        return Double(text).map { .number($0) } ?? .text(text)
    }
}
