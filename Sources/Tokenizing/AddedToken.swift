import JSONText

/// A token that is found in the text before it is cut into pieces.
package struct AddedToken: Hashable, Sendable {
    /// The id.
    package var id: Int32
    /// The text that it stands for.
    package var content: String { name.string }
    /// Whether it is control text, such as an end-of-text mark, that people do not want to see.
    package var isSpecial: Bool
    /// Whether it takes neighbouring white space with it.
    package var stripsLeft = false
    package var stripsRight = false
    /// Whether it counts only where no word character touches it.
    package var isSingleWord = false
    /// Whether it is looked for after normalization, that is after the tokens that are not.
    package var isNormalized = false
    /// The content, compared by its bytes.
    let name: JSONString

    init(id: Int32, name: JSONString, isSpecial: Bool) {
        self.id = id
        self.name = name
        self.isSpecial = isSpecial
    }

    /// More bytes than any token needs; it bounds the work at each place of the text.
    private static let byteCountMax = 1024

    init(json: JSONValue) throws(TokenizerError) {
        guard let object = json.object else { throw .malformed("an element of added_tokens is \(json.kind)") }
        guard let name = object["content"]?.string, !name.bytes.isEmpty else {
            throw .malformed("an added token has no content")
        }
        guard let id = object["id"]?.integer.flatMap({ Int32(exactly: $0) }), id >= 0 else {
            throw .malformed("the added token \"\(name.string.prefix(64))\" has no id")
        }
        guard name.bytes.count <= Self.byteCountMax else {
            throw .unsupported(part: "the length of an added token", found: "\(name.bytes.count) bytes")
        }
        let part = "the added token \"\(name.string.prefix(64))\""
        self.init(id: id, name: name, isSpecial: try object.flag("special", default: false, part: part))
        stripsLeft = try object.flag("lstrip", default: false, part: part)
        stripsRight = try object.flag("rstrip", default: false, part: part)
        isSingleWord = try object.flag("single_word", default: false, part: part)
        isNormalized = try object.flag("normalized", default: !isSpecial, part: part)
    }

    var json: JSONValue {
        [
            "id": .integer(Int64(id)), "content": .string(name), "single_word": .bool(isSingleWord),
            "lstrip": .bool(stripsLeft), "rstrip": .bool(stripsRight), "normalized": .bool(isNormalized),
            "special": .bool(isSpecial),
        ]
    }
}

/// Finds added tokens in text: at the leftmost place the longest one, then on behind it.
struct AddedTokenMatcher: Sendable {
    /// Whether there is nothing to find.
    var isEmpty: Bool { tokens.isEmpty }

    private let tokens: [AddedToken]
    /// Bytes that some token starts with.
    private var isFirst = [Bool](repeating: false, count: 256)
    /// Nodes of a trie; node 0 is the root. `(node << 8 | byte)` -> node.
    private var children = FlatMap()
    /// The token that ends at each node, or -1.
    private var tokenAtNode: [Int32] = [-1]

    init(_ tokens: [AddedToken]) {
        self.tokens = tokens
        for (index, token) in tokens.enumerated() {
            var node: UInt64 = 0
            for byte in token.name.bytes {
                let key = node << 8 | UInt64(byte)
                if let child = children[key] {
                    node = child
                } else {
                    node = UInt64(tokenAtNode.count)
                    tokenAtNode.append(-1)
                    children[key] = node
                }
            }
            tokenAtNode[Int(node)] = Int32(index)
            if let first = token.name.bytes.first { isFirst[Int(first)] = true }
        }
    }

    /// Cuts a stretch of plain text around the tokens in it.
    ///
    /// White space that a token strips may reach into a later match, as in `tokenizers`: then no text remains between the
    /// two, and what follows the later one is text again.
    func split(
        _ range: Range<Int>, of text: UnsafePointer<UInt8>, classes: ScalarClassView,
        into stretches: inout [TextStretch]
    ) {
        var copied = range.lowerBound
        var position = range.lowerBound
        while let (token, match) = next(in: position..<range.upperBound, of: text) {
            position = match.upperBound
            if token.isSingleWord, Self.touchesWord(match, in: range, of: text, classes) { continue }
            var (start, stop) = (match.lowerBound, match.upperBound)
            if token.stripsLeft {
                start = max(copied, Self.stretchOfSpace(before: start, in: range, of: text, classes))
            }
            if token.stripsRight { stop = Self.stretchOfSpace(after: stop, in: range, of: text, classes) }
            if copied < start { stretches.append(TextStretch(range: copied..<start, id: -1)) }
            // All of it taken by an earlier one: `tokenizers` drops what is empty.
            if start < stop { stretches.append(TextStretch(range: match, id: token.id)) }
            copied = stop
        }
        if copied < range.upperBound { stretches.append(TextStretch(range: copied..<range.upperBound, id: -1)) }
    }

    private func next(in range: Range<Int>, of text: UnsafePointer<UInt8>) -> (AddedToken, Range<Int>)? {
        isFirst.withUnsafeBufferPointer { isFirst in
            for start in range where isFirst[Int(text[start])] {
                var (node, found, stop): (UInt64, Int32, Int) = (0, -1, start)
                var position = start
                while position < range.upperBound, let child = children[node << 8 | UInt64(text[position])] {
                    node = child
                    position += 1
                    if tokenAtNode[Int(node)] >= 0 { (found, stop) = (tokenAtNode[Int(node)], position) }
                }
                if found >= 0 { return (tokens[Int(found)], start..<stop) }
            }
            return nil
        }
    }

    private static func touchesWord(
        _ match: Range<Int>, in range: Range<Int>, of text: UnsafePointer<UInt8>, _ classes: ScalarClassView
    ) -> Bool {
        if match.upperBound < range.upperBound,
            classes.scalar(text, match.upperBound).flags & ScalarClass.word != 0
        {
            return true
        }
        guard match.lowerBound > range.lowerBound else { return false }
        return classes.scalar(text, scalarStart(before: match.lowerBound, of: text)).flags & ScalarClass.word != 0
    }

    private static func scalarStart(before position: Int, of text: UnsafePointer<UInt8>) -> Int {
        var start = position - 1
        while text[start] & 0xc0 == 0x80 { start -= 1 }
        return start
    }

    private static func stretchOfSpace(
        before position: Int, in range: Range<Int>, of text: UnsafePointer<UInt8>, _ classes: ScalarClassView
    ) -> Int {
        var start = position
        while start > range.lowerBound {
            let previous = scalarStart(before: start, of: text)
            guard classes.scalar(text, previous).flags & ScalarClass.space != 0 else { break }
            start = previous
        }
        return start
    }

    private static func stretchOfSpace(
        after position: Int, in range: Range<Int>, of text: UnsafePointer<UInt8>, _ classes: ScalarClassView
    ) -> Int {
        var stop = position
        while stop < range.upperBound {
            let (flags, width) = classes.scalar(text, stop)
            guard flags & ScalarClass.space != 0 else { break }
            stop += width
        }
        return stop
    }
}

/// A part of a text: an added token, or, with the id -1, plain text.
struct TextStretch: Sendable {
    var range: Range<Int>
    var id: Int32
}
