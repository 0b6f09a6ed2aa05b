extension [UInt8] {
    /// Appends an integer, least significant byte first.
    mutating func append(littleEndian value: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
    }

    /// Appends the last step's norm, then the largest gradient's, as float64.
    mutating func append(littleEndian drift: OuterDrift) {
        for value in [drift.lastStep, drift.largestGradient] {
            Swift.withUnsafeBytes(of: value.bitPattern.littleEndian) { append(contentsOf: $0) }
        }
    }
}

/// Reads bytes from the front; every read is nil where too few are left.
struct ByteReader {
    private let bytes: [UInt8]
    private(set) var offset = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// The number of bytes not yet read.
    var remaining: Int { bytes.count - offset }

    /// A little-endian 32-bit integer.
    mutating func word() -> UInt32? {
        guard remaining >= 4 else { return nil }
        defer { offset += 4 }
        return bytes.withUnsafeBytes { UInt32(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: UInt32.self)) }
    }

    /// A drift; nil also where it is none.
    mutating func drift() -> OuterDrift? {
        guard remaining >= 16 else { return nil }
        let values = (0..<2).map { index in
            bytes.withUnsafeBytes {
                Double(
                    bitPattern: UInt64(
                        littleEndian: $0.loadUnaligned(fromByteOffset: offset + 8 * index, as: UInt64.self)))
            }
        }
        offset += 16
        guard values.allSatisfy({ $0.isFinite && $0.sign == .plus }) else { return nil }
        return OuterDrift(lastStep: values[0], largestGradient: values[1])
    }

    /// Some raw bytes.
    mutating func take(_ count: Int) -> [UInt8]? {
        guard count >= 0, remaining >= count else { return nil }
        defer { offset += count }
        return Array(bytes[offset..<offset + count])
    }

    /// Little-endian float32 values.
    mutating func floats(_ count: Int) -> [Float]? {
        guard count >= 0, count <= remaining / 4 else { return nil }
        defer { offset += 4 * count }
        return [Float](unsafeUninitializedCapacity: count) { values, initialized in
            bytes.withUnsafeBytes { source in
                UnsafeMutableRawBufferPointer(values).copyMemory(
                    from: UnsafeRawBufferPointer(rebasing: source[offset..<offset + 4 * count]))
            }
            initialized = count
        }
    }
}
