import Checkpoint
import LanguageModel

extension MergePlan {
    /// The merge of every tensor of the result, in the order of the layout, with all parameters found and checked.
    func tensorMerges(seed: UInt64) throws(MergeError) -> [TensorMerge] {
        let readings = try readings()
        return try parts.enumerated().map { (index, part) throws(MergeError) in
            var merge = TensorMerge(
                recipe.method, name: part.tensor.name, shape: part.tensor.shape, inputs: readings[index],
                base: recipe.method.setsBaseApart ? part.base : nil, seed: seed)
            try setParameters(of: &merge, part)
            try checkSum(merge, part)
            return merge
        }
    }

    /// The nearest scope that has a value counts: the model, the slice, the recipe; then the method's standard value.
    private func setParameters(of merge: inout TensorMerge, _ part: Part) throws(MergeError) {
        let slice = recipe.slices[part.slice]
        for rule in recipe.method.rules {
            let parameter = rule.parameter
            func outer(_ tensor: String) -> Double? {
                slice.parameters[parameter]?.value(for: tensor, at: part.t)
                    ?? recipe.parameters[parameter]?.value(for: tensor, at: part.t)
            }
            guard rule.isPerModel else {
                merge.shared[parameter] = outer(part.tensor.name)
                if merge.shared[parameter] == nil, rule.standard == nil { throw missing(parameter, part, of: nil) }
                continue
            }
            for (index, input) in part.inputs.enumerated() where index != merge.base {
                let own = input.source.flatMap {
                    slice.sources[$0].parameters[parameter]?.value(for: input.name, at: part.t)
                }
                merge.perInput[index][parameter] = own ?? outer(input.name)
                if merge.perInput[index][parameter] == nil, rule.standard == nil {
                    throw missing(parameter, part, of: input)
                }
            }
        }
    }

    private func missing(_ parameter: MergeParameter, _ part: Part, of input: Input?) -> MergeError {
        let slice = recipe.slices[part.slice]
        let place = input?.source.map { slice.sources[$0].place } ?? slice.place
        let whose = input.map { " of \($0.folder.path)" } ?? ""
        return .recipe(
            RecipeProblem(
                place, "'\(parameter.rawValue)'\(whose) has no value for \(part.tensor.name)",
                cure: "Add a value without a filter"))
    }

    /// Where weights are divided by their sum, that must not be zero; found here, before any work.
    private func checkSum(_ merge: TensorMerge, _ part: Part) throws(MergeError) {
        let divides =
            switch recipe.method {
            case .linear: merge.isSet(.normalize)
            case .multislerp: merge.isSet(.normalizeWeights)
            default: false
            }
        guard divides else { return }
        let weights = merge.inputs.indices.filter { $0 != merge.base }.map { merge.value(.weight, of: $0) }
        guard LinearMerge.divides(weights.reduce(0, +), weights) else {
            throw .recipe(
                RecipeProblem(
                    recipe.slices[part.slice].place, "the weights for \(part.tensor.name) sum to zero",
                    cure: "Give weights with another sum, or normalize: false"))
        }
    }

    /// The inputs of every part.
    private func readings() throws(MergeError) -> [[any TensorReading]] {
        guard let rows = vocabulary.rows else {
            return parts.map { part in part.inputs.map { StoredTensor($0.tensor, of: $0.folder) } }
        }
        do {
            return try parts.map { (part) throws(CheckpointError) in
                try part.inputs.map { (input) throws(CheckpointError) -> any TensorReading in
                    guard input.tensor.block == nil, input.tensor.isMatrix,
                        let model = models.all.firstIndex(where: { $0.folder === input.folder })
                    else { return StoredTensor(input.tensor, of: input.folder) }
                    let tensors = models.all.map { (_, folder) in
                        StoredTensor(
                            folder.layout.tensor(named: input.name) ?? folder.layout.tensors[0], of: folder)
                    }
                    return try VocabularyTensor(rows[model], of: model, tensors: tensors, width: input.tensor.shape[1])
                }
            }
        } catch { throw .checkpoint(error) }
    }
}
