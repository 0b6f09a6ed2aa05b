/// How a JSON text is laid out.
package enum JSONLayout: Hashable, Sendable {
    /// One line without spaces, for logs.
    case line
    /// Two spaces of indentation per level and a newline at the end, as `transformers` writes its files.
    case indented
}

/// What to do about infinity and NaN, which JSON does not have.
package enum NonFinitePolicy: Hashable, Sendable {
    /// Throw: the value would be lost.
    case refuse
    /// Write `null`: for logs, where a line is better than none.
    case null
}

/// A number that JSON cannot express.
package struct NonFiniteNumber: Error, Hashable, Sendable, CustomStringConvertible {
    /// The reason in words.
    package var description: String { "infinity or NaN cannot be written as JSON" }
}

extension JSONValue {
    /// The text of the value; equal values give equal bytes on every machine.
    ///
    /// Members keep their order; doubles take the fewest digits that read back the same; everything that is not ASCII
    /// stays UTF-8.
    package func encoded(
        _ layout: JSONLayout = .line, nonFinite: NonFinitePolicy = .refuse
    ) throws(NonFiniteNumber) -> [UInt8] {
        var writer = JSONWriter(layout: layout, nonFinite: nonFinite)
        try writer.write(self, level: 0)
        if layout == .indented { writer.bytes.append(0x0a) }
        return writer.bytes
    }

    /// One line of text, with `null` for infinity and NaN.
    package var line: [UInt8] {
        var writer = JSONWriter(layout: .line, nonFinite: .null)
        do { try writer.write(self, level: 0) } catch { preconditionFailure("the null policy must not throw") }
        return writer.bytes
    }
}

struct JSONWriter {
    let layout: JSONLayout
    let nonFinite: NonFinitePolicy
    var bytes: [UInt8] = []

    init(layout: JSONLayout, nonFinite: NonFinitePolicy) {
        self.layout = layout
        self.nonFinite = nonFinite
    }

    mutating func write(_ value: JSONValue, level: Int) throws(NonFiniteNumber) {
        switch value {
        case .null: append("null")
        case .bool(let value): append(value ? "true" : "false")
        case .integer(let value): append(String(value))
        case .number(let value):
            if value.isFinite {
                append("\(value)")
            } else {
                guard nonFinite == .null else { throw NonFiniteNumber() }
                append("null")
            }
        case .string(let value): write(value)
        case .array(let elements):
            try list(open: "[", close: "]", elements, level: level) { (writer, element) throws(NonFiniteNumber) in
                try writer.write(element, level: level + 1)
            }
        case .object(let object):
            try list(open: "{", close: "}", object.members, level: level) { (writer, member) throws(NonFiniteNumber) in
                writer.write(member.key)
                writer.append(writer.layout == .indented ? ": " : ":")
                try writer.write(member.value, level: level + 1)
            }
        }
    }

    private mutating func append(_ text: String) { bytes.append(contentsOf: text.utf8) }

    private mutating func list<Element>(
        open: String, close: String, _ elements: [Element], level: Int,
        _ write: (inout JSONWriter, Element) throws(NonFiniteNumber) -> Void
    ) throws(NonFiniteNumber) {
        append(open)
        for (index, element) in elements.enumerated() {
            if index > 0 { append(",") }
            newline(level: level + 1)
            try write(&self, element)
        }
        if !elements.isEmpty { newline(level: level) }
        append(close)
    }

    private mutating func newline(level: Int) {
        guard layout == .indented else { return }
        bytes.append(0x0a)
        bytes.append(contentsOf: repeatElement(0x20, count: 2 * level))
    }

    private mutating func write(_ string: JSONString) {
        append("\"")
        for byte in string.bytes {
            switch byte {
            case UInt8(ascii: "\""): append("\\\"")
            case UInt8(ascii: "\\"): append("\\\\")
            case 0x08: append("\\b")
            case 0x0c: append("\\f")
            case 0x0a: append("\\n")
            case 0x0d: append("\\r")
            case 0x09: append("\\t")
            case 0..<0x20:
                let digits = Array("0123456789abcdef".utf8)
                append("\\u00")
                bytes.append(digits[Int(byte >> 4)])
                bytes.append(digits[Int(byte & 15)])
            default: bytes.append(byte)
            }
        }
        append("\"")
    }
}
