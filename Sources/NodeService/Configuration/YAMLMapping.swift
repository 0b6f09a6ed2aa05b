import Yams

/// Why a YAML file was refused; the text names the place.
package struct YAMLProblem: Error, CustomStringConvertible {
    /// What is wrong, with line and column where known.
    package let description: String
}

/// One mapping of a YAML file, read key by key; keys that nobody asked for are errors, so that a misspelt one is found.
struct YAMLMapping {
    private var entries: [String: Node] = [:]
    private var unread: [String] = []
    private let place: String

    /// Parses a whole file whose top level must be a mapping; an empty file is an empty mapping.
    static func parse(_ text: String, name: String) throws(YAMLProblem) -> YAMLMapping {
        guard let node = try compose(text, name: name) else { return YAMLMapping(emptyAt: name) }
        return try YAMLMapping(node, place: name)
    }

    /// The node of a whole file; nil for an empty one.
    static func compose(_ text: String, name: String) throws(YAMLProblem) -> Node? {
        do { return try Yams.compose(yaml: text) } catch {
            throw YAMLProblem(description: "\(name): \(reason(of: error))")
        }
    }

    /// The text of a YAML file.
    static func text(_ bytes: [UInt8], name: String) throws(YAMLProblem) -> String {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw YAMLProblem(description: "\(name): this is not a text file (UTF-8)")
        }
        return text
    }

    /// What the parser found, without the excerpt of several lines that its own description shows.
    private static func reason(of error: any Error) -> String {
        switch error as? YamlError {
        case .scanner(_, let problem, let mark, _)?, .parser(_, let problem, let mark, _)?,
            .composer(_, let problem, let mark, _)?:
            "line \(mark.line), column \(mark.column): \(problem)"
        case .reader(let problem, _, _, _)?: problem
        default: "\(error)"
        }
    }

    private init(emptyAt place: String) { self.place = place }

    /// Wraps a nested mapping; `place` names it in messages.
    init(_ node: Node, place: String) throws(YAMLProblem) {
        self.place = place
        guard let mapping = node.mapping else { throw YAMLProblem(description: "\(place): expected keys and values") }
        for (keyNode, value) in mapping {
            guard let key = keyNode.string else { throw YAMLProblem(description: "\(place): a key is not text") }
            guard entries.updateValue(value, forKey: key) == nil else {
                throw YAMLProblem(description: "\(place): the key '\(key)' is given twice")
            }
            unread.append(key)
        }
    }

    private mutating func take(_ key: String) -> Node? {
        unread.removeAll { $0 == key }
        return entries[key]
    }

    private func problem(_ key: String, _ node: Node, _ expectation: String) -> YAMLProblem {
        let line = node.mark.map { " (line \($0.line))" } ?? ""
        return YAMLProblem(description: "\(place): '\(key)'\(line) must be \(expectation)")
    }

    /// The text under `key`, nil if absent.
    mutating func string(_ key: String) throws(YAMLProblem) -> String? {
        guard let node = take(key) else { return nil }
        guard let text = node.scalar?.string else { throw problem(key, node, "text") }
        return text
    }

    /// The list of texts under `key`, nil if absent; a single text counts as a list of one.
    mutating func strings(_ key: String) throws(YAMLProblem) -> [String]? {
        guard let node = take(key) else { return nil }
        if let text = node.scalar?.string { return [text] }
        guard let sequence = node.sequence else { throw problem(key, node, "a list of texts") }
        var texts: [String] = []
        for element in sequence {
            guard let text = element.scalar?.string else { throw problem(key, node, "a list of texts") }
            texts.append(text)
        }
        return texts
    }

    /// The whole number under `key` within `range`, nil if absent.
    mutating func integer(_ key: String, in range: ClosedRange<Int>) throws(YAMLProblem) -> Int? {
        guard let node = take(key) else { return nil }
        guard let text = node.scalar?.string, let number = Int(text.filter { $0 != "_" }), range.contains(number) else {
            throw problem(key, node, "a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    /// The number under `key` within `range`, nil if absent.
    mutating func number(_ key: String, in range: ClosedRange<Double>) throws(YAMLProblem) -> Double? {
        guard let node = take(key) else { return nil }
        guard let text = node.scalar?.string, let number = Double(text), range.contains(number) else {
            throw problem(key, node, "a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    /// The Boolean under `key`, nil if absent.
    mutating func flag(_ key: String) throws(YAMLProblem) -> Bool? {
        guard let node = take(key) else { return nil }
        switch node.scalar?.string {
        case "true": return true
        case "false": return false
        default: throw problem(key, node, "true or false")
        }
    }

    /// What `read` makes of the text under `key`, nil if absent.
    mutating func choice<Value>(
        _ key: String, _ expectation: String, _ read: (String) -> Value?
    ) throws(YAMLProblem) -> Value? {
        guard let node = take(key) else { return nil }
        guard let text = node.scalar?.string, let value = read(text) else { throw problem(key, node, expectation) }
        return value
    }

    /// The rate under `key`, nil if absent.
    mutating func rate(_ key: String) throws(YAMLProblem) -> BitRate? {
        guard let node = take(key) else { return nil }
        guard let text = node.scalar?.string, let rate = BitRate(text) else {
            throw problem(key, node, BitRate.expectation)
        }
        return rate
    }

    /// The mapping under `key`, nil if absent.
    mutating func mapping(_ key: String) throws(YAMLProblem) -> YAMLMapping? {
        guard let node = take(key) else { return nil }
        return try YAMLMapping(node, place: "\(place): '\(key)'")
    }

    /// The list of mappings under `key`, nil if absent.
    mutating func mappings(_ key: String) throws(YAMLProblem) -> [YAMLMapping]? {
        guard let node = take(key) else { return nil }
        guard let sequence = node.sequence else { throw problem(key, node, "a list") }
        var mappings: [YAMLMapping] = []
        for (index, element) in sequence.enumerated() {
            mappings.append(try YAMLMapping(element, place: "\(place): '\(key)' entry \(index + 1)"))
        }
        return mappings
    }

    /// This mapping with the keys of another one that it does not have itself.
    func filled(from defaults: YAMLMapping?) -> YAMLMapping {
        guard let defaults else { return self }
        var merged = self
        for (key, node) in defaults.entries where merged.entries[key] == nil {
            merged.entries[key] = node
            merged.unread.append(key)
        }
        return merged
    }

    /// One mapping for every combination of the elements of keys that hold lists, with what was chosen as text.
    func combinations() -> [(mapping: YAMLMapping, choice: String)] {
        var results = [(mapping: self, choice: "")]
        for key in entries.keys.sorted() {
            guard let elements = entries[key]?.sequence else { continue }
            results = results.flatMap { result in
                elements.map { element in
                    var mapping = result.mapping
                    mapping.entries[key] = element
                    return (mapping, result.choice + " \(key)=\(element.scalar?.string ?? "?")")
                }
            }
        }
        return results
    }

    /// Lets these keys stand though nobody reads them here.
    mutating func ignore(_ keys: [String]) { unread.removeAll { keys.contains($0) } }

    /// Throws if a key was given that nobody asked for.
    func finish() throws(YAMLProblem) {
        guard unread.isEmpty else {
            throw YAMLProblem(
                description: "\(place): unknown key \(unread.map { "'\($0)'" }.joined(separator: ", "))")
        }
    }
}
