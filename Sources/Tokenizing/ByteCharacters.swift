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
}
