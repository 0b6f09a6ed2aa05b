import Checkpoint
import Glibc
import Tokenizing

/// Larger files are no tokenizers; the limit of a checkpoint's.
private let tokenizerByteCountMax = 64 << 20

/// The tokenizer that a flag names: `bytes`, a tokenizer.json, or a folder with one, whose `tokenizer_config.json` then says
/// which tokens begin and end a text.
func loadTokenizer(_ name: String) throws(UserError) -> Tokenizer {
    if name == "bytes" { return .bytes }
    var status = stat()
    let isFolder = stat(name, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    let path = isFolder ? "\(name)/tokenizer.json" : name
    let configPath = "\(name)/tokenizer_config.json"
    let bytes: [UInt8]
    var config: [UInt8]?
    do {
        bytes = try DurableFile.read(path, byteCountMax: tokenizerByteCountMax)
        if isFolder, access(configPath, F_OK) == 0 {
            config = try DurableFile.read(configPath, byteCountMax: tokenizerByteCountMax)
        }
    } catch { throw UserError(checkpoint: .file(error)) }
    do { return try Tokenizer(tokenizerJSON: bytes, config: config) } catch {
        throw UserError("\(path): \(error)", cure: "Name bytes, or the folder of the model", exitCode: .badData)
    }
}
