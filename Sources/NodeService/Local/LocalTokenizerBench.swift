import Checkpoint
package import JSONText
import Numerics
import PeerNet
import Tokenizing

/// `atoll bench tokenizer`: how fast this machine encodes text and learns a vocabulary, beside how fast it reads memory.
package struct LocalTokenizerBench: Sendable {
    /// What the command line asks for.
    package struct Request: Sendable {
        /// A tokenizer.json or a folder with one; nil learns one from the text.
        package var tokenizer: String?
        /// A file with text; nil makes some.
        package var data: String?
        /// Ids of the vocabulary that is learnt.
        package var vocabularySize: Int
        /// Where text is cut.
        package var pattern: String

        /// Wraps the fields.
        package init(
            tokenizer: String? = nil, data: String? = nil, vocabularySize: Int = 8192,
            pattern: String = "gpt-2"
        ) {
            self.tokenizer = tokenizer
            self.data = data
            self.vocabularySize = vocabularySize
            self.pattern = pattern
        }
    }

    /// What came of it; rates are the best of some rounds, in bytes of text per second.
    package struct Report: CommandReport {
        /// Bytes of text.
        package var byteCount: Int
        /// Ids that they became.
        package var tokenCount: Int
        /// Reading the same bytes, one thread.
        package var readRate: Double
        /// Encoding with one thread and with two.
        package var encodeRates: [Double]
        /// Learning with one thread and with two.
        package var trainRates: [Double]
        /// Ids of the vocabulary that was learnt.
        package var vocabularySize: Int

        package var text: String {
            func line(_ name: String, _ rate: Double) -> String {
                name.padded(to: 22) + fixed(rate / 1e6, 1) + " MB/s, " + fixed(100 * rate / readRate, 2)
                    + " % of reading"
            }
            let ratio = fixed(Double(byteCount) / Double(max(1, tokenCount)), 2)
            return [
                "text".padded(to: 22) + "\(byteCount) bytes, \(tokenCount) tokens (\(ratio) bytes each)",
                line("reading, 1 thread", readRate), line("encoding, 1 thread", encodeRates[0]),
                line("encoding, 2 threads", encodeRates[1]),
                line("learning, 1 thread", trainRates[0]) + " (\(vocabularySize) tokens)",
                line("learning, 2 threads", trainRates[1]),
            ].joined(separator: "\n")
        }

        package var json: JSONValue {
            [
                "bytes": .integer(Int64(byteCount)), "tokens": .integer(Int64(tokenCount)),
                "read_bytes_per_second": .number(readRate),
                "encode_bytes_per_second_1": .number(encodeRates[0]),
                "encode_bytes_per_second_2": .number(encodeRates[1]),
                "train_bytes_per_second_1": .number(trainRates[0]),
                "train_bytes_per_second_2": .number(trainRates[1]),
                "vocabulary_size": .integer(Int64(vocabularySize)),
            ]
        }
    }

    private static let byteCountMax = 256 << 20
    private static let rounds = 3

    /// Measures, one after the other in every round, so that all see the same machine.
    package static func run(_ request: Request, progress: (String) -> Void) throws(UserError) -> Report {
        let text = try text(request.data)
        let settings = TokenizerTraining.Settings(
            vocabularySize: request.vocabularySize, pattern: try TokenizerTraining.Pattern(flag: request.pattern))
        let pools = [WorkerPool(threadCount: 1), WorkerPool(threadCount: 2)]
        var report = Report(
            byteCount: text.count, tokenCount: 0, readRate: 0, encodeRates: [0, 0], trainRates: [0, 0],
            vocabularySize: 0)
        var tokenizer: Tokenizer?
        if let name = request.tokenizer { tokenizer = try loadTokenizer(name) }
        for round in 1...rounds {
            for (index, pool) in pools.enumerated() {
                var learnt = Tokenizer.bytes
                let seconds = try measure { () throws(UserError) in learnt = try learn(text, settings, pool) }
                report.trainRates[index] = max(report.trainRates[index], Double(text.count) / seconds)
                report.vocabularySize = learnt.vocabularySize
                if tokenizer == nil { tokenizer = learnt }
            }
            guard let tokenizer else { preconditionFailure("a vocabulary was read or learnt") }
            for (index, pool) in pools.enumerated() {
                let seconds = try measure { () throws(UserError) in
                    report.tokenCount = tokenizer.encode(text, pool: pool).count
                }
                report.encodeRates[index] = max(report.encodeRates[index], Double(text.count) / seconds)
            }
            var sum: UInt64 = 0
            let seconds = try measure { () throws(UserError) in sum = read(text) }
            // The sum is used, so that it is computed.
            report.readRate = max(report.readRate, Double(text.count) / max(seconds, sum == 0 ? 1 : 1e-9))
            progress("round \(round) of \(rounds)")
        }
        return report
    }

    private static func learn(
        _ text: [UInt8], _ settings: TokenizerTraining.Settings, _ pool: WorkerPool
    ) throws(UserError) -> Tokenizer {
        do {
            var training = try TokenizerTraining(settings, pool: pool)
            try training.add([text])
            return try training.train { _ in true }
        } catch { throw UserError(training: error) }
    }

    private static func measure(_ body: () throws(UserError) -> Void) throws(UserError) -> Double {
        let clock = ContinuousClock()
        let start = clock.now
        try body()
        return max((clock.now - start).inSeconds, 1e-9)
    }

    /// Four sums, so that no addition waits for the one before.
    private static func read(_ text: [UInt8]) -> UInt64 {
        text.withUnsafeBytes { bytes in
            var sums: (UInt64, UInt64, UInt64, UInt64) = (1, 0, 0, 0)
            for offset in stride(from: 0, to: bytes.count - 31, by: 32) {
                sums.0 &+= bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                sums.1 &+= bytes.loadUnaligned(fromByteOffset: offset + 8, as: UInt64.self)
                sums.2 &+= bytes.loadUnaligned(fromByteOffset: offset + 16, as: UInt64.self)
                sums.3 &+= bytes.loadUnaligned(fromByteOffset: offset + 24, as: UInt64.self)
            }
            return sums.0 &+ sums.1 &+ sums.2 &+ sums.3
        }
    }

    private static func text(_ path: String?) throws(UserError) -> [UInt8] {
        guard let path else { return madeUp() }
        do { return try DurableFile.read(path, byteCountMax: byteCountMax) } catch {
            throw UserError(checkpoint: .file(error))
        }
    }

    /// 8 MB of words of syllables, a few of them often and most seldom, as in any language.
    private static func madeUp() -> [UInt8] {
        var random = SeededRandom(seed: 1)
        let syllables = (0..<200).map { _ in
            [UInt8(ascii: "a") + UInt8(random.nextIndex(below: 26)), Array("aeiou".utf8)[random.nextIndex(below: 5)]]
        }
        let words = (0..<50_000).map { _ in
            (0...random.nextIndex(below: 4)).flatMap { _ in syllables[random.nextIndex(below: syllables.count)] }
        }
        var text: [UInt8] = []
        while text.count < 8_000_000 {
            // The product of two uniform numbers lies near 0 more often than not.
            let rank = Double(random.nextUniform()) * Double(random.nextUniform()) * Double(random.nextUniform())
            text += words[Int(rank * Double(words.count))]
            text += [Array(", .\n".utf8)[random.nextIndex(below: 4)], UInt8(ascii: " ")]
        }
        return text
    }
}

extension String {
    /// Spaces behind it up to a width.
    fileprivate func padded(to width: Int) -> String { self + String(repeating: " ", count: max(1, width - count)) }
}
