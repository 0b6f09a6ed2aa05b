/// Why bytes are not acceptable JSON.
package struct JSONError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The rule that the text breaks.
    package enum Rule: Hashable, Sendable {
        /// The text is longer than the limit.
        case tooLong(bytes: Int, limit: Int)
        /// Arrays and objects are nested deeper than the limit.
        case tooDeep(limit: Int)
        /// There are more values than the limit.
        case tooManyValues(limit: Int)
        /// The text ends inside a value.
        case unexpectedEnd
        /// This byte cannot stand here.
        case unexpectedByte(UInt8)
        /// Something follows the value.
        case trailingBytes
        /// A number breaks the grammar: a leading zero, a missing digit.
        case malformedNumber
        /// A number is too large for a double, or has too many digits.
        case numberOutOfRange
        /// A string has a control character that must be escaped.
        case unescapedControlCharacter
        /// An escape that JSON does not have, or half a surrogate pair.
        case malformedEscape
        /// A string is not valid UTF-8.
        case invalidUTF8
        /// A key occurs twice in one object, after unescaping.
        case duplicateKey(JSONString)
    }

    /// The rule.
    package let rule: Rule
    /// The position in the text, in bytes from 0.
    package let offset: Int

    /// The reason in words.
    package var description: String {
        let reason =
            switch rule {
            case .tooLong(let bytes, let limit): "the text has \(bytes) bytes, the limit is \(limit)"
            case .tooDeep(let limit): "nested more than \(limit) deep"
            case .tooManyValues(let limit): "more than \(limit) values"
            case .unexpectedEnd: "the text ends too early"
            case .unexpectedByte(let byte): "unexpected byte 0x\(String(byte, radix: 16))"
            case .trailingBytes: "something follows the value"
            case .malformedNumber: "malformed number"
            case .numberOutOfRange: "number out of range"
            case .unescapedControlCharacter: "control character in a string"
            case .malformedEscape: "malformed escape in a string"
            case .invalidUTF8: "a string is not valid UTF-8"
            case .duplicateKey(let key): "the key \"\(key.string.prefix(64))\" occurs twice"
            }
        return "not valid JSON: \(reason), at byte \(offset)"
    }
}

/// What a reader accepts at most; each bound is checked before memory is taken.
package struct JSONLimits: Hashable, Sendable {
    /// Length of the text in bytes.
    package var byteCountMax: Int
    /// Nesting of arrays and objects.
    package var depthMax: Int
    /// Number of values, keys not counted.
    package var valueCountMax: Int

    /// Wraps the three. The defaults take every checkpoint side file in use: a vocabulary of 256 Ki tokens with its
    /// merges is below 20 MB and a million values; no known file nests deeper than 12.
    package init(byteCountMax: Int = 64 << 20, depthMax: Int = 64, valueCountMax: Int = 4 << 20) {
        self.byteCountMax = byteCountMax
        self.depthMax = depthMax
        self.valueCountMax = valueCountMax
    }
}
