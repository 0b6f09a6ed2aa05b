import Checkpoint
import JSONText

/// A merge recipe as a file: its text and the tree of its values.
struct RecipeFile {
    /// The text, byte for byte.
    let text: String
    /// The values.
    let tree: JSONValue

    /// A recipe that names every layer of a hundred models stays far below.
    private static let byteCountMax = 4 << 20

    /// Reads a YAML or JSON file.
    init(_ path: String) throws(UserError) {
        do {
            let bytes = try DurableFile.read(path, byteCountMax: Self.byteCountMax)
            text = try YAMLMapping.text(bytes, name: path)
            tree = try YAMLTree.parse(text, name: path)
        } catch let error as YAMLProblem {
            throw UserError("\(error)", cure: "Mend the recipe", exitCode: .badData)
        } catch { throw UserError(wrapping: error) }
    }
}
