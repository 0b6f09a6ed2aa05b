/// A protobuf message taken apart by field number: the checker's own reader, apart from the generated code.
///
/// It knows what the swarm's schema uses: varints, byte strings and nested messages; a float is skipped over.
struct WireFields: Sendable {
    private enum Value: Sendable {
        case number(UInt64)
        case bytes([UInt8])
    }

    private var fields: [(field: Int, value: Value)] = []

    /// Takes bytes apart; nil if they are no protobuf message.
    init?(_ bytes: [UInt8]) {
        var offset = 0
        while offset < bytes.count {
            guard let tag = Self.varint(bytes, &offset) else { return nil }
            let field = Int(tag >> 3)
            switch tag & 7 {
            case 0:
                guard let number = Self.varint(bytes, &offset) else { return nil }
                fields.append((field, .number(number)))
            case 2:
                guard let count = Self.varint(bytes, &offset), count <= UInt64(bytes.count - offset) else { return nil }
                fields.append((field, .bytes(Array(bytes[offset..<offset + Int(count)]))))
                offset += Int(count)
            case 1: offset += 8
            case 5: offset += 4
            default: return nil
            }
        }
        guard offset == bytes.count else { return nil }
    }

    private static func varint(_ bytes: [UInt8], _ offset: inout Int) -> UInt64? {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 64, by: 7) {
            guard offset < bytes.count else { return nil }
            let byte = bytes[offset]
            offset += 1
            value |= UInt64(byte & 0x7f) << shift
            if byte < 0x80 { return value }
        }
        return nil
    }

    /// The last number of a field; 0 if it is not there, as proto3 has it.
    func number(_ field: Int) -> UInt64 {
        for entry in fields.reversed() where entry.field == field {
            if case .number(let number) = entry.value { return number }
        }
        return 0
    }

    /// All byte strings of a field.
    func all(_ field: Int) -> [[UInt8]] {
        fields.compactMap { entry in
            guard entry.field == field, case .bytes(let bytes) = entry.value else { return nil }
            return bytes
        }
    }

    /// The last byte string of a field; empty if it is not there.
    func bytes(_ field: Int) -> [UInt8] { all(field).last ?? [] }

    /// The number of the first byte-string field in a range: which message of a oneof is set.
    func oneOf(_ range: ClosedRange<Int>) -> Int? {
        fields.first { entry in
            guard range.contains(entry.field), case .bytes = entry.value else { return false }
            return true
        }?.field
    }
}
