extension ModelFolder {
    /// Hands the values of a tensor over piece by piece.
    package typealias TensorPieces<Tensor> = (
        _ tensor: Tensor, _ take: (UnsafeBufferPointer<Float>) throws(CheckpointError) -> Void
    ) throws(CheckpointError) -> Void

    /// A tensor of a checkpoint that is written.
    package struct TensorDescription: Hashable, Sendable {
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
    ///   - tensors: in the order of the files, each with what the caller knows it by.
    ///   - pieces: hands over the values of a tensor, in ascending order; called once per tensor, in order.
    package static func write<Tensor>(
        to path: String, files: [String: [UInt8]], tensors: [(description: TensorDescription, tensor: Tensor)],
        storage: TensorStorage,
        metadata: [(key: String, value: String)] = [], trainingState: Snapshot? = nil, replacing: Bool = false,
        layer: any FileLayer = SystemFiles(), pieces: TensorPieces<Tensor>
    ) throws(CheckpointError) {
        do {
            let replaced: ((String) -> Bool)? = replacing ? { isOutput($0) } : nil
            let folder = try DurableFolder(path: path, replacing: replaced, layer: layer)
            for (name, bytes) in files.sorted(by: { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }) {
                try folder.write(bytes, as: name)
            }
            try write(shards(of: tensors, storage), to: folder, path: path, storage, metadata, pieces)
            try trainingState?.write(to: folder.path(of: trainingStateName), layer: layer)
            try folder.commit()
        } catch let error as FileError {
            throw .file(error)
        } catch let error as CheckpointError {
            throw error
        } catch { preconditionFailure("writing a checkpoint must throw one of the two errors above") }
    }

    /// Cuts the tensors into files, in order: as many in each as fit, at least one.
    private static func shards<Tensor>(
        of tensors: [(description: TensorDescription, tensor: Tensor)], _ storage: TensorStorage
    ) -> [[(description: TensorDescription, tensor: Tensor)]] {
        var shards: [[(description: TensorDescription, tensor: Tensor)]] = []
        var byteCount = 0
        for tensor in tensors {
            let added = tensor.description.count * storage.type.byteCount
            if shards.isEmpty || added > storage.shardByteCountMax - byteCount {
                shards.append([])
                byteCount = 0
            }
            shards[shards.count - 1].append(tensor)
            byteCount += added
        }
        return shards
    }

    private static func write<Tensor>(
        _ shards: [[(description: TensorDescription, tensor: Tensor)]], to folder: borrowing DurableFolder,
        path: String, _ storage: TensorStorage, _ metadata: [(key: String, value: String)],
        _ pieces: TensorPieces<Tensor>
    ) throws {
        var places: [(tensor: String, file: String)] = []
        for (number, shard) in shards.enumerated() {
            let name =
                shards.count == 1 ? TensorFiles.fileName : shardName(index: number + 1, count: shards.count)
            var file = try folder.file(name)
            try file.append(
                SafetensorsHeader.encode(
                    shard.map { ($0.description.name, $0.description.shape) }, type: storage.type, metadata: metadata))
            var blocks = BlockWriter(type: storage.type)
            for (description, tensor) in shard {
                var left = description.count
                try pieces(tensor) { (values) throws(CheckpointError) in
                    left -= values.count
                    precondition(left >= 0, "a tensor has as many values as its shape says")
                    let isWritten: Bool
                    do throws(FileError) { isWritten = try blocks.append(values, to: &file) } catch {
                        throw .file(error)
                    }
                    guard isWritten else {
                        throw .unrepresentable(path: path, tensor: description.name, type: storage.type)
                    }
                }
                precondition(left == 0, "a tensor has as many values as its shape says")
                places.append((description.name, name))
            }
            try blocks.flush(to: &file)
            try file.commit()
        }
        guard shards.count > 1 else { return }
        let byteCount = shards.joined().reduce(0) { $0 + $1.description.count * storage.type.byteCount }
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
