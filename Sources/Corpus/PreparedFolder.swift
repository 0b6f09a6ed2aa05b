import Glibc
import Tokenizing

/// A folder that `Preparation` wrote, open for reading.
///
/// Opening checks the index, and that every file is there and has its size; ids are checked as they are read, checksums by
/// `verify` alone, because that reads everything.
package struct PreparedFolder: Sendable {
    let path: String
    let index: PreparedIndex

    /// Whether a folder is a prepared one.
    package static func isPrepared(_ path: String) -> Bool { access("\(path)/\(PreparedIndex.fileName)", F_OK) == 0 }

    /// Opens a folder.
    package init(_ path: String) throws(CorpusError) {
        self.path = path
        let name = "\(path)/\(PreparedIndex.fileName)"
        let bytes: [UInt8]
        do throws(Unreadable) { bytes = try Self.read(name) } catch {
            throw .unreadable(path: name, reason: error.reason)
        }
        do { index = try PreparedIndex(decoding: bytes) } catch { throw .damaged(path: name, reason: error.reason) }
        for domain in index.domains {
            for part in [domain.heldOut, domain.training] {
                for shard in part.shards {
                    try check(shard.file, byteCount: shard.tokenCount * index.width.rawValue)
                }
                if let documents = part.documents {
                    try check(documents, byteCount: part.documentCount * DocumentRecord.byteCount)
                }
            }
        }
    }

    private static func read(_ path: String) throws(Unreadable) -> [UInt8] {
        let file = try PlainFile(path)
        let count = try file.identity().byteCount
        guard count <= PreparedIndex.byteCountMax else { throw Unreadable("it is too large") }
        var bytes = [UInt8](repeating: 0, count: count)
        guard
            try bytes.withMutableBytes({ raw throws(Unreadable) in try file.read(into: raw, from: 0) })
        else { throw Unreadable("it became shorter") }
        return bytes
    }

    private func path(of file: PreparedIndex.File) -> String { "\(path)/\(file.name)" }

    private func check(_ file: PreparedIndex.File, byteCount: Int) throws(CorpusError) {
        let found: Int
        do throws(Unreadable) { found = try PlainFile(path(of: file)).identity().byteCount } catch {
            throw .unreadable(path: path(of: file), reason: error.reason)
        }
        guard found == byteCount else {
            throw .damaged(path: path(of: file), reason: "it has \(found) bytes, its index says \(byteCount)")
        }
    }

    /// Bytes of all its files but the index.
    package var byteCount: Int {
        index.domains.reduce(0) { sum, domain in
            sum + domain.tokenCount * index.width.rawValue
                + (domain.heldOut.documentCount + domain.training.documentCount) * DocumentRecord.byteCount
        }
    }

    /// The names of its domains.
    package var domainNames: [String] { index.domains.map(\.name) }

    /// The domain that a source means: the only one, whatever the source is called, or the one of the source's name.
    func domain(named name: String) throws(CorpusError) -> PreparedIndex.Domain {
        if index.domains.count == 1 { return index.domains[0] }
        guard let domain = index.domains.first(where: { $0.name == name }) else {
            throw .noSuchDomain(name, path: path, names: domainNames)
        }
        return domain
    }

    /// Throws unless the folder was made with this tokenizer.
    func check(_ tokenizer: Tokenizer) throws(CorpusError) {
        guard index.tokenizerHash == PreparedIndex.hash(of: tokenizer),
            index.vocabularySize == tokenizer.vocabularySize
        else {
            throw .otherTokenizer(
                path: path, vocabularySize: index.vocabularySize, modelVocabularySize: tokenizer.vocabularySize)
        }
    }

    func segments(of part: PreparedIndex.Part) -> [TokenStore.Segment] {
        part.shards.map { .file(path: path(of: $0.file), tokenCount: $0.tokenCount) }
    }

    /// Goes through a part's documents until `body` returns false.
    func forEachDocument(
        of part: PreparedIndex.Part, _ body: (DocumentRecord) -> Bool
    ) throws(CorpusError) {
        guard let documents = part.documents else { return }
        let name = path(of: documents)
        let recordsPerBlock = 4096
        var last = 0
        do {
            let file = try PlainFile(name)
            for first in stride(from: 0, to: part.documentCount, by: recordsPerBlock) {
                let count = min(recordsPerBlock, part.documentCount - first)
                var block = [UInt8](repeating: 0, count: count * DocumentRecord.byteCount)
                let isWhole = try block.withUnsafeMutableBytes { raw in
                    try file.read(into: raw, from: first * DocumentRecord.byteCount)
                }
                guard isWhole else { throw Unreadable("it became shorter") }
                for index in 0..<count {
                    let record = DocumentRecord(
                        decoding: block[(index * DocumentRecord.byteCount)...].prefix(DocumentRecord.byteCount),
                        endIn: (last + 1)...max(last + 1, part.tokenCount))
                    guard let record, record.end <= part.tokenCount else {
                        throw Unreadable("document \(first + index) ends before it starts, or behind the text")
                    }
                    last = record.end
                    if !body(record) { return }
                }
            }
            guard last == part.tokenCount else { throw Unreadable("the last document does not end with the text") }
        } catch let error as Unreadable {
            throw .damaged(path: name, reason: error.reason)
        } catch { preconditionFailure("\(error)") }
    }

    /// Throws if one of a part's documents is held out for everybody.
    func check(_ part: PreparedIndex.Part, excluding excluded: Set<[UInt8]>) throws(CorpusError) {
        guard !excluded.isEmpty else { return }
        let prefixes = Set(excluded.map { Array($0.prefix(DocumentRecord.hashByteCount)) })
        var isFound = false
        try forEachDocument(of: part) { document in
            isFound = prefixes.contains(document.hash)
            return !isFound
        }
        if isFound { throw .holdsExcluded(path: path) }
    }

    /// Reads everything and compares checksums and documents; gives the bytes read.
    ///
    /// - Parameter observer: told of the bytes as `didTokenize`.
    package func verify(observer: any PreparationObserver) throws(CorpusError) -> Int {
        let parts = index.domains.flatMap { [$0.heldOut, $0.training] }
        var byteCount = 0
        for file in parts.flatMap(\.files) { byteCount += try verify(file, observer: observer) }
        for part in parts { try forEachDocument(of: part) { _ in true } }
        return byteCount
    }

    private func verify(
        _ file: PreparedIndex.File, observer: any PreparationObserver
    ) throws(CorpusError) -> Int {
        var hasher = ContentHasher()
        var byteCount = 0
        do {
            let open = try PlainFile(path(of: file))
            var buffer = [UInt8](repeating: 0, count: 1 << 20)
            while true {
                guard !observer.isCancelled else { throw CorpusError.cancelled }
                let count = try buffer.withUnsafeMutableBytes { try open.read(into: $0) }
                if count == 0 { break }
                buffer.withUnsafeBytes { hasher.update(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
                byteCount += count
                observer.didTokenize(byteCount: count)
            }
        } catch let error as Unreadable {
            throw .unreadable(path: path(of: file), reason: error.reason)
        } catch let error as CorpusError { throw error } catch { preconditionFailure("\(error)") }
        guard hasher.finalize().bytes == file.checksum else {
            throw .damaged(path: path(of: file), reason: "its checksum is not that of its index")
        }
        return byteCount
    }
}
