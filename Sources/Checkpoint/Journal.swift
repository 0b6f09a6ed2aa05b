/// An append-only file of records: what `append` has returned for is never lost, and what was torn by a crash before that
/// is cut off at the next opening.
///
/// Layout, little-endian: magic `ATOLLJNL`, u32 version, 16 random bytes that key the checksums, BLAKE2b-128 (keyed) over
/// these. Then frames, one per
/// `append`, each made durable by one fsync: u32 magic, u32 byte count, BLAKE2b-128 (keyed) over the frame's offset in the
/// file, byte count and content; the content is records of u32 byte count and bytes. A key of its own per file means that
/// a record, which a peer may have made, can never pass for a frame.
///
/// A bad frame at the end is a torn append, since nothing follows it; a bad frame that a good one follows is damage of
/// what was durable once, and opening refuses it instead of cutting records off.
package final class Journal {
    /// The file.
    package let path: String
    private let layer: any FileLayer
    private let descriptor: Int32
    private let key: [UInt8]
    /// The length of the header and all good frames.
    private var length: Int
    /// The error after which the state of the file is not known: nothing more is appended before it is opened again.
    private var failure: FileError?

    static let magic = Array("ATOLLJNL".utf8)
    static let version: UInt32 = 1
    static let keyBytes = 16
    static let headerBytes = 8 + 4 + keyBytes + checksumBytes
    static let frameMagic: UInt32 = 0x4c4e_4a41
    static let checksumBytes = 16
    static let frameHeaderBytes = 4 + 4 + checksumBytes
    /// The most bytes of one frame: an `append` of more is refused.
    package static let frameBytesMax = 64 << 20

    private init(path: String, layer: any FileLayer, descriptor: Int32, key: [UInt8], length: Int) {
        self.path = path
        self.layer = layer
        self.descriptor = descriptor
        self.key = key
        self.length = length
    }

    deinit { layer.close(descriptor) }

    /// What opening found.
    package struct Opened {
        /// The journal, ready to append.
        package let journal: Journal
        /// The records, in the order of appending.
        package let records: [[UInt8]]
        /// Bytes of a torn append that were cut off.
        package let tornBytes: Int
    }

    /// Opens the journal at `path`, or starts an empty one.
    package static func open(
        _ path: String, byteCountMax: Int = 1 << 32, layer: any FileLayer = SystemFiles()
    ) throws(CheckpointError) -> Opened {
        do {
            let bytes: [UInt8]
            do { bytes = try DurableFile.read(path, byteCountMax: byteCountMax) } catch {
                guard error.reason.name == "ENOENT" else { throw error }
                return Opened(
                    journal: try create(path, records: [], layer: layer), records: [], tornBytes: 0)
            }
            return try open(path, bytes: bytes, layer: layer)
        } catch let error as FileError {
            throw .file(error)
        } catch let error as CheckpointError {
            throw error
        } catch { preconditionFailure("opening a journal must throw one of the two errors above") }
    }

    private static func open(_ path: String, bytes: [UInt8], layer: any FileLayer) throws -> Opened {
        guard bytes.count >= headerBytes, bytes.starts(with: magic) else {
            throw CheckpointError.damaged(path: path, reason: "it is not a journal of atoll")
        }
        guard UInt32(littleEndianBytes: bytes[8..<12]) == version else {
            throw CheckpointError.damaged(path: path, reason: "it was written by another version of atoll")
        }
        let key = Array(bytes[12..<(12 + keyBytes)])
        guard header(key: key) == Array(bytes[..<headerBytes]) else {
            throw CheckpointError.damaged(path: path, reason: "its header does not match its checksum")
        }
        let (records, length) = frames(of: bytes, key: key)
        if hasFrame(in: bytes, after: length, key: key) {
            throw CheckpointError.damaged(
                path: path, reason: "the record at byte \(length) does not match its checksum")
        }
        let descriptor = try layer.open(path, .append)
        let journal = Journal(path: path, layer: layer, descriptor: descriptor, key: key, length: length)
        if length < bytes.count { try layer.truncate(descriptor, to: length, path: path) }
        // A frame that was written but not forced to the device before a kill is given out as committed from now on.
        try layer.sync(descriptor, path: path)
        return Opened(journal: journal, records: records, tornBytes: bytes.count - length)
    }

    /// Replaces the journal at `path` by one that holds `records`, atomically: for compaction. Journals that were open on
    /// the path must not be used any more.
    package static func create(
        _ path: String, records: [[UInt8]], layer: any FileLayer = SystemFiles()
    ) throws(FileError) -> Journal {
        let key = Checksum.randomKey(byteCount: keyBytes)
        var bytes = header(key: key)
        var rest = records[...]
        while !rest.isEmpty {
            // As many records per frame as fit, at least one.
            var size = 0
            let part = rest.prefix { record in
                size += record.count + 4
                return size <= frameBytesMax
            }
            let taken = part.isEmpty ? rest.prefix(1) : part
            bytes += try frame(Array(taken), at: bytes.count, key: key, path: path)
            rest = rest.dropFirst(taken.count)
        }
        // The file comes into being as a whole, so nothing of these frames can be torn: the empty one behind them makes
        // every bad one among them damage, by the rule for what a good frame follows.
        if !records.isEmpty { bytes += try frame([], at: bytes.count, key: key, path: path) }
        try DurableFile.write(bytes, to: path, layer: layer)
        let descriptor = try layer.open(path, .append)
        return Journal(path: path, layer: layer, descriptor: descriptor, key: key, length: bytes.count)
    }

    /// Appends records as one unit: when this returns, all of them are on the device; if it throws, none of them is in the
    /// journal, and the next opening finds none, or all, where the system could not tell whether they arrived.
    package func append(_ records: [[UInt8]]) throws(FileError) {
        if let failure { throw failure }
        guard !records.isEmpty else { return }
        let frame = try Self.frame(records, at: length, key: key, path: path)
        var thrown: FileError?
        frame.withUnsafeBytes { bytes in
            do throws(FileError) {
                try layer.writeAll(descriptor, bytes, path: path)
            } catch {
                thrown = error
            }
        }
        if let thrown {
            // What was written of the frame goes, so that the next append starts where readers expect it.
            do { try layer.truncate(descriptor, to: length, path: path) } catch { failure = error }
            throw thrown
        }
        do { try layer.sync(descriptor, path: path) } catch {
            // After a failed fsync the kernel may have dropped the pages: only a new opening tells what is there.
            failure = error
            throw error
        }
        length += frame.count
    }

    /// The bytes that the journal has on the device.
    package var byteCount: Int { length }

    // MARK: Frames

    private static func header(key: [UInt8]) -> [UInt8] {
        let start = magic + version.littleEndianBytes + key
        var checksum = Checksum(byteCount: checksumBytes, key: key)
        checksum.update(start)
        return start + checksum.finalize()
    }

    private static func frame(
        _ records: [[UInt8]], at offset: Int, key: [UInt8], path: String
    ) throws(FileError) -> [UInt8] {
        let size = records.reduce(0) { $0 + $1.count + 4 }
        guard size <= frameBytesMax else { throw FileError(.write, path, errno: SystemErrorNumber.tooBig.number) }
        var content: [UInt8] = []
        content.reserveCapacity(size)
        for record in records { content += UInt32(record.count).littleEndianBytes + record }
        return frameMagic.littleEndianBytes + UInt32(size).littleEndianBytes
            + checksum(of: content[...], at: offset, key: key) + content
    }

    private static func checksum(of content: ArraySlice<UInt8>, at offset: Int, key: [UInt8]) -> [UInt8] {
        var checksum = Checksum(byteCount: checksumBytes, key: key)
        checksum.update(UInt64(offset).littleEndianBytes + UInt32(content.count).littleEndianBytes)
        checksum.update(content)
        return checksum.finalize()
    }

    /// The content of the good frame at `offset`, if there is one.
    private static func content(in bytes: [UInt8], at offset: Int, key: [UInt8]) -> ArraySlice<UInt8>? {
        var reader = ByteReader(bytes: bytes[...], offset: offset)
        guard reader.integer(UInt32.self) == frameMagic, let size = reader.integer(UInt32.self),
            size <= frameBytesMax, let checksum = reader.bytes(checksumBytes), let content = reader.bytes(Int(size)),
            self.checksum(of: content, at: offset, key: key) == Array(checksum)
        else { return nil }
        return content
    }

    private static func frames(of bytes: [UInt8], key: [UInt8]) -> (records: [[UInt8]], length: Int) {
        var records: [[UInt8]] = []
        var offset = headerBytes
        while let content = content(in: bytes, at: offset, key: key) {
            var reader = ByteReader(bytes: content, offset: content.startIndex)
            var frame: [[UInt8]] = []
            while let size = reader.integer(UInt32.self), let record = reader.bytes(Int(size)) {
                frame.append(Array(record))
            }
            records += frame
            offset += frameHeaderBytes + content.count
        }
        return (records, offset)
    }

    /// Whether a good frame starts anywhere after `start`. Linear but for false alarms: the frame magic is looked for first.
    private static func hasFrame(in bytes: [UInt8], after start: Int, key: [UInt8]) -> Bool {
        let magic = frameMagic.littleEndianBytes
        var offset = start + 1
        while offset + frameHeaderBytes <= bytes.count {
            if bytes[offset] == magic[0], bytes[offset + 1] == magic[1], bytes[offset + 2] == magic[2],
                bytes[offset + 3] == magic[3], content(in: bytes, at: offset, key: key) != nil
            {
                return true
            }
            offset += 1
        }
        return false
    }
}
