/// The multiformats unsigned varint: at most 9 bytes (63 bits), shortest form only.
enum Uvarint {
    /// Longest encoding.
    static let byteCountMax = 9

    /// What a prefix of some bytes holds.
    enum Prefix: Equatable {
        /// A value and its encoded length.
        case value(UInt64, byteCount: Int)
        /// The bytes end inside the number.
        case incomplete
        /// Overlong, or not the shortest form.
        case malformed
    }

    /// Appends the encoding of `value`, which must be below 2^63.
    static func append(_ value: UInt64, to bytes: inout [UInt8]) {
        precondition(value < 1 << 63, "a uvarint holds 63 bits")
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(rest & 0x7f) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    /// The encoding of `value`, which must be below 2^63.
    static func encode(_ value: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        append(UInt64(value), to: &bytes)
        return bytes
    }

    /// Reads a number from the start of `bytes`.
    static func read(_ bytes: some Sequence<UInt8>) -> Prefix {
        var value: UInt64 = 0
        var count = 0
        for byte in bytes {
            if count == byteCountMax { return .malformed }
            value |= UInt64(byte & 0x7f) << UInt64(7 * count)
            count += 1
            if byte & 0x80 == 0 {
                return byte == 0 && count > 1 ? .malformed : .value(value, byteCount: count)
            }
        }
        return count == byteCountMax ? .malformed : .incomplete
    }
}
