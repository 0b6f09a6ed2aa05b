import Numerics
package import Tokenizing

/// Follows a preparation; called from several threads.
package protocol PreparationObserver: Sendable {
    /// More bytes of files, compressed where they are, were read in the first pass.
    func didScan(fileByteCount: Int)
    /// The first pass is over; the second has this many bytes of text before it.
    func didFinishScan(textByteCount: Int)
    /// More bytes of text were tokenized in the second pass.
    func didTokenize(byteCount: Int)
    /// Whether to stop with `CorpusError.cancelled`.
    var isCancelled: Bool { get }
}

/// Where a preparation writes; the folder appears whole when its owner commits it.
package protocol PreparedOutput: AnyObject {
    /// Starts a file.
    func create(_ name: String) throws(CorpusError) -> any PreparedOutputFile
}

/// A file that a preparation writes.
package protocol PreparedOutputFile: AnyObject {
    /// Appends bytes.
    func append(_ bytes: UnsafeRawBufferPointer) throws(CorpusError)
    /// Puts the file in its place.
    func commit() throws(CorpusError)
}

/// `atoll data prepare`: text of any size becomes a folder of tokens that training reads window by window.
///
/// Two passes over the files: the first hashes, which decides about order, copies and the held-out part, and finds damage
/// before anything is written; the second tokenizes. Memory does not grow with the text, but by some 200 bytes per file.
package struct Preparation: Sendable {
    /// The domains, whose weights play no part.
    package var sources: [DomainSource]
    /// The tokenizer.
    package var tokenizer: Tokenizer
    /// Threads.
    package var threadCount: Int
    /// Size of the files of tokens, the last of a part excepted.
    package var shardByteCountMax: Int

    /// The size of the files of tokens unless told otherwise.
    package static let shardByteCountMaxDefault = 256 << 20

    /// Wraps the fields.
    package init(
        _ sources: [DomainSource], tokenizer: Tokenizer, threadCount: Int = 1,
        shardByteCountMax: Int = shardByteCountMaxDefault
    ) {
        self.sources = sources
        self.tokenizer = tokenizer
        self.threadCount = threadCount
        self.shardByteCountMax = max(4, shardByteCountMax / 4 * 4)
    }

    /// Writes shards, lists of documents and, last, the index. Equal text gives equal bytes, whatever the paths and the
    /// number of threads.
    package func write(
        to output: any PreparedOutput, observer: any PreparationObserver
    ) throws(CorpusError) -> [DomainSummary] {
        try DomainSource.check(sources)
        let pool = WorkerPool(threadCount: threadCount)
        var domains: [DomainFiles] = []
        for source in sources {
            let found = try FilePattern.files(of: source)
            guard found.prepared.isEmpty else { throw .alreadyPrepared(path: found.prepared[0]) }
            domains.append(try DomainFiles.scan(found.files, of: source, pool: pool, observer: observer))
        }
        observer.didFinishScan(textByteCount: domains.reduce(0) { $0 + $1.byteCount })
        var index = PreparedIndex(tokenizer: tokenizer)
        let tokenization = Tokenization(
            encoder: UnitEncoder(
                tokenizer: tokenizer, width: index.width, endOfText: tokenizer.roles.eos, excluded: []),
            pool: pool, observer: observer)
        for number in domains.indices {
            var writer = PreparedWriter(
                output: output, prefix: "\(number)", width: index.width, shardByteCountMax: shardByteCountMax)
            try tokenization.run(&domains[number], into: &writer)
            let summary = domains[number].summary
            let domain = try writer.finish(name: summary.name, byteCount: summary.byteCount)
            guard domain.tokenCount >= 2 else {
                throw .tooSmall(domain: summary.name, byteCount: summary.byteCount, byteCountNeeded: 2)
            }
            index.domains.append(domain)
            domains[number].summary.trainingTokenCount = domain.training.tokenCount
            domains[number].summary.heldOutTokenCount = domain.heldOut.tokenCount
        }
        let file = try output.create(PreparedIndex.fileName)
        try file.append(index.encoded)
        try file.commit()
        return domains.map(\.summary)
    }
}

extension PreparedOutputFile {
    func append(_ bytes: [UInt8]) throws(CorpusError) {
        try bytes.withBytes { raw throws(CorpusError) in try append(raw) }
    }
}
