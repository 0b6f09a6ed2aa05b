import Checkpoint
import Glibc
import JSONText

/// The token ids that end a text (`eos_token_id`), as a checkpoint folder names them.
enum EndTokens {
    /// Those of `generation_config.json`, or of `config.json` where that is absent or names none.
    static func read(_ folder: String) throws(UserError) -> Set<Int32> {
        for name in ["generation_config.json", "config.json"] {
            let path = "\(folder)/\(name)"
            let bytes: [UInt8]
            do { bytes = try DurableFile.read(path, byteCountMax: 1 << 20) } catch {
                if error.reason.number == ENOENT { continue }
                throw UserError(checkpoint: .file(error))
            }
            let value: JSONValue
            do { value = try JSONValue(parsing: bytes) } catch {
                throw UserError("\(path) is \(error)", cure: "Fetch the file again", exitCode: .badData)
            }
            guard let ids = value.object?["eos_token_id"], !ids.isNull else { continue }
            let list = ids.array ?? [ids]
            let numbers = list.compactMap { $0.integer.flatMap { Int32(exactly: $0) } }
            guard numbers.count == list.count else {
                throw UserError(
                    "eos_token_id in \(path) is neither a token id nor a list of them", cure: "Mend the file",
                    exitCode: .badData)
            }
            return Set(numbers)
        }
        return []
    }
}
