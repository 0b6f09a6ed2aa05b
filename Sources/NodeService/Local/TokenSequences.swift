import Checkpoint
import JSONText
import LanguageModel

/// Files of token ids: `{"sequences": [[id, …], …]}`.
enum TokenSequences {
    /// Reads the sequences of a file, of which there is at least one.
    ///
    /// - Parameter least: fewest ids per sequence.
    static func read(_ path: String, atLeast least: Int = 1) throws(UserError) -> [[Int32]] {
        let malformed = UserError(
            "\(path) holds no list of sequences of token ids", cure: #"Write {"sequences": [[1, 2, 3]]}"#,
            exitCode: .badData)
        guard let list = try object(path)["sequences"]?.array, !list.isEmpty else { throw malformed }
        var sequences: [[Int32]] = []
        for (index, sequence) in list.enumerated() {
            let ids = (sequence.array ?? []).compactMap { $0.integer.flatMap { Int32(exactly: $0) } }
            guard let count = sequence.array?.count, count == ids.count else { throw malformed }
            guard count >= least else {
                throw UserError(
                    "sequence \(index) of \(path) has \(count) ids", cure: "Give it at least \(least)",
                    exitCode: .badData)
            }
            sequences.append(ids)
        }
        return sequences
    }

    /// Refuses ids that the model does not have.
    static func check(_ sequence: [Int32], _ model: LoadedModel) throws(UserError) {
        let size = model.layout.configuration.vocabularySize
        for token in sequence where token < 0 || Int(token) >= size {
            throw UserError(model: .tokenOutOfRange(token: token, vocabularySize: size))
        }
    }

    /// Reads the texts of a file `{"prompts": ["…", …]}`, of which there is at least one.
    static func readPrompts(_ path: String) throws(UserError) -> [String] {
        let list = try object(path)["prompts"]?.array ?? []
        let texts = list.compactMap { $0.string?.string }
        guard !list.isEmpty, texts.count == list.count else {
            throw UserError(
                "\(path) holds no list of prompts", cure: #"Write {"prompts": ["one", "two"]}"#, exitCode: .badData)
        }
        return texts
    }

    private static func object(_ path: String) throws(UserError) -> JSONObject {
        let bytes: [UInt8]
        do { bytes = try DurableFile.read(path, byteCountMax: 64 << 20) } catch {
            throw UserError(checkpoint: .file(error))
        }
        do { return try JSONValue(parsing: bytes).object ?? JSONObject() } catch {
            throw UserError("\(path) is \(error)", cure: "Mend the file", exitCode: .badData)
        }
    }
}
