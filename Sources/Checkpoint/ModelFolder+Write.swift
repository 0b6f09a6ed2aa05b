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
        let files = sideFiles(
            configuration, tokenizer, type: storage.type, companions: companions, documents: documents)
        let tensors = ParameterLayout(configuration).tensors.sorted {
            $0.name.utf8.lexicographicallyPrecedes($1.name.utf8)
        }
        try write(
            to: path, files: files, tensors: tensors.map { StoredTensor(name: $0.name, shape: $0.shape) },
            storage: storage, metadata: metadata, trainingState: trainingState, replacing: replacing, layer: layer
        ) { (index, target) throws(CheckpointError) in try values(tensors[index], target) }
    }

    /// A tensor of a checkpoint that is written.
    package struct StoredTensor: Hashable, Sendable {
        /// The name, which no other tensor has.
        package let name: String
        /// Dimensions, slowest first.
        package let shape: [Int]

        /// Wraps the two.
        package init(name: String, shape: [Int]) {
            self.name = name
            self.shape = shape
        }

        /// Number of values.
        package var count: Int { shape.reduce(1, *) }
    }

    /// Writes a checkpoint folder of any architecture, atomically and durably; equal arguments give equal bytes.
    ///
    /// - Parameters:
    ///   - path: must not exist, or be an empty folder.
    ///   - files: `config.json` and all else but the tensors, by name.
    ///   - tensors: in the order of the files.
    ///   - values: fills [count] float32 with the values of the tensor at an index; called once per tensor, in order.
    package static func write(
        to path: String, files: [String: [UInt8]], tensors: [StoredTensor], storage: TensorStorage,
        metadata: [(key: String, value: String)] = [], trainingState: Snapshot? = nil, replacing: Bool = false,
        layer: any FileLayer = SystemFiles(),
        values: (Int, UnsafeMutableBufferPointer<Float>) throws(CheckpointError) -> Void
    ) throws(CheckpointError) {
        do {
            let replaced: ((String) -> Bool)? = replacing ? { isOutput($0) } : nil
            let folder = try DurableFolder(path: path, replacing: replaced, layer: layer)
            for (name, bytes) in files.sorted(by: { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }) {
                try folder.write(bytes, as: name)
            }
            try write(shards(of: tensors, storage), to: folder, path: path, storage, metadata, values)
            try trainingState?.write(to: folder.path(of: trainingStateName), layer: layer)
            try folder.commit()
        } catch let error as FileError {
            throw .file(error)
        } catch let error as CheckpointError {
            throw error
        } catch { preconditionFailure("writing a checkpoint must throw one of the two errors above") }
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

    /// Cuts the tensors into files, in order: as many in each as fit, at least one.
    private static func shards(
        of tensors: [StoredTensor], _ storage: TensorStorage
    ) -> [[(index: Int, tensor: StoredTensor)]] {
        var shards: [[(index: Int, tensor: StoredTensor)]] = []
        var byteCount = 0
        for (index, tensor) in tensors.enumerated() {
            let added = tensor.count * storage.type.byteCount
            if shards.isEmpty || added > storage.shardByteCountMax - byteCount {
                shards.append([])
                byteCount = 0
            }
            shards[shards.count - 1].append((index, tensor))
            byteCount += added
        }
        return shards
    }

    private static func write(
        _ shards: [[(index: Int, tensor: StoredTensor)]], to folder: borrowing DurableFolder, path: String,
        _ storage: TensorStorage, _ metadata: [(key: String, value: String)],
        _ values: (Int, UnsafeMutableBufferPointer<Float>) throws(CheckpointError) -> Void
    ) throws {
        let largest = FloatBuffer(count: shards.joined().reduce(0) { max($0, $1.tensor.count) })
        var places: [(tensor: String, file: String)] = []
        for (number, shard) in shards.enumerated() {
            let name =
                shards.count == 1 ? TensorFiles.fileName : shardName(index: number + 1, count: shards.count)
            var file = try folder.file(name)
            try file.append(
                SafetensorsHeader.encode(
                    shard.map { ($0.tensor.name, $0.tensor.shape) }, type: storage.type, metadata: metadata))
            var blocks = BlockWriter(type: storage.type)
            for (index, tensor) in shard {
                let target = UnsafeMutableBufferPointer(start: largest.pointer, count: tensor.count)
                try values(index, target)
                guard try blocks.append(UnsafeBufferPointer(target), to: &file) else {
                    throw CheckpointError.unrepresentable(path: path, tensor: tensor.name, type: storage.type)
                }
                places.append((tensor.name, name))
            }
            try blocks.flush(to: &file)
            try file.commit()
        }
        guard shards.count > 1 else { return }
        let byteCount = shards.joined().reduce(0) { $0 + $1.tensor.count * storage.type.byteCount }
        try folder.write(SafetensorsIndex.encode(places, byteCount: byteCount), as: TensorFiles.indexName)
    }

    /// `model-00002-of-00005.safetensors`, as transformers names them.
    private static func shardName(index: Int, count: Int) -> String {
        func padded(_ number: Int) -> String {
            let digits = "\(number)"
            return String(repeating: "0", count: max(0, 5 - digits.count)) + digits
        }
        return "model-\(padded(index))-of-\(padded(count)).safetensors"
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
