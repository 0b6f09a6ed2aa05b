/// One atomic unit of a node's local state: named sections of bytes in one checksummed file.
///
/// Layout, little-endian: magic `ATOLLSNP`, u32 version, u32 section count; per section u16 name length, name, u64 byte
/// count, bytes; at the end BLAKE2b-256 over all that precedes. The file is replaced as a whole, so a reader finds the
/// last snapshot that was written completely, or this one.
package struct Snapshot: Hashable, Sendable {
    /// One named byte string.
    package struct Section: Hashable, Sendable {
        /// The name, unique in the snapshot.
        package var name: String
        /// The bytes.
        package var bytes: [UInt8]

        /// Wraps the two.
        package init(name: String, bytes: [UInt8]) {
            self.name = name
            self.bytes = bytes
        }
    }

    /// The sections, in file order.
    package private(set) var sections: [Section]

    /// Wraps sections.
    /// - Precondition: at most `sectionCountMax`, names unique and of 1 to 255 bytes.
    package init(sections: [Section]) {
        precondition(sections.count <= Self.sectionCountMax, "a snapshot has at most \(Self.sectionCountMax) sections")
        precondition(
            Set(sections.map(\.name)).count == sections.count
                && sections.allSatisfy { (1...Self.nameBytesMax).contains($0.name.utf8.count) },
            "section names are unique and have 1 to 255 bytes")
        self.sections = sections
    }

    /// The bytes of a section, if it is there.
    package subscript(_ name: String) -> [UInt8]? { sections.first { $0.name == name }?.bytes }

    /// More sections than a model can have fragments, moments and records, few enough to hold in a list.
    package static let sectionCountMax = 65_536
    private static let nameBytesMax = 255
    private static let magic = Array("ATOLLSNP".utf8)
    private static let version: UInt32 = 1
    private static let checksumBytes = 32

    /// Replaces the file at `path`, atomically and durably; the old one survives any failure.
    package func write(to path: String, layer: any FileLayer = SystemFiles()) throws(FileError) {
        var writer = try DurableWriter(path: path, layer: layer)
        var checksum = Checksum(byteCount: Self.checksumBytes)
        var header = Self.magic + Self.version.littleEndianBytes + UInt32(sections.count).littleEndianBytes
        for section in sections {
            let name = Array(section.name.utf8)
            header += UInt16(name.count).littleEndianBytes + name + UInt64(section.bytes.count).littleEndianBytes
            checksum.update(header)
            try writer.append(header)
            section.bytes.withUnsafeBytes { checksum.update($0) }
            try writer.append(section.bytes)
            header = []
        }
        checksum.update(header)
        try writer.append(header + checksum.finalize())
        try writer.commit()
    }

    /// Reads the file at `path`, of at most `byteCountMax` bytes.
    package init(readingFrom path: String, byteCountMax: Int = 1 << 36) throws(CheckpointError) {
        let bytes: [UInt8]
        do { bytes = try DurableFile.read(path, byteCountMax: byteCountMax) } catch { throw .file(error) }
        do { self = try Snapshot(decoding: bytes) } catch { throw .damaged(path: path, reason: error.reason) }
    }

    /// Why bytes are no snapshot.
    struct Malformed: Error { var reason: String }

    /// Reads the bytes of a snapshot file; total.
    init(decoding bytes: [UInt8]) throws(Malformed) {
        guard bytes.starts(with: Self.magic) else { throw Malformed(reason: "it is not a snapshot of atoll") }
        let end = bytes.count - Self.checksumBytes
        guard end >= Self.magic.count + 8 else { throw Malformed(reason: "it ends too early") }
        var checksum = Checksum(byteCount: Self.checksumBytes)
        bytes.withUnsafeBytes { checksum.update(UnsafeRawBufferPointer(rebasing: $0[..<end])) }
        guard checksum.finalize() == Array(bytes[end...]) else { throw Malformed(reason: "the checksum is wrong") }
        var reader = ByteReader(bytes: bytes[..<end], offset: Self.magic.count)
        guard reader.integer(UInt32.self) == Self.version else {
            throw Malformed(reason: "it was written by another version of atoll")
        }
        guard let count = reader.integer(UInt32.self), count <= Self.sectionCountMax else {
            throw Malformed(reason: "it has too many sections")
        }
        var sections: [Section] = []
        var names: Set<String> = []
        for _ in 0..<count {
            guard let nameLength = reader.integer(UInt16.self), (1...Self.nameBytesMax).contains(Int(nameLength)),
                let nameBytes = reader.bytes(Int(nameLength)), let name = String(validating: nameBytes, as: UTF8.self),
                let length = reader.integer(UInt64.self), let size = Int(exactly: length),
                let content = reader.bytes(size), names.insert(name).inserted
            else { throw Malformed(reason: "a section is malformed") }
            sections.append(Section(name: name, bytes: Array(content)))
        }
        guard reader.isAtEnd else { throw Malformed(reason: "something follows the last section") }
        self.sections = sections
    }
}

/// Takes values off the front of bytes; every method gives nil, and takes nothing, where too few are left.
struct ByteReader {
    let bytes: ArraySlice<UInt8>
    private(set) var offset: Int

    init(bytes: ArraySlice<UInt8>, offset: Int) {
        self.bytes = bytes
        self.offset = offset
    }

    var isAtEnd: Bool { offset == bytes.endIndex }

    mutating func bytes(_ count: Int) -> ArraySlice<UInt8>? {
        guard count >= 0, count <= bytes.endIndex - offset else { return nil }
        defer { offset += count }
        return bytes[offset..<(offset + count)]
    }

    mutating func integer<Value: FixedWidthInteger>(_: Value.Type) -> Value? {
        bytes(MemoryLayout<Value>.size).flatMap { Value(littleEndianBytes: $0) }
    }
}
