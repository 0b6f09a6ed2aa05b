package import LanguageModel
package import Numerics
package import Tokenizing

/// How a checkpoint's tensors are stored.
package struct TensorStorage: Hashable, Sendable {
    /// The element type.
    package var type: FloatType
    /// Most bytes of tensors in one file, as far as a single tensor fits; a model above it is written in several.
    package var shardByteCountMax: Int

    /// The shard size of transformers 4.
    package static let shardByteCountMaxDefault = 5_000_000_000

    /// Float32 in one file, unless told otherwise and unless the model is large.
    package init(type: FloatType = .float32, shardByteCountMax: Int = shardByteCountMaxDefault) {
        self.type = type
        self.shardByteCountMax = shardByteCountMax
    }
}

extension ModelFolder {
    /// The file beside a model that training goes on from.
    package static let trainingStateName = "trainer.state"

    /// Whether a file of that name belongs to a checkpoint, as opposed to what else a person keeps in the folder.
    package static func isOutput(_ name: String) -> Bool {
        let isShard = name.hasPrefix("model-") && name.contains("-of-") && name.hasSuffix(".safetensors")
        let others = ["model.safetensors", "model.safetensors.index.json", "config.json", trainingStateName]
        return isShard || (others + Companions.tokenizerFiles + Companions.otherFiles).contains(name)
    }

    /// Writes a complete checkpoint folder, atomically and durably; equal arguments give equal bytes.
    ///
    /// - Parameters:
    ///   - path: must not exist, or be an empty folder.
    ///   - storage: element type and shard size.
    ///   - companions: side files and configuration keys of the checkpoint that the model was made of.
    ///   - documents: other files by name, such as a model card.
    ///   - metadata: pairs for the tensor files, besides `format`.
    ///   - trainingState: what training needs besides the model to go on, as the file `trainingStateName`.
    ///   - replacing: whether a checkpoint at `path` is replaced, in one step; files that are no part of one stay.
    ///   - values: fills [tensor.count] float32 with the values of one tensor; called once per tensor, in the order of
    ///     the files, which is that of the names. NaN, infinity and what is beyond the element type are refused.
    package static func write(
        to path: String, configuration: ModelConfiguration, tokenizer: Tokenizer,
        storage: TensorStorage = TensorStorage(), companions: Companions? = nil, documents: [String: [UInt8]] = [:],
        metadata: [(key: String, value: String)] = [], trainingState: Snapshot? = nil, replacing: Bool = false,
        layer: any FileLayer = SystemFiles(),
        values: (ParameterLayout.Tensor, UnsafeMutableBufferPointer<Float>) throws(CheckpointError) -> Void
    ) throws(CheckpointError) {
        let largest = FloatBuffer(count: ParameterLayout(configuration).tensors.reduce(0) { max($0, $1.count) })
        try write(
            to: path, configuration: configuration, tokenizer: tokenizer, storage: storage, companions: companions,
            documents: documents, metadata: metadata, trainingState: trainingState, replacing: replacing, layer: layer
        ) { (tensor, take: (UnsafeBufferPointer<Float>) throws(CheckpointError) -> Void) throws(CheckpointError) in
            let target = UnsafeMutableBufferPointer(start: largest.pointer, count: tensor.count)
            try values(tensor, target)
            try take(UnsafeBufferPointer(target))
        }
    }

    /// Writes a complete checkpoint folder whose tensors come piece by piece; no tensor is ever whole in memory.
    ///
    /// - Parameter pieces: hands the values of one tensor to its second argument, in ascending order, [tensor.count] in
    ///   all; called once per tensor, in the order of the names. Everything else is as above.
    package static func write(
        to path: String, configuration: ModelConfiguration, tokenizer: Tokenizer,
        storage: TensorStorage = TensorStorage(), companions: Companions? = nil, documents: [String: [UInt8]] = [:],
        metadata: [(key: String, value: String)] = [], trainingState: Snapshot? = nil, replacing: Bool = false,
        layer: any FileLayer = SystemFiles(), pieces: TensorPieces<ParameterLayout.Tensor>
    ) throws(CheckpointError) {
        let files = sideFiles(
            configuration, tokenizer, type: storage.type, companions: companions, documents: documents)
        let tensors = ParameterLayout(configuration).tensors.sorted {
            $0.name.utf8.lexicographicallyPrecedes($1.name.utf8)
        }
        try write(
            to: path, files: files,
            tensors: tensors.map { (TensorDescription(name: $0.name, shape: $0.shape), $0) },
            storage: storage, metadata: metadata, trainingState: trainingState, replacing: replacing, layer: layer,
            pieces: pieces)
    }

    /// Everything but the tensors, by name.
    private static func sideFiles(
        _ configuration: ModelConfiguration, _ tokenizer: Tokenizer, type: FloatType, companions: Companions?,
        documents: [String: [UInt8]]
    ) -> [String: [UInt8]] {
        var files = companions?.files(for: tokenizer) ?? [Companions.generationName: LlamaConfig.generationConfig]
        if files["tokenizer.json"] == nil {
            files["tokenizer.json"] = tokenizer.tokenizerJSON
            files["tokenizer_config.json"] = tokenizer.configJSON(contextLength: configuration.contextLength)
        }
        files["config.json"] = LlamaConfig.encode(configuration, type: type, keeping: companions?.config)
        return files.merging(documents) { $1 }
    }

    /// Writes a complete checkpoint folder from a flat parameter buffer in the order of the layout.
    package static func write(
        to path: String, configuration: ModelConfiguration, tokenizer: Tokenizer, parameters: FloatBuffer,
        storage: TensorStorage = TensorStorage(), companions: Companions? = nil,
        metadata: [(key: String, value: String)] = [], trainingState: Snapshot? = nil, replacing: Bool = false,
        layer: any FileLayer = SystemFiles()
    ) throws(CheckpointError) {
        precondition(parameters.count == configuration.parameterCount, "the parameters are those of the configuration")
        try write(
            to: path, configuration: configuration, tokenizer: tokenizer, storage: storage, companions: companions,
            metadata: metadata, trainingState: trainingState, replacing: replacing, layer: layer
        ) { (tensor, target) throws(CheckpointError) in
            guard let base = target.baseAddress else { return }
            base.update(from: parameters.pointer + tensor.offset, count: tensor.count)
        }
    }
}

/// Converts float32 values to a type and appends them to a file, a block at a time.
struct BlockWriter: ~Copyable {
    private let type: FloatType
    private let block: UnsafeMutableRawBufferPointer
    private var filled = 0

    init(type: FloatType) {
        self.type = type
        block = .allocate(byteCount: FloatConversion.blockCount * type.byteCount, alignment: 16)
    }

    deinit { block.deallocate() }

    /// Appends values; false, with the file in no use any more, if one is NaN, infinite or beyond the type's range.
    mutating func append(
        _ values: UnsafeBufferPointer<Float>, to file: inout DurableWriter
    ) throws(FileError) -> Bool {
        var done = 0
        while done < values.count {
            let room = (block.count - filled) / type.byteCount
            let count = min(room, values.count - done)
            let part = UnsafeBufferPointer(rebasing: values[done..<(done + count)])
            let target = UnsafeMutableRawBufferPointer(
                rebasing: block[filled..<(filled + count * type.byteCount)])
            guard FloatConversion.areFinite(part), FloatConversion.narrow(part, type, into: target) else {
                return false
            }
            done += count
            filled += count * type.byteCount
            if filled == block.count { try flush(to: &file) }
        }
        return true
    }

    /// Writes what is left in the block.
    mutating func flush(to file: inout DurableWriter) throws(FileError) {
        try file.append(UnsafeRawBufferPointer(rebasing: block[..<filled]))
        filled = 0
    }
}
