/// base58btc, the text form of peer ids and invites: no checksum, each leading zero byte becomes `1`.
package enum Base58 {
    /// Longest input of either direction unless a caller asks for more; peer ids need 64, and the cost is quadratic.
    package static let countMax = 128

    private static let alphabet = Array("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz".utf8)

    /// Whether a character is of the alphabet.
    package static func contains(_ character: Character) -> Bool {
        character.asciiValue.map(alphabet.contains) ?? false
    }

    /// Encodes at most `countMax` bytes.
    package static func encode(_ bytes: [UInt8], countMax: Int = countMax) -> String {
        precondition(bytes.count <= countMax, "base58 is for short texts")
        let zeros = bytes.prefix { $0 == 0 }.count
        var digits: [UInt8] = []  // least significant first
        for byte in bytes.dropFirst(zeros) {
            var carry = Int(byte)
            for index in digits.indices {
                carry += Int(digits[index]) << 8
                digits[index] = UInt8(carry % 58)
                carry /= 58
            }
            while carry > 0 {
                digits.append(UInt8(carry % 58))
                carry /= 58
            }
        }
        let text = [UInt8](repeating: alphabet[0], count: zeros) + digits.reversed().map { alphabet[Int($0)] }
        return String(decoding: text, as: UTF8.self)
    }

    /// Decodes at most `countMax` characters; nil for more, or for a character outside the alphabet.
    package static func decode(_ text: some Collection<UInt8>, countMax: Int = countMax) -> [UInt8]? {
        guard text.count <= countMax else { return nil }
        let zeros = text.prefix { $0 == alphabet[0] }.count
        var bytes: [UInt8] = []  // least significant first
        for character in text.dropFirst(zeros) {
            guard let digit = alphabet.firstIndex(of: character) else { return nil }
            var carry = digit
            for index in bytes.indices {
                carry += Int(bytes[index]) * 58
                bytes[index] = UInt8(carry & 255)
                carry >>= 8
            }
            while carry > 0 {
                bytes.append(UInt8(carry & 255))
                carry >>= 8
            }
        }
        return [UInt8](repeating: 0, count: zeros) + bytes.reversed()
    }
}
