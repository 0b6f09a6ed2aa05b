import CSodium
import Glibc

/// An append-only file of records: a record that `append` returned for survives any crash, a torn tail is cut on opening.
///
/// Format: the 16 bytes of `magic`; then per record: length u32 LE, BLAKE2b-128 of (length, payload), payload.
package struct Journal: ~Copyable {
    /// The first bytes of every journal, with the format's version.
    package static let magic = Array("atoll journal 1\n".utf8)
    /// No record is longer.
    package static let recordBytesMax = 1 << 20

    private static let headerBytes = 4 + 16
    private let file: FileHandle
    /// Bytes that are certainly good; everything behind them is cut off before the next append.
    private var goodBytes: Int
    private var tailIsDirty = false

    /// Opens or creates a journal and hands every record to `replay`, in order.
    package init(path: String, byteCountMax: Int = 1 << 32, replay: ([UInt8]) -> Void) throws(FileError) {
        let existing = try DurableFile.read(path, byteCountMax: byteCountMax)
        if let existing, existing.count >= Self.magic.count, !existing.starts(with: Self.magic) {
            throw FileError("open", path, detail: "not a journal of this version")
        }
        var bytes = existing ?? []
        if bytes.count < Self.magic.count {
            // New, or the machine died while it was being created: nothing was ever appended.
            try DurableFile.write(Self.magic, to: path, mode: 0o600)
            bytes = Self.magic
        }
        let file = try FileHandle(path, flags: O_RDWR | O_CLOEXEC)
        let goodBytes = Self.scan(bytes, replay: replay)
        try Self.cut(file, to: goodBytes)
        self.file = file
        self.goodBytes = goodBytes
    }

    /// Reads the good records of `bytes`; returns where they end.
    private static func scan(_ bytes: [UInt8], replay: ([UInt8]) -> Void) -> Int {
        var offset = magic.count
        while bytes.count - offset >= headerBytes {
            let length = bytes[offset..<offset + 4].reversed().reduce(0) { $0 << 8 | Int($1) }
            let start = offset + headerBytes
            guard length <= recordBytesMax, length <= bytes.count - start else { break }
            let payload = Array(bytes[start..<start + length])
            guard checksum(payload).elementsEqual(bytes[offset + 4..<start]) else { break }
            replay(payload)
            offset = start + length
        }
        return offset
    }

    private static func checksum(_ payload: [UInt8]) -> [UInt8] {
        let length = withUnsafeBytes(of: UInt32(payload.count).littleEndian) { Array($0) }
        var sum = [UInt8](repeating: 0, count: 16)
        crypto_generichash_blake2b(&sum, sum.count, payload, UInt64(payload.count), length, length.count)
        return sum
    }

    private static func cut(_ file: borrowing FileHandle, to byteCount: Int) throws(FileError) {
        guard ftruncate(file.descriptor, off_t(byteCount)) == 0,
            lseek(file.descriptor, off_t(byteCount), SEEK_SET) == off_t(byteCount)
        else { throw FileError("repair", file.path) }
    }

    /// Appends records and returns once they are on the device; on failure none of them counts.
    package mutating func append(_ records: [[UInt8]]) throws(FileError) {
        if tailIsDirty { try Self.cut(file, to: goodBytes) }
        var bytes: [UInt8] = []
        for record in records {
            precondition(record.count <= Self.recordBytesMax, "a journal record may not exceed \(Self.recordBytesMax) bytes")
            withUnsafeBytes(of: UInt32(record.count).littleEndian) { bytes.append(contentsOf: $0) }
            bytes.append(contentsOf: Self.checksum(record))
            bytes.append(contentsOf: record)
        }
        tailIsDirty = true
        try file.write(bytes)
        try file.synchronize()
        tailIsDirty = false
        goodBytes += bytes.count
    }

    /// The size of the file's good part in bytes.
    package var byteCount: Int { goodBytes }

    /// Replaces the journal at `path` by one with only `records`, atomically, and opens it.
    package static func compact(path: String, keeping records: [[UInt8]]) throws(FileError) -> Journal {
        var bytes = magic
        for record in records {
            withUnsafeBytes(of: UInt32(record.count).littleEndian) { bytes.append(contentsOf: $0) }
            bytes.append(contentsOf: checksum(record))
            bytes.append(contentsOf: record)
        }
        try DurableFile.write(bytes, to: path, mode: 0o600)
        return try Journal(path: path) { _ in }
    }
}
