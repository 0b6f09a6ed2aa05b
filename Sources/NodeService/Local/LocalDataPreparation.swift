import Checkpoint
package import Corpus
import Glibc
package import JSONText
import Numerics
import PeerNet
import Tokenizing

/// `atoll data prepare`: turns text of any size into a folder of tokens.
package struct LocalDataPreparation: Sendable {
    /// What the command line asks for.
    package struct Request: Sendable {
        /// Values of `--data`.
        package var data: [String]
        /// `bytes`, a tokenizer.json, or a folder with one.
        package var tokenizer: String
        /// The new folder.
        package var out: String
        /// Threads; nil or 0 takes one per core.
        package var threads: Int?

        /// Wraps the fields.
        package init(data: [String], tokenizer: String = "bytes", out: String, threads: Int? = nil) {
            self.data = data
            self.tokenizer = tokenizer
            self.out = out
            self.threads = threads
        }
    }

    /// What came of it.
    package struct Report: CommandReport {
        /// What was read and left out.
        package var domains: [DomainSummary]
        /// Wall time.
        package var seconds: Double
        /// The folder that was written.
        package var out: String

        private var byteCount: Int { domains.reduce(0) { $0 + $1.byteCount } }
        private var tokenCount: Int { domains.reduce(0) { $0 + $1.trainingTokenCount + $1.heldOutTokenCount } }
        /// 10^6 bytes of text per second of wall time, both passes together.
        private var megabytesPerSecond: Double { Double(byteCount) / 1e6 / max(seconds, 1e-9) }

        package var text: String {
            (domains.flatMap(\.preparedLines) + [
                "\(tokenCount) tokens of \(byteCount) bytes in \(fixed(seconds, 1)) s (\(fixed(megabytesPerSecond, 1)) MB/s)",
                "prepared in \(out)",
            ]).joined(separator: "\n")
        }

        package var json: JSONValue {
            [
                "out": .text(out), "bytes": .integer(Int64(byteCount)), "tokens": .integer(Int64(tokenCount)),
                "seconds": .number(seconds), "megabytes_per_second": .number(megabytesPerSecond),
                "domains": .array(domains.map(\.json)),
            ]
        }
    }

    /// Prepares; Ctrl-C leaves nothing behind.
    ///
    /// - Parameter progress: takes a line for people about once a second.
    package static func run(
        _ request: Request, progress: @escaping @Sendable (String) -> Void
    ) throws(UserError) -> Report {
        let threads = try threadCount(request.threads)
        let sources = try DataSelection.parseUnweighted(
            request.data, for: "atoll data prepare", cure: "Give weights to atoll train, as NAME:WEIGHT=\(request.out)")
        let tokenizer = try loadTokenizer(request.tokenizer)
        let clock = ContinuousClock()
        let start = clock.now
        let folder: PreparedDurableFolder
        do { folder = try PreparedDurableFolder(request.out) } catch { throw UserError(checkpoint: .file(error)) }
        Interruption.catchSignals()
        do {
            let domains = try Preparation(sources, tokenizer: tokenizer, threadCount: threads)
                .write(to: folder, observer: PreparationProgress(report: progress))
            try folder.commit(tokenizer: tokenizer)
            return Report(domains: domains, seconds: (clock.now - start).inSeconds, out: request.out)
        } catch { throw UserError(corpus: error) }
    }
}

/// `atoll data verify`: reads a prepared folder as a whole.
package enum LocalDataVerification {
    /// What came of it.
    package struct Report: CommandReport {
        /// The folder.
        package var path: String
        /// Bytes that were compared with their checksums.
        package var byteCount: Int
        /// The names of the domains.
        package var domains: [String]

        package var text: String {
            "\(path) is whole: \(byteCount) bytes, domains \(domains.joined(separator: ", "))"
        }

        package var json: JSONValue {
            [
                "path": .text(path), "bytes": .integer(Int64(byteCount)),
                "domains": .array(domains.map(JSONValue.text)),
            ]
        }
    }

    /// Compares every file with its checksum.
    ///
    /// - Parameter progress: takes a line for people about once a second.
    package static func run(
        _ path: String, progress: @escaping @Sendable (String) -> Void
    ) throws(UserError) -> Report {
        guard PreparedFolder.isPrepared(path) else {
            throw UserError(
                "\(path) is no prepared folder", cure: "Make one with atoll data prepare", exitCode: .noInput)
        }
        Interruption.catchSignals()
        do {
            let folder = try PreparedFolder(path)
            let observer = PreparationProgress(verb: "verified", report: progress)
            observer.didFinishScan(textByteCount: folder.byteCount)
            return Report(
                path: path, byteCount: try folder.verify(observer: observer), domains: folder.domainNames)
        } catch { throw UserError(corpus: error) }
    }
}

/// A prepared folder in the making, which appears whole or not at all.
private final class PreparedDurableFolder: PreparedOutput {
    private let path: String
    /// Nil once it is committed.
    private var folder: DurableFolder?

    init(_ path: String) throws(FileError) {
        self.path = path
        folder = try DurableFolder(path: path)
    }

    func create(_ name: String) throws(CorpusError) -> any PreparedOutputFile {
        do throws(FileError) {
            guard let writer = try folder?.file(name) else { preconditionFailure("the folder is not committed yet") }
            return PreparedDurableFile(writer)
        } catch { throw CorpusError(error) }
    }

    /// Adds the tokenizer, so that others can read the shards, and puts the folder in its place.
    func commit(tokenizer: Tokenizer) throws(CorpusError) {
        do throws(FileError) {
            try folder?.write(tokenizer.tokenizerJSON, as: "tokenizer.json")
            guard let folder = folder.take() else { preconditionFailure("a folder is committed once") }
            try folder.commit()
        } catch { throw CorpusError(error) }
    }
}

private final class PreparedDurableFile: PreparedOutputFile {
    /// Nil once it is committed.
    private var writer: DurableWriter?

    init(_ writer: consuming DurableWriter) { self.writer = consume writer }

    func append(_ bytes: UnsafeRawBufferPointer) throws(CorpusError) {
        do throws(FileError) { try writer?.append(bytes) } catch { throw CorpusError(error) }
    }

    func commit() throws(CorpusError) {
        guard let writer = writer.take() else { preconditionFailure("a file is committed once") }
        do throws(FileError) { try writer.commit() } catch { throw CorpusError(error) }
    }
}

extension CorpusError {
    fileprivate init(_ error: FileError) {
        self = .cannotWrite(operation: error.operation.rawValue, path: error.path, errno: error.reason.number)
    }
}

/// Turns what a preparation reports into a line a second, with rate and time left.
final class PreparationProgress: PreparationObserver {
    private struct State {
        var scanned = 0
        var done = 0
        var total: Int?
        var phaseStart: ContinuousClock.Instant
        var lastLine: ContinuousClock.Instant
    }

    private let verb: String
    private let report: @Sendable (String) -> Void
    private let clock = ContinuousClock()
    private let state: Lock<State>

    init(verb: String = "tokenized", report: @escaping @Sendable (String) -> Void) {
        self.verb = verb
        self.report = report
        let now = clock.now
        state = Lock(State(phaseStart: now, lastLine: now))
    }

    var isCancelled: Bool { Interruption.isRequested }

    func didScan(fileByteCount: Int) { update { $0.scanned += fileByteCount } }

    func didFinishScan(textByteCount: Int) {
        let now = clock.now
        state.withLock {
            $0.total = textByteCount
            $0.phaseStart = now
        }
    }

    func didTokenize(byteCount: Int) { update { $0.done += byteCount } }

    private func update(_ count: (inout State) -> Void) {
        let now = clock.now
        let line: String? = state.withLock { state in
            count(&state)
            guard now - state.lastLine >= .seconds(1) else { return nil }
            state.lastLine = now
            let seconds = max((now - state.phaseStart).inSeconds, 1e-9)
            guard let total = state.total else {
                return "read \(Self.megabytes(state.scanned)) MB of files  "
                    + "\(fixed(Double(state.scanned) / 1e6 / seconds, 0)) MB/s"
            }
            let rate = Double(state.done) / seconds
            return
                "\(verb) \(Self.megabytes(state.done)) of \(Self.megabytes(total)) MB  \(fixed(rate / 1e6, 1)) MB/s  "
                + "\(fixed(Double(max(0, total - state.done)) / max(rate, 1), 0)) s left"
        }
        if let line { report(line) }
    }

    private static func megabytes(_ byteCount: Int) -> String { fixed(Double(byteCount) / 1e6, 0) }
}
