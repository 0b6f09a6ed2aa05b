/// A text file as the first pass saw it.
struct ScannedFile: Sendable {
    let path: String
    /// Whether each line is a document of its own, a JSON object with the member `text`; else the file is one.
    let isJSONLines: Bool
    /// Hash of the text, decompressed.
    let hash: ContentHash
    /// Bytes of the text, decompressed.
    let byteCount: Int
    /// Whether the text goes on beyond a limit.
    let isCut: Bool
    let identity: PlainFile.Identity

    /// Reads a file to its end, or to the limit.
    ///
    /// Whether compressed data is whole is known at its end, and so is the hash that decides about a document: therefore
    /// files are read once before any of it is used.
    static func scan(
        _ path: String, byteCountMax: Int = .max, observer: (any PreparationObserver)? = nil
    ) throws(Unreadable) -> ScannedFile {
        let stream = try TextStream(path)
        let identity = try stream.identity()
        var hasher = ContentHasher()
        var buffer = [UInt8](repeating: 0, count: 256 << 10)
        var byteCount = 0
        var reported = 0
        while observer?.isCancelled != true {
            let count = try buffer.withMutableBytes { raw throws(Unreadable) in try stream.read(into: raw) }
            let used = min(count, byteCountMax - byteCount)
            buffer.withUnsafeBytes { hasher.update(UnsafeRawBufferPointer(rebasing: $0[..<used])) }
            byteCount += used
            observer?.didScan(fileByteCount: stream.fileByteCount - reported)
            reported = stream.fileByteCount
            if used < count || count < buffer.count {
                return ScannedFile(
                    path: path, isJSONLines: isJSONLines(path), hash: hasher.finalize(), byteCount: byteCount,
                    isCut: used < count, identity: identity)
            }
        }
        throw Unreadable("it was stopped")
    }

    /// Whether a name is that of a file of JSON lines, compressed or not.
    static func isJSONLines(_ path: String) -> Bool {
        var name = Substring(path)
        for suffix in [".gz", ".zst"] where name.hasSuffix(suffix) {
            name = name.dropLast(suffix.count)
            break
        }
        return name.hasSuffix(".jsonl") || name.hasSuffix(".ndjson")
    }
}
