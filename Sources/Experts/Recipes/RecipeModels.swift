import Checkpoint
import Glibc
import JSONText

/// The models that a recipe names, each folder open once.
struct RecipeModels {
    /// In order of first mention.
    private(set) var all: [(name: String, folder: ModelFolder)] = []

    /// Opens the folders; paths are relative to the working directory, as in mergekit.
    ///
    /// - Parameter models: each once, with its place in the recipe.
    init(_ models: [(name: String, place: String)]) throws(MergeError) {
        for model in models {
            try Self.checkName(model.name, place: model.place)
            let folder: ModelFolder
            do { folder = try ModelFolder(model.name) } catch { throw .checkpoint(error) }
            try Self.checkLeftovers(of: folder)
            all.append((model.name, folder))
        }
    }

    /// The folder of a model of the recipe.
    subscript(_ name: String) -> ModelFolder {
        guard let model = all.first(where: { $0.name.utf8.elementsEqual(name.utf8) }) else {
            preconditionFailure("every model of a recipe is opened")
        }
        return model.folder
    }

    /// Tells people who write what mergekit would fetch or patch what to do; local folders of any name pass.
    static func checkName(_ name: String, place: String) throws(MergeError) {
        guard access(name, F_OK) != 0 else { return }
        let parts = name.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        if name.utf8.contains(UInt8(ascii: "+")) {
            throw .noModel(
                RecipeProblem(
                    place: place, reason: "there is no folder \(name), and LoRA adapters are not applied",
                    cure: "Merge the adapter into its model first (PEFT's merge_and_unload) and name that folder"))
        }
        if name.utf8.contains(UInt8(ascii: "@")) {
            throw .noModel(
                RecipeProblem(
                    place: place, reason: "there is no folder \(name), and revisions are not fetched",
                    cure:
                        "Download the revision first (hf download ID --revision REVISION --local-dir DIR) and name the folder"
                ))
        }
        if parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty, !name.hasPrefix(".") {
            throw .noModel(
                RecipeProblem(
                    place: place, reason: "there is no folder \(name), and models are not fetched from a hub",
                    cure:
                        "Check the path, or download the model first (hf download \(name) --local-dir DIR) and name the folder"
                ))
        }
    }

    /// A file of tensors that nothing names is a sign that two checkpoints were written into one folder.
    private static func checkLeftovers(of folder: ModelFolder) throws(MergeError) {
        let names: [String]
        do { names = try SystemFiles().list(folder.path) } catch { throw .checkpoint(.file(error)) }
        let used = folder.tensorFileNames
        for name in names where name.hasSuffix(".safetensors") && name.hasPrefix("model") && !used.contains(name) {
            throw .checkpoint(
                .damaged(
                    path: "\(folder.path)/\(name)", reason: "the checkpoint beside it does not name it: it is left over"
                ))
        }
    }
}

// MARK: - What results need to know of their inputs

extension RecipeModels {
    /// The element type that all models say they have; float32 where they differ.
    var commonType: FloatType {
        let types = all.map { model in
            let config = model.folder.config
            return (config["torch_dtype"] ?? config["dtype"])?.string.flatMap { FloatType(rawValue: $0.string) }
        }
        guard let first = types.first ?? nil, types.allSatisfy({ $0 == first }) else { return .float32 }
        return first
    }

    /// Throws unless an output can be begun: it is no input and no folder in use, its disk has room.
    func checkOutput(_ path: String, byteCount: Int) throws(MergeError) {
        let target = canonicalPath(path)
        for model in all where target != nil && canonicalPath(model.folder.path) == target {
            throw .outputIsInput(path)
        }
        do { try DurableFolder.checkUnused(path) } catch { throw .checkpoint(.file(error)) }
        guard access(DiskSpace.folder(of: path), W_OK | X_OK) == 0 else {
            throw .checkpoint(.file(FileError(.createFolder, path, errno: errno)))
        }
        try DiskSpace.check(for: path, byteCount: byteCount)
    }

    /// The models with the hashes of their files, for the model card.
    func cardInputs(path: String, isCancelled: () -> Bool) throws(CheckpointError) -> [ModelCard.Input] {
        try all.map { (model) throws(CheckpointError) in
            guard let input = try ModelCard.input(model.name, model.folder, isCancelled: isCancelled) else {
                throw .cancelled(path: path)
            }
            return input
        }
    }
}

/// The path without links and dots; nil if it does not exist.
func canonicalPath(_ path: String) -> String? {
    guard let resolved = realpath(path, nil) else { return nil }
    defer { free(resolved) }
    return String(cString: resolved)
}
