import JSONText

/// What is wrong with an index.
struct IndexDamage: Error, Hashable {
    let reason: String

    init(_ reason: String) { self.reason = reason }
}

/// Takes members of a JSON object of which nothing is certain.
struct IndexReader {
    private let object: JSONObject
    private let place: String

    init(_ value: JSONValue, place: String) throws(IndexDamage) {
        guard let object = value.object else { throw IndexDamage("\(place) is \(value.kind), not an object") }
        self.object = object
        self.place = place
    }

    /// Members.
    var count: Int { object.members.count }

    func value(_ key: JSONString) throws(IndexDamage) -> JSONValue {
        guard let value = object[key] else { throw IndexDamage("\(place) has no \"\(key)\"") }
        return value
    }

    func integer(_ key: JSONString, in range: ClosedRange<Int>) throws(IndexDamage) -> Int {
        guard let integer = try value(key).integer, range.contains(integer) else {
            throw IndexDamage("\"\(key)\" of \(place) is no integer in its range")
        }
        return integer
    }

    func text(_ key: JSONString) throws(IndexDamage) -> String {
        guard let text = try value(key).string else { throw IndexDamage("\"\(key)\" of \(place) is no string") }
        return text.string
    }

    func array(_ key: JSONString) throws(IndexDamage) -> [JSONValue] {
        guard let array = try value(key).array else { throw IndexDamage("\"\(key)\" of \(place) is no array") }
        return array
    }

    /// 32 bytes in hexadecimal.
    func hash(_ key: JSONString) throws(IndexDamage) -> [UInt8] {
        let digits = try text(key).utf8.map { hexadecimalDigits.firstIndex(of: $0) }
        guard digits.count == 64 else { throw IndexDamage("\"\(key)\" of \(place) is no hash") }
        var bytes: [UInt8] = []
        for pair in 0..<32 {
            guard let high = digits[2 * pair], let low = digits[2 * pair + 1] else {
                throw IndexDamage("\"\(key)\" of \(place) is no hash")
            }
            bytes.append(UInt8(high << 4 | low))
        }
        return bytes
    }
}

private let hexadecimalDigits = Array("0123456789abcdef".utf8)

/// Bytes in hexadecimal.
func hexadecimal(_ bytes: [UInt8]) -> String {
    String(
        decoding: bytes.flatMap { [hexadecimalDigits[Int($0 >> 4)], hexadecimalDigits[Int($0 & 15)]] }, as: UTF8.self)
}
