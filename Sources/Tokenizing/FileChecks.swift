import JSONText

extension JSONValue {
    /// What it is, in a few words, for messages.
    var excerpt: String {
        switch self {
        case .array(let elements): elements.isEmpty ? "empty" : "not empty"
        case .object: "an object"
        case .null, .bool, .integer, .number, .string: String(decoding: line.prefix(80), as: UTF8.self)
        }
    }
}

extension JSONObject {
    /// A Boolean member; null and absence stand for the default.
    func flag(_ key: JSONString, default value: Bool, part: String) throws(TokenizerError) -> Bool {
        guard let member = self[key], !member.isNull else { return value }
        guard let flag = member.bool else { throw .malformed("\(key) of \(part) is \(member.kind), not a Boolean") }
        return flag
    }
}

/// Refuses a member that has none of the values that are implemented.
func check(_ value: JSONValue, isOneOf allowed: [JSONValue], part: String) throws(TokenizerError) {
    guard allowed.contains(value) else { throw .unsupported(part: part, found: value.excerpt) }
}
