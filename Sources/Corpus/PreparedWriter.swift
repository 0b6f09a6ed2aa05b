/// Writes the tokens of one domain: two parts, each in shards and with a list of its documents.
struct PreparedWriter: TokenSink {
    private var training: PartWriter
    private var heldOut: PartWriter

    init(output: any PreparedOutput, prefix: String, width: TokenWidth, shardByteCountMax: Int) {
        training = PartWriter(
            output: output, prefix: "\(prefix)-training", width: width, shardByteCountMax: shardByteCountMax)
        heldOut = PartWriter(
            output: output, prefix: "\(prefix)-held-out", width: width, shardByteCountMax: shardByteCountMax)
    }

    mutating func append(_ ids: UnsafeRawBufferPointer, isHeldOut: Bool) throws(CorpusError) {
        if isHeldOut { try heldOut.append(ids) } else { try training.append(ids) }
    }

    mutating func endDocument(_ hash: ContentHash, isHeldOut: Bool) throws(CorpusError) {
        if isHeldOut { try heldOut.endDocument(hash) } else { try training.endDocument(hash) }
    }

    /// Completes the files.
    mutating func finish(name: String, byteCount: Int) throws(CorpusError) -> PreparedIndex.Domain {
        PreparedIndex.Domain(
            name: name, byteCount: byteCount, heldOut: try heldOut.finish(), training: try training.finish())
    }
}

/// Writes one part.
private struct PartWriter {
    private let output: any PreparedOutput
    private let prefix: String
    private let width: TokenWidth
    private let shardByteCountMax: Int
    private var part = PreparedIndex.Part()
    private var shard: ChecksummedFile?
    private var documents: ChecksummedFile?
    private var documentBuffer: [UInt8] = []

    init(output: any PreparedOutput, prefix: String, width: TokenWidth, shardByteCountMax: Int) {
        self.output = output
        self.prefix = prefix
        self.width = width
        self.shardByteCountMax = shardByteCountMax
    }

    mutating func append(_ ids: UnsafeRawBufferPointer) throws(CorpusError) {
        var rest = ids
        while !rest.isEmpty {
            let open: ChecksummedFile
            if let shard {
                open = shard
            } else {
                open = ChecksummedFile(try create("\(prefix)-\(part.shards.count).tokens"))
                shard = open
            }
            let count = min(rest.count, shardByteCountMax - open.byteCount)
            try open.append(UnsafeRawBufferPointer(rebasing: rest[..<count]))
            part.tokenCount += count / width.rawValue
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
            if open.byteCount == shardByteCountMax { try closeShard() }
        }
    }

    private func create(_ name: String) throws(CorpusError) -> (String, any PreparedOutputFile) {
        (name, try output.create(name))
    }

    private mutating func closeShard() throws(CorpusError) {
        guard let open = shard else { return }
        shard = nil
        part.shards.append(
            PreparedIndex.Shard(
                file: try open.finish(), tokenCount: open.byteCount / width.rawValue))
    }

    mutating func endDocument(_ hash: ContentHash) throws(CorpusError) {
        part.documentCount += 1
        documentBuffer += DocumentRecord(end: part.tokenCount, hash: hash).encoded
        if documentBuffer.count >= 1 << 16 { try writeDocuments() }
    }

    private mutating func writeDocuments() throws(CorpusError) {
        guard !documentBuffer.isEmpty else { return }
        let open: ChecksummedFile
        if let documents {
            open = documents
        } else {
            open = ChecksummedFile(try create("\(prefix).documents"))
            documents = open
        }
        try documentBuffer.withBytes { raw throws(CorpusError) in try open.append(raw) }
        documentBuffer.removeAll(keepingCapacity: true)
    }

    mutating func finish() throws(CorpusError) -> PreparedIndex.Part {
        try closeShard()
        try writeDocuments()
        if let documents { part.documents = try documents.finish() }
        return part
    }
}

/// A file that is hashed as it is written.
private final class ChecksummedFile {
    private let name: String
    private let file: any PreparedOutputFile
    private var hasher: ContentHasher? = ContentHasher()
    private(set) var byteCount = 0

    init(_ file: (name: String, file: any PreparedOutputFile)) {
        name = file.name
        self.file = file.file
    }

    func append(_ bytes: UnsafeRawBufferPointer) throws(CorpusError) {
        hasher?.update(bytes)
        try file.append(bytes)
        byteCount += bytes.count
    }

    /// Puts the file in its place.
    func finish() throws(CorpusError) -> PreparedIndex.File {
        guard let hasher = hasher.take() else { preconditionFailure("a file is finished once") }
        try file.commit()
        return PreparedIndex.File(name: name, checksum: hasher.finalize().bytes)
    }
}
