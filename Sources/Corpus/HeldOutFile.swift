package import Tokenizing

/// One text file on which everybody evaluates; a charter may name it by digest.
package struct HeldOutFile: Sendable {
    /// BLAKE2b-256 of the file's text: its bytes, decompressed if they are gzip or zstd.
    package let digest: [UInt8]
    /// The file's tokens.
    package let tokens: [Int32]

    /// Larger files are refused: an evaluation is to take seconds.
    private static let byteCountMax = 64 << 20

    /// Reads a file.
    package init(path: String, tokenizer: Tokenizer) throws(CorpusError) {
        var content: [UInt8] = []
        do throws(Unreadable) {
            let stream = try TextStream(path)
            let blockByteCount = 1 << 20
            while content.count <= Self.byteCountMax {
                if try stream.read(blockByteCount, appendingTo: &content) < blockByteCount { break }
            }
        } catch { throw .unreadable(path: path, reason: error.reason) }
        guard content.count <= Self.byteCountMax else {
            throw .unreadable(path: path, reason: "it has more than \(Self.byteCountMax) bytes")
        }
        digest = ContentHash(of: content).bytes
        tokens = tokenizer.encode(content)
    }

    /// The file in windows that predict `contextLength` tokens each, at most `countMax`, evenly spread; none if the file is
    /// shorter than one.
    package func windows(contextLength: Int, countMax: Int = .max) -> TokenWindows {
        TokenWindows(tokens, contextLength: contextLength, countMax: countMax)
    }
}
