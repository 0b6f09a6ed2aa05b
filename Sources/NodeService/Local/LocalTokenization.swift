import Checkpoint
package import JSONText
import Numerics
import PeerNet
import Tokenizing

/// `atoll tokenize`: the token ids of a file, as a list in JSON.
package enum LocalTokenization {
    /// What came of it.
    package struct Report: CommandReport {
        /// Bytes of text.
        package var byteCount: Int
        /// Ids.
        package var tokenCount: Int
        /// Wall time of the encoding alone.
        package var seconds: Double
        /// The file that was written.
        package var out: String

        package var text: String {
            "\(tokenCount) tokens of \(byteCount) bytes in \(out) "
                + "(\(fixed(Double(byteCount) / 1e6 / max(seconds, 1e-9), 1)) MB/s)"
        }

        package var json: JSONValue {
            [
                "out": .text(out), "bytes": .integer(Int64(byteCount)), "tokens": .integer(Int64(tokenCount)),
                "seconds": .number(seconds),
            ]
        }
    }

    /// The largest text that is encoded at once.
    private static let byteCountMax = 1 << 31

    /// Encodes the raw bytes of one file and writes the ids to another.
    package static func run(
        tokenizer: String, input: String, out: String, threads: Int?, addSpecialTokens: Bool
    ) throws(UserError) -> Report {
        let pool = WorkerPool(threadCount: try threadCount(threads))
        let tokenizer = try loadTokenizer(tokenizer)
        let bytes: [UInt8]
        do { bytes = try DurableFile.read(input, byteCountMax: byteCountMax) } catch {
            throw UserError(checkpoint: .file(error))
        }
        let clock = ContinuousClock()
        let start = clock.now
        let ids = tokenizer.encode(bytes, addSpecialTokens: addSpecialTokens, pool: pool)
        let seconds = (clock.now - start).inSeconds
        do { try DurableFile.write(list(ids), to: out) } catch { throw UserError(checkpoint: .file(error)) }
        return Report(byteCount: bytes.count, tokenCount: ids.count, seconds: seconds, out: out)
    }

    private static func list(_ ids: [Int32]) -> [UInt8] {
        var text: [UInt8] = [UInt8(ascii: "[")]
        text.reserveCapacity(6 * ids.count + 4)
        for (index, id) in ids.enumerated() {
            if index > 0 { text.append(UInt8(ascii: ",")) }
            text.append(contentsOf: "\(id)".utf8)
        }
        text += [UInt8(ascii: "]"), 0x0a]
        return text
    }
}
