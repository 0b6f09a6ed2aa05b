import Corpus
import Glibc
import Synchronization
import Testing
import Tokenizing

/// Prepared text in a plain folder.
final class FolderOutput: PreparedOutput {
    let path: String

    init(_ path: String) {
        self.path = path
        mkdir(path, 0o755)
    }

    func create(_ name: String) throws(CorpusError) -> any PreparedOutputFile { File("\(path)/\(name)") }

    private final class File: PreparedOutputFile {
        let descriptor: Int32

        init(_ path: String) {
            descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL, 0o644)
            precondition(descriptor >= 0, "a file must be made")
        }

        deinit { close(descriptor) }

        func append(_ bytes: UnsafeRawBufferPointer) {
            precondition(write(descriptor, bytes.baseAddress, bytes.count) == bytes.count, "a file must be written")
        }

        func commit() {}
    }
}

/// Counts what a preparation reports.
final class CountingObserver: PreparationObserver {
    let scanned = Atomic<Int>(0)
    let total = Atomic<Int>(0)
    let tokenized = Atomic<Int>(0)
    /// Stops once this much is tokenized.
    let limit: Int

    init(limit: Int = .max) { self.limit = limit }

    func didScan(fileByteCount: Int) { scanned.add(fileByteCount, ordering: .relaxed) }
    func didFinishScan(textByteCount: Int) { total.store(textByteCount, ordering: .relaxed) }
    func didTokenize(byteCount: Int) { tokenized.add(byteCount, ordering: .relaxed) }
    var isCancelled: Bool { tokenized.load(ordering: .relaxed) >= limit }
}

extension TextFolder {
    /// Prepares sources into a folder inside this one.
    @discardableResult
    func prepare(
        _ sources: [DomainSource], into name: String, threads: Int = 2, shardByteCountMax: Int = 4096
    ) throws(CorpusError) -> [DomainSummary] {
        try Preparation(sources, tokenizer: .bytes, threadCount: threads, shardByteCountMax: shardByteCountMax)
            .write(to: FolderOutput(self[name]), observer: CountingObserver())
    }

    /// The bytes of a file.
    func read(_ name: String) throws -> [UInt8] {
        let file = open(self[name], O_RDONLY)
        try #require(file >= 0)
        defer { close(file) }
        var status = stat()
        fstat(file, &status)
        var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
        let count = bytes.count
        try #require(Glibc.read(file, &bytes, count) == count)
        return bytes
    }

    /// The names in a folder.
    func names(_ name: String) -> [String] {
        guard let stream = opendir(self[name]) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted()
    }
}
