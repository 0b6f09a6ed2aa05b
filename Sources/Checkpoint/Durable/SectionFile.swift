import CSodium

/// A file of named byte sections that is one atomic unit: all sections of one state, or the whole state before.
///
/// Format: `magic`; section count u32 LE; per section: name length u16 LE, name, byte count u64 LE; then all bytes in
/// the same order; then BLAKE2b-256 of everything before it.
package enum SectionFile {
    /// The first bytes, with the format's version.
    package static let magic = Array("atoll sections 1".utf8)
    /// A state has fewer sections than this.
    package static let sectionCountMax = 4_096

    /// Writes the sections, atomically and durably. Names are unique and have at most 255 bytes.
    package static func write(_ sections: [(name: String, bytes: [UInt8])], to path: String) throws(FileError) {
        precondition(sections.count <= sectionCountMax, "a section file has at most \(sectionCountMax) sections")
        var header = magic
        withUnsafeBytes(of: UInt32(sections.count).littleEndian) { header.append(contentsOf: $0) }
        for section in sections {
            let name = Array(section.name.utf8)
            precondition(name.count <= 255, "a section's name has at most 255 bytes")
            withUnsafeBytes(of: UInt16(name.count).littleEndian) { header.append(contentsOf: $0) }
            header.append(contentsOf: name)
            withUnsafeBytes(of: UInt64(section.bytes.count).littleEndian) { header.append(contentsOf: $0) }
        }
        let pieces = [header] + sections.map(\.bytes)
        try DurableFile.write(pieces + [checksum(pieces)], to: path, mode: 0o600)
    }

    /// Reads the sections in order; nil if there is no such file. A torn, changed or foreign file is an error.
    package static func read(
        _ path: String, byteCountMax: Int
    ) throws(FileError) -> [(name: String, bytes: [UInt8])]? {
        guard let bytes = try DurableFile.read(path, byteCountMax: byteCountMax) else { return nil }
        guard let sections = decode(bytes) else {
            throw FileError("read", path, detail: "damaged, or not a state file of this version")
        }
        return sections
    }

    private static func checksum(_ pieces: [[UInt8]]) -> [UInt8] {
        let state = UnsafeMutableRawPointer.allocate(byteCount: crypto_generichash_blake2b_statebytes(), alignment: 64)
        defer { state.deallocate() }
        let opaque = OpaquePointer(state)
        crypto_generichash_blake2b_init(opaque, nil, 0, 32)
        for piece in pieces { crypto_generichash_blake2b_update(opaque, piece, UInt64(piece.count)) }
        var sum = [UInt8](repeating: 0, count: 32)
        crypto_generichash_blake2b_final(opaque, &sum, sum.count)
        return sum
    }

    /// Total: nil for whatever `write` did not write.
    static func decode(_ bytes: [UInt8]) -> [(name: String, bytes: [UInt8])]? {
        guard bytes.count >= magic.count + 4 + 32, bytes.starts(with: magic) else { return nil }
        let end = bytes.count - 32
        guard checksum([Array(bytes[..<end])]).elementsEqual(bytes[end...]) else { return nil }
        var offset = magic.count
        func number(_ width: Int) -> UInt64? {
            guard end - offset >= width else { return nil }
            defer { offset += width }
            return bytes[offset..<offset + width].reversed().reduce(0) { $0 << 8 | UInt64($1) }
        }
        guard let count = number(4), count <= UInt64(sectionCountMax) else { return nil }
        var index: [(name: String, count: Int)] = []
        for _ in 0..<count {
            guard let nameCount = number(2).map(Int.init), end - offset >= nameCount else { return nil }
            let name = String(decoding: bytes[offset..<offset + nameCount], as: UTF8.self)
            offset += nameCount
            guard let byteCount = number(8), byteCount <= UInt64(end) else { return nil }
            index.append((name, Int(byteCount)))
        }
        var sections: [(name: String, bytes: [UInt8])] = []
        for entry in index {
            guard end - offset >= entry.count else { return nil }
            sections.append((entry.name, Array(bytes[offset..<offset + entry.count])))
            offset += entry.count
        }
        return offset == end ? sections : nil
    }
}
