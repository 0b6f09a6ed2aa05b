import Checkpoint

/// `README.md` of a merged model: what was merged, by which recipe, and the hashes of what went in.
struct ModelCard {
    /// One model that went in.
    struct Input {
        var name: String
        /// File names and their BLAKE2b-256.
        var files: [(name: String, hash: String)]
    }

    /// One sentence about how the model was made.
    var summary: String
    var inputs: [Input]
    var seed: UInt64
    /// The recipe as it was read.
    var recipe: String

    /// Name of the copy of the recipe, where people who know mergekit look for it.
    static let recipeName = "mergekit_config.yml"
    static let name = "README.md"

    /// Hashes a model's files; nil if cancelled.
    static func input(
        _ name: String, _ folder: ModelFolder, isCancelled: () -> Bool
    ) throws(CheckpointError) -> Input? {
        var input = Input(name: name, files: [])
        for file in ["config.json", "tokenizer.json"] + folder.tensorFileNames {
            do {
                guard let hash = try fileHash("\(folder.path)/\(file)", isCancelled: isCancelled) else { return nil }
                input.files.append((file, hash))
            } catch { throw .file(error) }
        }
        return input
    }

    /// The files to write: the card and the recipe.
    var documents: [String: [UInt8]] { [Self.name: Array(text.utf8), Self.recipeName: Array(recipe.utf8)] }

    private var text: String {
        var lines = [
            "---", "library_name: transformers", "tags:", "- merge", "---", "", "# Merged model", "", summary,
            "Random numbers, where the method draws any, come from seed \(seed).", "", "## Inputs", "",
            "Hashes are BLAKE2b-256, as `b2sum -l 256 FILE` prints them.", "", "| model | file | hash |",
            "|---|---|---|",
        ]
        for input in inputs {
            for file in input.files {
                lines.append("| \(Self.cell(input.name)) | \(Self.cell(file.name)) | `\(file.hash)` |")
            }
        }
        // The recipe may hold a fence itself.
        let longest = recipe.utf8.split { $0 != UInt8(ascii: "`") }.reduce(2) { max($0, $1.count) }
        let fence = String(repeating: "`", count: longest + 1)
        lines += [
            "", "## Recipe", "", "\(fence)yaml", recipe.hasSuffix("\n") ? String(recipe.dropLast()) : recipe, fence,
        ]
        return lines.joined(separator: "\n") + "\n"
    }

    /// Text that stays within its cell of a table.
    private static func cell(_ text: String) -> String {
        String(
            text.flatMap { character -> [Character] in
                character.isNewline ? [" "] : character == "|" ? ["\\", "|"] : [character]
            })
    }
}
