/// How many bytes a stored id takes; ids are little-endian.
enum TokenWidth: Int, Sendable {
    case two = 2
    case four = 4

    init(vocabularySize: Int) { self = vocabularySize <= 1 << 16 ? .two : .four }

    /// Appends ids of the vocabulary.
    func append(_ ids: [Int32], to bytes: inout [UInt8]) {
        let start = bytes.count
        bytes.append(contentsOf: repeatElement(0, count: ids.count * rawValue))
        bytes.withUnsafeMutableBytes { raw in
            switch self {
            case .two:
                for (index, id) in ids.enumerated() {
                    raw.storeBytes(
                        of: UInt16(truncatingIfNeeded: id).littleEndian, toByteOffset: start + 2 * index,
                        as: UInt16.self)
                }
            case .four:
                for (index, id) in ids.enumerated() {
                    raw.storeBytes(of: id.littleEndian, toByteOffset: start + 4 * index, as: Int32.self)
                }
            }
        }
    }

    /// Appends the ids that some bytes hold.
    func decode(_ raw: UnsafeRawBufferPointer, into ids: inout [Int32]) {
        switch self {
        case .two:
            for offset in stride(from: 0, to: raw.count - 1, by: 2) {
                ids.append(Int32(UInt16(littleEndian: raw.loadUnaligned(fromByteOffset: offset, as: UInt16.self))))
            }
        case .four:
            for offset in stride(from: 0, to: raw.count - 3, by: 4) {
                ids.append(Int32(littleEndian: raw.loadUnaligned(fromByteOffset: offset, as: Int32.self)))
            }
        }
    }
}
