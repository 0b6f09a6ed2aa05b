import JSONText

/// The one-to-one map from bytes to printable characters under which byte-level tokenizers store their vocabularies.
///
/// Bytes 33-126, 161-172 and 174-255 stand for the scalar of the same number; the other 68, in order, for U+0100,
/// U+0101 and so on (space is U+0120). It is the map of GPT-2, used by every byte-level BPE since.
enum ByteCharacters {
    /// The scalar of each byte.
    static let scalars: [Unicode.Scalar] = {
        var next: UInt32 = 0x100
        return (UInt8.min...UInt8.max).map { byte in
            switch byte {
            case 33...126, 161...172, 174...255: return Unicode.Scalar(byte)
            default:
                defer { next += 1 }
                guard let scalar = Unicode.Scalar(next) else { preconditionFailure("U+0100...U+0143 are scalars") }
                return scalar
            }
        }
    }()

    /// The one-character vocabulary entry of each byte.
    static let names: [JSONString] = scalars.map { JSONString(String(Character($0))) }

    /// The byte of each scalar below U+0144, or -1.
    private static let bytes: [Int16] = {
        var bytes = [Int16](repeating: -1, count: 0x144)
        for (byte, scalar) in scalars.enumerated() { bytes[Int(scalar.value)] = Int16(byte) }
        return bytes
    }()

    /// The bytes in the order of their characters, in which trained vocabularies begin.
    static let bytesInCharacterOrder: [UInt8] = bytes.compactMap { UInt8(exactly: $0) }

    /// The bytes that a vocabulary entry stands for; nil if a character is not of the map.
    static func bytes(ofName name: JSONString) -> [UInt8]? {
        var result: [UInt8] = []
        result.reserveCapacity(name.bytes.count)
        var index = 0
        while index < name.bytes.count {
            let first = name.bytes[index]
            var scalar = Int(first)
            if first >= 0x80 {
                // The map's scalars take two bytes at most.
                guard first < 0xe0, index + 1 < name.bytes.count else { return nil }
                scalar = Int(first & 0x1f) << 6 | Int(name.bytes[index + 1] & 0x3f)
                index += 1
            }
            index += 1
            guard scalar < bytes.count, let byte = UInt8(exactly: bytes[scalar]) else { return nil }
            result.append(byte)
        }
        return result
    }
}
