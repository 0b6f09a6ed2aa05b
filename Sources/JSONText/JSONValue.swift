/// A JSON value, with integers kept apart from other numbers and the order of object members kept.
package enum JSONValue: Hashable, Sendable {
    /// `null`.
    case null
    /// `true` or `false`.
    case bool(Bool)
    /// A number written without fraction and exponent that fits 64 bits, exactly.
    case integer(Int64)
    /// Any other number.
    case number(Double)
    /// A string.
    case string(JSONString)
    /// An array.
    case array([JSONValue])
    /// An object.
    case object(JSONObject)

    /// A string value.
    package static func text(_ text: String) -> JSONValue { .string(JSONString(text)) }

    /// A number that reads back as the same `Float`, written with the digits that a `Float` needs (1e-05, not
    /// 9.999999747378752e-06).
    package static func number(float value: Float) -> JSONValue {
        .number(Double("\(value)") ?? Double(value))
    }

    /// The Boolean, if it is one.
    package var bool: Bool? { if case .bool(let value) = self { value } else { nil } }

    /// The integer, if it is one and fits `Int`.
    package var integer: Int? { if case .integer(let value) = self { Int(exactly: value) } else { nil } }

    /// The number as a double, if it is an integer or another number.
    package var double: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .number(let value): value
        case .null, .bool, .string, .array, .object: nil
        }
    }

    /// The string, if it is one.
    package var string: JSONString? { if case .string(let value) = self { value } else { nil } }

    /// The elements, if it is an array.
    package var array: [JSONValue]? { if case .array(let value) = self { value } else { nil } }

    /// The object, if it is one.
    package var object: JSONObject? { if case .object(let value) = self { value } else { nil } }

    /// Whether it is `null`.
    package var isNull: Bool { self == .null }

    /// What it is, in words, for messages.
    package var kind: String {
        switch self {
        case .null: "null"
        case .bool: "a Boolean"
        case .integer: "an integer"
        case .number: "a number"
        case .string: "a string"
        case .array: "an array"
        case .object: "an object"
        }
    }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
    ExpressibleByBooleanLiteral, ExpressibleByNilLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    /// A string.
    package init(stringLiteral value: String) { self = .text(value) }
    /// An integer.
    package init(integerLiteral value: Int64) { self = .integer(value) }
    /// A number.
    package init(floatLiteral value: Double) { self = .number(value) }
    /// A Boolean.
    package init(booleanLiteral value: Bool) { self = .bool(value) }
    /// `null`.
    package init(nilLiteral: ()) { self = .null }
    /// An array.
    package init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
    /// An object; a key that occurs twice keeps its place and takes the last value.
    package init(dictionaryLiteral elements: (JSONString, JSONValue)...) {
        var object = JSONObject()
        for (key, value) in elements { object[key] = value }
        self = .object(object)
    }
}

/// A JSON object: members in the order of the text, keys unique.
package struct JSONObject: Hashable, Sendable {
    /// One member.
    package struct Member: Hashable, Sendable {
        /// The key.
        package var key: JSONString
        /// The value.
        package var value: JSONValue
    }

    /// The members in order.
    package private(set) var members: [Member] = []
    /// Where each key stands in `members`.
    private var positions: [JSONString: Int] = [:]

    /// An empty object.
    package init() {}

    /// The value of a key. Setting appends a new key at the end, replaces the value of an old one in its place, and
    /// with nil removes it (which is linear).
    package subscript(_ key: JSONString) -> JSONValue? {
        get { positions[key].map { members[$0].value } }
        set {
            switch (positions[key], newValue) {
            case (let position?, let value?): members[position].value = value
            case (nil, let value?):
                positions[key] = members.count
                members.append(Member(key: key, value: value))
            case (let position?, nil):
                members.remove(at: position)
                positions[key] = nil
                for index in position..<members.count { positions[members[index].key] = index }
            case (nil, nil): break
            }
        }
    }

    /// Appends a member; false, and nothing appended, if the key is there already.
    mutating func append(key: JSONString, value: JSONValue) -> Bool {
        guard positions.updateValue(members.count, forKey: key) == nil else { return false }
        members.append(Member(key: key, value: value))
        return true
    }

    /// Objects are equal if they have the same members in the same order.
    package static func == (left: JSONObject, right: JSONObject) -> Bool { left.members == right.members }

    /// Hashes the members in order.
    package func hash(into hasher: inout Hasher) { hasher.combine(members) }
}
