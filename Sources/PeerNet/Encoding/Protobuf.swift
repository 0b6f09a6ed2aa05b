/// Fields of a protobuf message whose bytes other implementations sign or compare, written in the order given.
/// By hand, because the generated code would bring all of Foundation into this module for a few small messages.
struct ProtobufWriter {
    /// The encoding so far.
    private(set) var bytes: [UInt8] = []

    /// Appends a length-delimited field.
    mutating func append(_ content: some Collection<UInt8>, field: UInt64) {
        Uvarint.append(field << 3 | 2, to: &bytes)
        Uvarint.append(UInt64(content.count), to: &bytes)
        bytes += content
    }

    /// Appends a varint field; all 64 bits are allowed.
    mutating func append(varint value: UInt64, field: UInt64) {
        Uvarint.append(field << 3, to: &bytes)
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(rest & 0x7f) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    /// Appends a fixed64 field.
    mutating func append(fixed64 value: UInt64, field: UInt64) {
        Uvarint.append(field << 3 | 1, to: &bytes)
        withUnsafeBytes(of: value.littleEndian) { bytes += $0 }
    }

    /// Makes room for so many more bytes.
    mutating func reserve(_ count: Int) { bytes.reserveCapacity(bytes.count + count) }
}

/// Reads the varint, fixed64 and length-delimited fields of a protobuf message and skips all others; total over any bytes.
struct ProtobufReader {
    /// The message ends inside a field, or holds a tag that protobuf does not define.
    struct Malformed: Error {}

    /// A field's value, of the kinds that libp2p's messages use.
    enum Value {
        case varint(UInt64)
        case fixed64(UInt64)
        case content(ArraySlice<UInt8>)
    }

    private var rest: ArraySlice<UInt8>

    /// Reads a whole message.
    init(_ bytes: some Collection<UInt8>) { rest = Array(bytes)[...] }

    /// Reads a whole message without copying it.
    init(_ bytes: [UInt8]) { rest = bytes[...] }

    /// Reads a whole message that lies inside another, without copying it.
    init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

    /// The next length-delimited field; nil at the end.
    mutating func next() throws(Malformed) -> (field: UInt64, content: ArraySlice<UInt8>)? {
        while let (field, value) = try nextField() {
            if case .content(let content) = value { return (field, content) }
        }
        return nil
    }

    /// The next varint, fixed64 or length-delimited field; nil at the end.
    mutating func nextField() throws(Malformed) -> (field: UInt64, value: Value)? {
        while !rest.isEmpty {
            let tag = try varint()
            guard tag >> 3 > 0 else { throw Malformed() }
            switch tag & 7 {
            case 0: return (tag >> 3, .varint(try varint()))
            case 1: return (tag >> 3, .fixed64(try take(8).reversed().reduce(0) { $0 << 8 | UInt64($1) }))
            case 2:
                let length = try varint()
                guard length <= UInt64(rest.count) else { throw Malformed() }
                return (tag >> 3, .content(try take(Int(length))))
            case 5: _ = try take(4)
            default: throw Malformed()
            }
        }
        return nil
    }

    private mutating func take(_ count: Int) throws(Malformed) -> ArraySlice<UInt8> {
        guard count <= rest.count else { throw Malformed() }
        defer { rest = rest.dropFirst(count) }
        return rest.prefix(count)
    }

    /// A protobuf varint: up to ten bytes, longer than shortest forms included.
    private mutating func varint() throws(Malformed) -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 70, by: 7) {
            guard let byte = rest.popFirst() else { throw Malformed() }
            value |= UInt64(byte & 0x7f) << shift
            if byte & 0x80 == 0 { return value }
        }
        throw Malformed()
    }
}
