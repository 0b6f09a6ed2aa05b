/// A string of valid UTF-8 that is compared, ordered and hashed by its bytes.
///
/// Swift's `String` compares by canonical equivalence ("é" equals "e" + U+0301), which would make two different tensor
/// or vocabulary names one; names from files are therefore kept in this type.
package struct JSONString: Hashable, Comparable, Sendable, ExpressibleByStringLiteral, CustomStringConvertible {
    /// The UTF-8 bytes.
    package let bytes: [UInt8]

    /// Takes bytes that are known to be valid UTF-8.
    init(validated bytes: [UInt8]) { self.bytes = bytes }

    /// Takes the UTF-8 bytes of `text`.
    package init(_ text: String) { bytes = Array(text.utf8) }

    /// Takes the UTF-8 bytes of a literal.
    package init(stringLiteral text: String) { self.init(text) }

    /// The text as a `String`.
    package var string: String { String(decoding: bytes, as: UTF8.self) }

    /// The text as a `String`.
    package var description: String { string }

    /// Orders by the bytes, which is also the order of the Unicode scalars.
    package static func < (left: JSONString, right: JSONString) -> Bool {
        left.bytes.lexicographicallyPrecedes(right.bytes)
    }
}
