package import Checkpoint
import JSONText
import LanguageModel
package import Numerics
import Tokenizing

extension MergePlan {
    /// The element type of the result if nothing else is asked for.
    package var type: FloatType { recipe.type ?? models.commonType }

    /// The result's tokens that no model knows: their rows are zero.
    package var unknownTokenCount: Int { vocabulary.unknownCount }

    /// Writes the result, atomically and durably; nothing is left of it after an error.
    ///
    /// - Parameters:
    ///   - path: must not exist, or be an empty folder, and must not be an input.
    ///   - recipeText: the recipe as it was read, which is kept beside the result.
    ///   - seed: of methods that draw random numbers.
    ///   - progress: gets the number of tensors done and in all, before each.
    ///   - isCancelled: asked before each tensor.
    package func write(
        to path: String, storage: TensorStorage, seed: UInt64, recipeText: String, pool: WorkerPool,
        progress: (Int, Int) -> Void = { _, _ in }, isCancelled: @escaping () -> Bool = { false }
    ) throws(MergeError) {
        try models.checkOutput(path, byteCount: configuration.parameterCount * storage.type.byteCount)
        let merges = try tensorMerges(seed: seed)
        let companions = try companions()
        do {
            let card = ModelCard(
                summary: "Made by `atoll merge` with the method \(recipe.method.rawValue).",
                inputs: try models.cardInputs(path: path, isCancelled: isCancelled), seed: seed, recipe: recipeText)
            let places = Dictionary(uniqueKeysWithValues: merges.enumerated().map { ($1.name, $0) })
            var done = 0
            try ModelFolder.write(
                to: path, configuration: configuration, tokenizer: vocabulary.tokenizer, storage: storage,
                companions: companions, documents: card.documents,
                metadata: [("merge_method", recipe.method.rawValue)]
            ) {
                (tensor, take: (UnsafeBufferPointer<Float>) throws(CheckpointError) -> Void) throws(CheckpointError) in
                if isCancelled() { throw .cancelled(path: path) }
                progress(done, merges.count)
                done += 1
                guard let place = places[tensor.name] else { preconditionFailure("the plan covers the layout") }
                try merges[place].write(pool, path: path, isCancelled: isCancelled, take)
            }
        } catch { throw .checkpoint(error) }
    }

    /// Side files and configuration keys of the donor, with the tokenizer's files and special tokens of the model that
    /// the tokenizer comes from.
    private func companions() throws(MergeError) -> Companions {
        do {
            var companions = try donor.companions()
            let owner = vocabulary.donor
            if owner !== donor {
                let other = try owner.companions()
                for name in Companions.tokenizerFiles { companions.files[name] = other.files[name] }
                companions.files["generation_config.json"] = other.files["generation_config.json"]
                for key: JSONString in ["bos_token_id", "eos_token_id", "pad_token_id"] {
                    companions.config[key] = other.config[key]
                }
            }
            if vocabulary.tokenizer != owner.tokenizer {
                // Files that list the old vocabulary.
                for name in ["vocab.json", "merges.txt", "added_tokens.json"] { companions.files[name] = nil }
                companions.files["tokenizer.json"] = vocabulary.tokenizer.tokenizerJSON
            }
            companions.tokenizer = vocabulary.tokenizer
            if let wish = recipe.chatTemplate {
                let inputs = try models.all.map { (model) throws(CheckpointError) in try model.folder.companions() }
                let text = try ChatTemplate.text(wish, inputs: inputs, place: recipe.place.member("chat_template"))
                if let text { ChatTemplate.put(text, into: &companions) }
            }
            return companions
        } catch let error as RecipeProblem {
            throw .recipe(error)
        } catch let error as CheckpointError {
            throw .checkpoint(error)
        } catch { preconditionFailure("side files are refused by one of the two errors above") }
    }
}
