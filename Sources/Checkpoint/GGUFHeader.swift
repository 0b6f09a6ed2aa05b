/// The first part of a GGUF file (version 3): metadata and the places of the tensors. Little-endian throughout.
struct GGUFHeader {
    /// A metadata value, of the kinds that a model needs.
    enum Value: Hashable {
        case uint32(UInt32)
        case float32(Float)
        case bool(Bool)
        case string([UInt8])
        case strings([[UInt8]])
        case int32s([Int32])
    }

    /// One tensor.
    struct Tensor: Hashable {
        var name: String
        /// Dimensions, slowest first, as everywhere in this project; the file has them the other way round.
        var shape: [Int]
        var type: FloatType

        var byteCount: Int { shape.reduce(type.byteCount, *) }
    }

    /// Tensors start at multiples of this.
    static let alignment = 32

    private(set) var metadata: [(key: String, value: Value)] = []
    private(set) var tensors: [Tensor] = []

    mutating func add(_ key: String, _ value: Value) { metadata.append((key, value)) }
    mutating func add(_ tensor: Tensor) { tensors.append(tensor) }

    /// The number of zeros after `count` bytes up to the next multiple of the alignment.
    static func padding(after count: Int) -> Int { (alignment - count % alignment) % alignment }

    /// The bytes up to the first tensor, padding included.
    var encoded: [UInt8] {
        var bytes: [UInt8] = Array("GGUF".utf8) + UInt32(3).littleEndianBytes
        bytes += UInt64(tensors.count).littleEndianBytes + UInt64(metadata.count).littleEndianBytes
        for (key, value) in metadata {
            Self.append(Array(key.utf8), to: &bytes)
            Self.append(value, to: &bytes)
        }
        var offset = 0
        for tensor in tensors {
            Self.append(Array(tensor.name.utf8), to: &bytes)
            bytes += UInt32(tensor.shape.count).littleEndianBytes
            for dimension in tensor.shape.reversed() { bytes += UInt64(dimension).littleEndianBytes }
            bytes += Self.number(of: tensor.type).littleEndianBytes + UInt64(offset).littleEndianBytes
            offset += tensor.byteCount
            offset += Self.padding(after: offset)
        }
        return bytes + Array(repeating: 0, count: Self.padding(after: bytes.count))
    }

    private static func number(of type: FloatType) -> UInt32 {
        switch type {
        case .float32: 0
        case .float16: 1
        case .bfloat16: 30
        }
    }

    private static func append(_ string: [UInt8], to bytes: inout [UInt8]) {
        bytes += UInt64(string.count).littleEndianBytes
        bytes += string
    }

    private static func append(_ value: Value, to bytes: inout [UInt8]) {
        switch value {
        case .uint32(let value): bytes += UInt32(4).littleEndianBytes + value.littleEndianBytes
        case .float32(let value): bytes += UInt32(6).littleEndianBytes + value.bitPattern.littleEndianBytes
        case .bool(let value): bytes += UInt32(7).littleEndianBytes + [value ? 1 : 0]
        case .string(let value):
            bytes += UInt32(8).littleEndianBytes
            append(value, to: &bytes)
        case .strings(let values):
            bytes += UInt32(9).littleEndianBytes + UInt32(8).littleEndianBytes
            bytes += UInt64(values.count).littleEndianBytes
            for value in values { append(value, to: &bytes) }
        case .int32s(let values):
            bytes += UInt32(9).littleEndianBytes + UInt32(5).littleEndianBytes
            bytes += UInt64(values.count).littleEndianBytes
            for value in values { bytes += value.littleEndianBytes }
        }
    }
}
