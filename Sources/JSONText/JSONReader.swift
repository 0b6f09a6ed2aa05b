extension JSONValue {
    /// Reads one JSON text (RFC 8259), strictly: no byte-order mark, comments or trailing commas, duplicate keys
    /// refused, only white space around the value.
    ///
    /// - Complexity: linear in the length; memory is bounded by `limits`.
    package init(parsing bytes: [UInt8], limits: JSONLimits = JSONLimits()) throws(JSONError) {
        guard bytes.count <= limits.byteCountMax else {
            throw JSONError(rule: .tooLong(bytes: bytes.count, limit: limits.byteCountMax), offset: limits.byteCountMax)
        }
        var reader = JSONReader(bytes: bytes, limits: limits)
        self = try reader.document()
    }
}

/// A recursive-descent reader; the recursion is as deep as `limits.depthMax` at most.
struct JSONReader {
    private let bytes: [UInt8]
    private let limits: JSONLimits
    private var offset = 0
    private var valueCount = 0

    init(bytes: [UInt8], limits: JSONLimits) {
        self.bytes = bytes
        self.limits = limits
    }

    mutating func document() throws(JSONError) -> JSONValue {
        let value = try value(depth: 0)
        skipSpace()
        guard offset == bytes.count else { throw error(.trailingBytes) }
        return value
    }

    private func error(_ rule: JSONError.Rule, at position: Int? = nil) -> JSONError {
        JSONError(rule: rule, offset: position ?? offset)
    }

    private mutating func skipSpace() {
        while offset < bytes.count {
            switch bytes[offset] {
            case 0x20, 0x09, 0x0a, 0x0d: offset += 1
            default: return
            }
        }
    }

    private func peek() throws(JSONError) -> UInt8 {
        guard offset < bytes.count else { throw error(.unexpectedEnd) }
        return bytes[offset]
    }

    private mutating func expect(_ byte: UInt8) throws(JSONError) {
        let found = try peek()
        guard found == byte else { throw error(.unexpectedByte(found)) }
        offset += 1
    }

    private mutating func expect(_ literal: StaticString, as value: JSONValue) throws(JSONError) -> JSONValue {
        for index in 0..<literal.utf8CodeUnitCount { try expect(literal.utf8Start[index]) }
        return value
    }

    private mutating func value(depth: Int) throws(JSONError) -> JSONValue {
        skipSpace()
        let first = try peek()
        valueCount += 1
        guard valueCount <= limits.valueCountMax else { throw error(.tooManyValues(limit: limits.valueCountMax)) }
        switch first {
        case UInt8(ascii: "{"), UInt8(ascii: "["):
            guard depth < limits.depthMax else { throw error(.tooDeep(limit: limits.depthMax)) }
            offset += 1
            return first == UInt8(ascii: "{") ? try object(depth: depth + 1) : try array(depth: depth + 1)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
        case UInt8(ascii: "t"): return try expect("true", as: .bool(true))
        case UInt8(ascii: "f"): return try expect("false", as: .bool(false))
        case UInt8(ascii: "n"): return try expect("null", as: .null)
        default: throw error(.unexpectedByte(first))
        }
    }

    private mutating func array(depth: Int) throws(JSONError) -> JSONValue {
        var elements: [JSONValue] = []
        skipSpace()
        if try peek() == UInt8(ascii: "]") {
            offset += 1
            return .array(elements)
        }
        while true {
            elements.append(try value(depth: depth))
            if try endsList(with: UInt8(ascii: "]")) { return .array(elements) }
        }
    }

    private mutating func object(depth: Int) throws(JSONError) -> JSONValue {
        var object = JSONObject()
        skipSpace()
        if try peek() == UInt8(ascii: "}") {
            offset += 1
            return .object(object)
        }
        while true {
            skipSpace()
            let start = offset
            let key = try string()
            skipSpace()
            try expect(UInt8(ascii: ":"))
            let value = try value(depth: depth)
            guard object.append(key: key, value: value) else { throw error(.duplicateKey(key), at: start) }
            if try endsList(with: UInt8(ascii: "}")) { return .object(object) }
        }
    }

    /// Takes the comma or the closing bracket after an element.
    private mutating func endsList(with close: UInt8) throws(JSONError) -> Bool {
        skipSpace()
        let byte = try peek()
        guard byte == close || byte == UInt8(ascii: ",") else { throw error(.unexpectedByte(byte)) }
        offset += 1
        return byte == close
    }

    // MARK: Numbers

    /// More digits than a double can need even as a decimal fraction in full.
    private static let numberBytesMax = 1100

    private mutating func number() throws(JSONError) -> JSONValue {
        let start = offset
        var isInteger = true
        if try peek() == UInt8(ascii: "-") { offset += 1 }
        let firstDigit = offset
        try digits()
        if bytes[firstDigit] == UInt8(ascii: "0") && offset - firstDigit > 1 {
            throw error(.malformedNumber, at: start)
        }
        if offset < bytes.count && bytes[offset] == UInt8(ascii: ".") {
            isInteger = false
            offset += 1
            try digits()
        }
        if offset < bytes.count && bytes[offset] | 0x20 == UInt8(ascii: "e") {
            isInteger = false
            offset += 1
            let sign = try peek()
            if sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") { offset += 1 }
            try digits()
        }
        guard offset - start <= Self.numberBytesMax else { throw error(.numberOutOfRange, at: start) }
        let text = String(decoding: bytes[start..<offset], as: UTF8.self)
        if isInteger, let value = Int64(text) { return .integer(value) }
        guard let value = Double(text), value.isFinite else { throw error(.numberOutOfRange, at: start) }
        return .number(value)
    }

    private mutating func digits() throws(JSONError) {
        let start = offset
        while offset < bytes.count, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[offset]) { offset += 1 }
        guard offset > start else { throw error(offset < bytes.count ? .malformedNumber : .unexpectedEnd) }
    }

    // MARK: Strings

    private mutating func string() throws(JSONError) -> JSONString {
        try expect(UInt8(ascii: "\""))
        let start = offset
        var text: [UInt8] = []
        var copied = offset
        while true {
            let byte = try peek()
            switch byte {
            case UInt8(ascii: "\""):
                text.append(contentsOf: bytes[copied..<offset])
                offset += 1
                guard Self.isValidUTF8(text) else { throw error(.invalidUTF8, at: start) }
                return JSONString(validated: text)
            case UInt8(ascii: "\\"):
                text.append(contentsOf: bytes[copied..<offset])
                try escape(into: &text)
                copied = offset
            case 0..<0x20: throw error(.unescapedControlCharacter)
            default: offset += 1
            }
        }
    }

    private mutating func escape(into text: inout [UInt8]) throws(JSONError) {
        let start = offset
        offset += 1
        let byte = try peek()
        offset += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0c)
        case UInt8(ascii: "n"): text.append(0x0a)
        case UInt8(ascii: "r"): text.append(0x0d)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "u"):
            let scalar = try unicodeScalar(start: start)
            text.append(contentsOf: Array(String(Character(scalar)).utf8))
        default: throw error(.malformedEscape, at: start)
        }
    }

    private mutating func unicodeScalar(start: Int) throws(JSONError) -> Unicode.Scalar {
        let high = try hexadecimal(start: start)
        if let scalar = Unicode.Scalar(high) { return scalar }
        guard (0xd800..<0xdc00).contains(high), offset + 1 < bytes.count, bytes[offset] == UInt8(ascii: "\\"),
            bytes[offset + 1] == UInt8(ascii: "u")
        else { throw error(.malformedEscape, at: start) }
        offset += 2
        let low = try hexadecimal(start: start)
        guard (0xdc00..<0xe000).contains(low),
            let scalar = Unicode.Scalar(0x10000 + (high - 0xd800) << 10 + (low - 0xdc00))
        else { throw error(.malformedEscape, at: start) }
        return scalar
    }

    private mutating func hexadecimal(start: Int) throws(JSONError) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            let byte = try peek()
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = value << 4 | UInt32(byte - UInt8(ascii: "0"))
            case UInt8(ascii: "a")...UInt8(ascii: "f"): value = value << 4 | UInt32(byte - UInt8(ascii: "a") + 10)
            case UInt8(ascii: "A")...UInt8(ascii: "F"): value = value << 4 | UInt32(byte - UInt8(ascii: "A") + 10)
            default: throw error(.malformedEscape, at: start)
            }
            offset += 1
        }
        return value
    }

    private static func isValidUTF8(_ bytes: [UInt8]) -> Bool {
        bytes.allSatisfy { $0 < 0x80 } || String(validating: bytes, as: UTF8.self) != nil
    }
}
