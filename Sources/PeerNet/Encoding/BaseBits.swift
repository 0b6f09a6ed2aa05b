/// Encodings that cut bytes into groups of bits: RFC 4648 base32 (lower case) and base64url, both without padding.
struct BaseBits {
    /// Lower-case base32 of CIDs and onion addresses.
    static let base32 = BaseBits(bits: 5, alphabet: "abcdefghijklmnopqrstuvwxyz234567")
    /// base64url of certificate hashes.
    static let base64url = BaseBits(
        bits: 6, alphabet: "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")

    private let bits: Int
    private let alphabet: [UInt8]

    private init(bits: Int, alphabet: String) {
        self.bits = bits
        self.alphabet = Array(alphabet.utf8)
    }

    /// Encodes without padding.
    func encode(_ bytes: some Sequence<UInt8>) -> String {
        var text: [UInt8] = []
        var accumulator = 0
        var held = 0
        for byte in bytes {
            accumulator = accumulator << 8 | Int(byte)
            held += 8
            while held >= bits {
                held -= bits
                text.append(alphabet[accumulator >> held & (1 << bits - 1)])
                accumulator &= 1 << held - 1
            }
        }
        if held > 0 { text.append(alphabet[accumulator << (bits - held) & (1 << bits - 1)]) }
        return String(decoding: text, as: UTF8.self)
    }

    /// Decodes the canonical form only: no padding, unused trailing bits zero and fewer than one character.
    func decode(_ text: some Collection<UInt8>) -> [UInt8]? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count * bits / 8)
        var accumulator = 0
        var held = 0
        for character in text {
            guard let digit = alphabet.firstIndex(of: character) else { return nil }
            accumulator = accumulator << bits | digit
            held += bits
            if held >= 8 {
                held -= 8
                bytes.append(UInt8(accumulator >> held))
                accumulator &= 1 << held - 1
            }
        }
        return held < bits && accumulator == 0 ? bytes : nil
    }
}
