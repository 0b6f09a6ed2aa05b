import Glibc
import JSONText
package import LanguageModel
package import Numerics
package import Tokenizing

/// A checkpoint folder in the form of Hugging Face: `config.json`, `generation_config.json`, `model.safetensors`,
/// `tokenizer.json` and `tokenizer_config.json`, open for reading.
///
/// Opening checks everything but the values: the configuration, the tokenizer, and that the tensor file holds exactly the
/// tensors that the configuration asks for, in their shapes.
package final class ModelFolder {
    /// The folder.
    package let path: String
    /// The model's shape.
    package let configuration: ModelConfiguration
    /// The model's tensors.
    package let layout: ParameterLayout
    /// The tokenizer.
    package let tokenizer: Tokenizer
    private let file: SafetensorsFile

    /// Opens a checkpoint folder.
    package init(_ path: String) throws(CheckpointError) {
        var status = stat()
        guard stat(path, &status) == 0 else { throw .file(FileError(.open, path, errno: errno)) }
        guard status.st_mode & S_IFMT == S_IFDIR else { throw .file(FileError(.open, path, errno: ENOTDIR)) }
        self.path = path
        configuration = try Self.configuration(in: path)
        tokenizer = try Self.tokenizer(in: path, configuration: configuration)
        layout = ParameterLayout(configuration)
        guard access("\(path)/model.safetensors.index.json", F_OK) != 0 else {
            throw .unsupported(
                path: "\(path)/model.safetensors.index.json", reason: "checkpoints in several files are not supported")
        }
        file = try SafetensorsFile("\(path)/model.safetensors")
        try Self.check(file, against: layout)
        try checkTiedHead()
    }

    /// The `__metadata__` pairs of the tensor file.
    package var metadata: [(key: String, value: String)] {
        file.header.metadata.map { ($0.key.string, $0.value.string) }
    }

    /// Reads one tensor; NaN and infinity are refused.
    ///
    /// - Parameter target: [tensor.count] float32.
    package func read(
        _ tensor: ParameterLayout.Tensor, into target: UnsafeMutableBufferPointer<Float>
    ) throws(CheckpointError) {
        guard let stored = file.header[JSONString(tensor.name)] else {
            preconditionFailure("opening has checked that every tensor of the layout is there")
        }
        try file.read(stored, into: target)
        guard target.allSatisfy(\.isFinite) else {
            throw .damaged(path: file.path, reason: "\(tensor.name) holds NaN or infinity")
        }
    }

    /// Reads all parameters into one flat buffer in the order of the layout.
    package func readParameters() throws(CheckpointError) -> FloatBuffer {
        let parameters = FloatBuffer(count: layout.count)
        for tensor in layout.tensors {
            try read(
                tensor,
                into: UnsafeMutableBufferPointer(start: parameters.pointer + tensor.offset, count: tensor.count))
        }
        return parameters
    }

    /// A tied model may store its head a second time; transformers 4 and 5 disagree about what a different one means.
    private func checkTiedHead() throws(CheckpointError) {
        guard configuration.tiedEmbeddings, let stored = file.header["lm_head.weight"] else { return }
        let head = FloatBuffer(count: stored.count)
        let embedding = FloatBuffer(count: stored.count)
        try file.read(stored, into: UnsafeMutableBufferPointer(start: head.pointer, count: head.count))
        try read(layout.tensors[0], into: UnsafeMutableBufferPointer(start: embedding.pointer, count: embedding.count))
        for index in 0..<stored.count where head.pointer[index].bitPattern != embedding.pointer[index].bitPattern {
            throw .damaged(
                path: file.path, reason: "lm_head.weight differs from the embedding although the two are tied")
        }
    }

    // MARK: Checks

    private static func configuration(in path: String) throws(CheckpointError) -> ModelConfiguration {
        let name = "\(path)/config.json"
        let bytes: [UInt8]
        do { bytes = try DurableFile.read(name, byteCountMax: 1 << 20) } catch { throw .file(error) }
        do { return try LlamaConfig.decode(bytes) } catch {
            switch error {
            case .malformed(let reason): throw .damaged(path: name, reason: reason)
            case .unsupported(let reason): throw .unsupported(path: name, reason: reason)
            }
        }
    }

    private static func tokenizer(
        in path: String, configuration: ModelConfiguration
    ) throws(CheckpointError) -> Tokenizer {
        let name = "\(path)/tokenizer.json"
        let bytes: [UInt8]
        do { bytes = try DurableFile.read(name, byteCountMax: 64 << 20) } catch { throw .file(error) }
        let tokenizer: Tokenizer
        do { tokenizer = try Tokenizer(tokenizerJSON: bytes) } catch {
            switch error {
            case .malformed(let reason): throw .damaged(path: name, reason: reason)
            case .unsupported: throw .unsupported(path: name, reason: error.description)
            }
        }
        guard tokenizer.vocabularySize <= configuration.vocabularySize else {
            throw .damaged(
                path: name,
                reason: "it has \(tokenizer.vocabularySize) tokens, the model only \(configuration.vocabularySize)")
        }
        return tokenizer
    }

    private static func check(_ file: SafetensorsFile, against layout: ParameterLayout) throws(CheckpointError) {
        func damaged(_ reason: String) -> CheckpointError { .damaged(path: file.path, reason: reason) }
        var known: Set<JSONString> = []
        for tensor in layout.tensors {
            let name = JSONString(tensor.name)
            known.insert(name)
            guard let stored = file.header[name] else { throw damaged("the tensor \(name) is missing") }
            guard stored.shape == tensor.shape else {
                throw damaged("\(name) has the shape \(stored.shape), config.json asks for \(tensor.shape)")
            }
        }
        for stored in file.header.tensors where !known.contains(stored.name) {
            // Old files hold the rotary frequencies, which follow from the configuration.
            if stored.name.string.hasSuffix(".self_attn.rotary_emb.inv_freq") { continue }
            if stored.name == "lm_head.weight", stored.shape == layout.tensors[0].shape { continue }
            throw damaged("the tensor \(stored.name) with the shape \(stored.shape) is not part of the model")
        }
    }
}

extension ModelFolder {
    /// Writes a complete checkpoint folder, atomically and durably; equal arguments give equal bytes.
    ///
    /// - Parameters:
    ///   - path: must not exist, or be an empty folder.
    ///   - metadata: pairs for the tensor file, besides `format`.
    ///   - values: fills [tensor.count] float32 with the values of one tensor; called once per tensor, in the order of
    ///     the file, which is that of the names.
    package static func write(
        to path: String, configuration: ModelConfiguration, tokenizer: Tokenizer,
        metadata: [(key: String, value: String)] = [], layer: any FileLayer = SystemFiles(),
        values: (ParameterLayout.Tensor, UnsafeMutableBufferPointer<Float>) throws(CheckpointError) -> Void
    ) throws(CheckpointError) {
        do {
            let folder = try DurableFolder(path: path, layer: layer)
            try folder.write(LlamaConfig.encode(configuration), as: "config.json")
            try folder.write(LlamaConfig.generationConfig, as: "generation_config.json")
            try folder.write(tokenizer.tokenizerJSON, as: "tokenizer.json")
            try folder.write(
                tokenizer.configJSON(contextLength: configuration.contextLength), as: "tokenizer_config.json")
            let tensors = ParameterLayout(configuration).tensors.sorted {
                $0.name.utf8.lexicographicallyPrecedes($1.name.utf8)
            }
            var file = try folder.file("model.safetensors")
            try file.append(SafetensorsHeader.encodeFloat32(tensors.map { ($0.name, $0.shape) }, metadata: metadata))
            let largest = FloatBuffer(count: tensors.reduce(0) { max($0, $1.count) })
            for tensor in tensors {
                let target = UnsafeMutableBufferPointer(start: largest.pointer, count: tensor.count)
                try values(tensor, target)
                try file.append(UnsafeRawBufferPointer(target))
            }
            try file.commit()
            try folder.commit()
        } catch let error as FileError {
            throw .file(error)
        } catch let error as CheckpointError {
            throw error
        } catch { preconditionFailure("writing a checkpoint must throw one of the two errors above") }
    }

    /// Writes a complete checkpoint folder from a flat parameter buffer in the order of the layout.
    package static func write(
        to path: String, configuration: ModelConfiguration, tokenizer: Tokenizer, parameters: FloatBuffer,
        metadata: [(key: String, value: String)] = [], layer: any FileLayer = SystemFiles()
    ) throws(CheckpointError) {
        precondition(parameters.count == configuration.parameterCount, "the parameters are those of the configuration")
        try write(
            to: path, configuration: configuration, tokenizer: tokenizer, metadata: metadata, layer: layer
        ) { (tensor, target) throws(CheckpointError) in
            guard let base = target.baseAddress else { return }
            base.update(from: parameters.pointer + tensor.offset, count: tensor.count)
        }
    }
}
