import Checkpoint
package import Corpus
import Glibc
package import JSONText
import Numerics
import PeerNet
import Tokenizing

/// `atoll tokenizer train`: learns a byte-level BPE vocabulary from text.
package struct LocalTokenizerTraining: Sendable {
    /// What the command line asks for.
    package struct Request: Sendable {
        /// Values of `--data`.
        package var data: [String]
        /// Ids of the vocabulary, special tokens included.
        package var vocabularySize: Int
        /// Where text is cut: gpt-2, llama-3, smollm or qwen2.
        package var pattern: String
        /// Special tokens, which get the first ids.
        package var specialTokens: [String]
        /// Pairs that come less often are not merged.
        package var countMin: Int
        /// A new folder, or a file whose name ends in `.json`.
        package var out: String
        /// Threads; nil or 0 takes one per core.
        package var threads: Int?

        /// Wraps the fields.
        package init(
            data: [String], vocabularySize: Int, pattern: String = "gpt-2",
            specialTokens: [String] = ["<|endoftext|>"], countMin: Int = 2, out: String, threads: Int? = nil
        ) {
            self.data = data
            self.vocabularySize = vocabularySize
            self.pattern = pattern
            self.specialTokens = specialTokens
            self.countMin = countMin
            self.out = out
            self.threads = threads
        }
    }

    /// What came of it.
    package struct Report: CommandReport {
        /// Ids of the new tokenizer.
        package var vocabularySize: Int
        /// Ids that were asked for: text with too few repeated pairs gives fewer.
        package var wantedSize: Int
        /// Bytes of text.
        package var byteCount: Int
        /// Wall time.
        package var seconds: Double
        /// The folder or file that was written.
        package var out: String
        /// What was read and left out.
        package var domains: [DomainSummary]

        package var text: String {
            var lines = domains.flatMap(\.textLines)
            if vocabularySize < wantedSize {
                lines.append("the text has no more repeated pairs: \(vocabularySize) of \(wantedSize) tokens")
            }
            lines.append(
                "\(vocabularySize) tokens from \(byteCount) bytes in \(fixed(seconds, 1)) s "
                    + "(\(fixed(Double(byteCount) / 1e6 / max(seconds, 1e-9), 1)) MB/s)")
            lines.append("tokenizer in \(out)")
            return lines.joined(separator: "\n")
        }

        package var json: JSONValue {
            [
                "out": .text(out), "vocabulary_size": .integer(Int64(vocabularySize)),
                "wanted_size": .integer(Int64(wantedSize)), "bytes": .integer(Int64(byteCount)),
                "seconds": .number(seconds), "domains": .array(domains.map(\.json)),
            ]
        }
    }

    /// Trains; Ctrl-C leaves nothing behind.
    ///
    /// - Parameter progress: takes a line for people about once a second.
    package static func run(
        _ request: Request, progress: @escaping @Sendable (String) -> Void
    ) throws(UserError) -> Report {
        let threads = try threadCount(request.threads)
        let sources = try DataSelection.parseUnweighted(
            request.data, for: "atoll tokenizer train", cure: "Name the text without weights")
        let pool = WorkerPool(threadCount: threads)
        let settings = TokenizerTraining.Settings(
            vocabularySize: request.vocabularySize, pattern: try TokenizerTraining.Pattern(flag: request.pattern),
            specialTokens: request.specialTokens, countMin: request.countMin)
        var training: TokenizerTraining
        do { training = try TokenizerTraining(settings, pool: pool) } catch {
            throw UserError(training: error)
        }
        try checkOut(request.out)
        Interruption.catchSignals()
        let clock = ContinuousClock()
        let start = clock.now
        let reader = try count(sources, into: &training, pool, progress)
        var lastLine = clock.now
        let tokenizer: Tokenizer
        do {
            tokenizer = try training.train { tokenCount in
                if (clock.now - lastLine).inSeconds >= 1 {
                    lastLine = clock.now
                    progress("learnt \(tokenCount) of \(request.vocabularySize) tokens")
                }
                return !Interruption.isRequested
            }
        } catch { throw UserError(training: error) }
        try write(tokenizer, to: request.out)
        return Report(
            vocabularySize: tokenizer.vocabularySize, wantedSize: request.vocabularySize,
            byteCount: reader.domains.reduce(0) { $0 + $1.byteCount }, seconds: (clock.now - start).inSeconds,
            out: request.out, domains: reader.domains)
    }

    private static func count(
        _ sources: [DomainSource], into training: inout TokenizerTraining, _ pool: WorkerPool,
        _ progress: @escaping @Sendable (String) -> Void
    ) throws(UserError) -> TextReader {
        let observer = PreparationProgress(verb: "counted the words of", report: progress)
        do {
            var reader = try TextReader(sources, pool: pool, observer: observer)
            while let (texts, byteCount) = try reader.next() {
                guard !observer.isCancelled else { throw CorpusError.cancelled }
                try training.add(texts)
                observer.didTokenize(byteCount: byteCount)
            }
            return reader
        } catch let error as CorpusError {
            throw UserError(corpus: error)
        } catch let error as TokenizerTraining.Failure {
            throw UserError(training: error)
        } catch { preconditionFailure("reading and counting throw one of the two errors above") }
    }

    private static func isFile(_ out: String) -> Bool { out.hasSuffix(".json") }

    /// Finds out before the work, not after it, that the output cannot be written.
    private static func checkOut(_ out: String) throws(UserError) {
        do {
            if isFile(out) { _ = try DurableWriter(path: out) } else { _ = try DurableFolder(path: out) }
        } catch { throw UserError(checkpoint: .file(error)) }
    }

    private static func write(_ tokenizer: Tokenizer, to out: String) throws(UserError) {
        do {
            guard !isFile(out) else { return try DurableFile.write(tokenizer.tokenizerJSON, to: out) }
            let folder = try DurableFolder(path: out)
            try folder.write(tokenizer.tokenizerJSON, as: "tokenizer.json")
            try folder.write(tokenizer.configJSON(contextLength: nil), as: "tokenizer_config.json")
            try folder.commit()
        } catch { throw UserError(checkpoint: .file(error)) }
    }
}
