package import JSONText
package import Tokenizing

/// What a checkpoint folder holds beside the tensors, so that a model that was trained on or merged is written again with
/// everything that programs found in the one it came from: configuration keys that mean nothing here, special tokens,
/// the chat template, sampling defaults.
package struct Companions: Hashable, Sendable {
    /// `config.json`, as it was read.
    package var config: JSONObject
    /// The tokenizer that the tokenizer's files describe.
    package var tokenizer: Tokenizer
    /// Side files by name, byte for byte.
    package var files: [String: [UInt8]]

    /// Files that only hold for one tokenizer.
    package static let tokenizerFiles = [
        "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
        "merges.txt", "chat_template.jinja", "chat_template.json",
    ]
    /// The other ones.
    static let otherFiles = [generationName]
    static let generationName = "generation_config.json"

    /// Longest side file: above any vocabulary in use.
    static let byteCountMax = 64 << 20

    /// Reads the side files of a checkpoint folder; one that is not there is left out.
    init(folder: String, config: JSONObject, tokenizer: Tokenizer) throws(FileError) {
        self.config = config
        self.tokenizer = tokenizer
        files = [:]
        for name in Self.tokenizerFiles + Self.otherFiles {
            do {
                files[name] = try DurableFile.read("\(folder)/\(name)", byteCountMax: Self.byteCountMax)
            } catch {
                guard error.reason.name == "ENOENT" else { throw error }
            }
        }
    }

    /// The files to write beside a model with this tokenizer: its own too, if it is the same one.
    func files(for tokenizer: Tokenizer) -> [String: [UInt8]] {
        tokenizer == self.tokenizer ? files : files.filter { Self.otherFiles.contains($0.key) }
    }
}
