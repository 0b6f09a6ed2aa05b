import Glibc
package import JSONText
package import LanguageModel
package import Numerics
package import Tokenizing

/// A checkpoint folder in the form of Hugging Face, open for reading: `config.json`, `tokenizer.json`, side files, and
/// the tensors in `model.safetensors` or in several files with `model.safetensors.index.json`.
///
/// Opening checks everything but the values: the configuration, the tokenizer, and that the tensor files hold exactly the
/// tensors that the configuration asks for, in their shapes.
package final class ModelFolder: Sendable {
    /// The folder.
    package let path: String
    /// The model's shape.
    package let configuration: ModelConfiguration
    /// The model's tensors.
    package let layout: ParameterLayout
    /// The tokenizer.
    package let tokenizer: Tokenizer
    /// `config.json` as it is in the folder.
    package let config: JSONObject
    private let tensors: TensorFiles

    /// Opens a checkpoint folder.
    package init(_ path: String) throws(CheckpointError) {
        var status = stat()
        guard stat(path, &status) == 0 else { throw .file(FileError(.open, path, errno: errno)) }
        guard status.st_mode & S_IFMT == S_IFDIR else { throw .file(FileError(.open, path, errno: ENOTDIR)) }
        self.path = path
        (config, configuration) = try Self.configuration(in: path)
        tokenizer = try Self.tokenizer(in: path, configuration: configuration)
        layout = ParameterLayout(configuration)
        tensors = try TensorFiles(folder: path)
        try Self.check(tensors, against: layout)
        try checkTiedHead()
    }

    /// The `__metadata__` pairs of the first tensor file.
    package var metadata: [(key: String, value: String)] {
        tensors.metadata.map { ($0.key.string, $0.value.string) }
    }

    /// The names of the files that hold the tensors.
    package var tensorFileNames: [String] { tensors.fileNames }

    /// Reads the side files, for a model that is made of this one.
    package func companions() throws(CheckpointError) -> Companions {
        do { return try Companions(folder: path, config: config, tokenizer: tokenizer) } catch { throw .file(error) }
    }

    /// Reads one tensor; NaN and infinity are refused.
    ///
    /// - Parameter target: [tensor.count] float32.
    package func read(
        _ tensor: ParameterLayout.Tensor, into target: UnsafeMutableBufferPointer<Float>
    ) throws(CheckpointError) {
        try tensors.read(JSONString(tensor.name), into: target)
    }

    /// Reads some elements of a tensor, in the order of the file; NaN and infinity are refused.
    ///
    /// - Parameter target: one float32 per element.
    package func read(
        _ tensor: ParameterLayout.Tensor, _ elements: Range<Int>, into target: UnsafeMutableBufferPointer<Float>
    ) throws(CheckpointError) {
        try tensors.read(JSONString(tensor.name), elements, into: target)
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
        guard configuration.tiedEmbeddings, let stored = tensors[Self.headName] else { return }
        let embedding = JSONString(layout.tensors[0].name)
        let (left, right) = (
            FloatBuffer(count: FloatConversion.blockCount), FloatBuffer(count: FloatConversion.blockCount)
        )
        for start in stride(from: 0, to: stored.count, by: FloatConversion.blockCount) {
            let elements = start..<min(stored.count, start + FloatConversion.blockCount)
            let bytes = elements.count * MemoryLayout<Float>.size
            try tensors.read(
                Self.headName, elements, into: UnsafeMutableBufferPointer(start: left.pointer, count: elements.count))
            try tensors.read(
                embedding, elements, into: UnsafeMutableBufferPointer(start: right.pointer, count: elements.count))
            guard memcmp(left.pointer, right.pointer, bytes) == 0 else {
                throw .damaged(
                    path: tensors.path(of: Self.headName),
                    reason: "lm_head.weight differs from the embedding although the two are tied")
            }
        }
    }

    // MARK: Checks

    private static let headName: JSONString = "lm_head.weight"

    private static func configuration(
        in path: String
    ) throws(CheckpointError) -> (config: JSONObject, model: ModelConfiguration) {
        let name = "\(path)/config.json"
        let bytes: [UInt8]
        do { bytes = try DurableFile.read(name, byteCountMax: LlamaConfig.byteCountMax) } catch { throw .file(error) }
        do {
            let config = try LlamaConfig.parse(bytes)
            return (config, try LlamaConfig.decode(config))
        } catch {
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
        do { bytes = try DurableFile.read(name, byteCountMax: Companions.byteCountMax) } catch { throw .file(error) }
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

    private static func check(_ tensors: TensorFiles, against layout: ParameterLayout) throws(CheckpointError) {
        var known: Set<JSONString> = []
        for tensor in layout.tensors {
            let name = JSONString(tensor.name)
            known.insert(name)
            guard let stored = tensors[name] else {
                throw .damaged(path: tensors.path(of: name), reason: "the tensor \(name) is missing")
            }
            guard stored.shape == tensor.shape else {
                throw .damaged(
                    path: tensors.path(of: name),
                    reason: "\(name) has the shape \(stored.shape), config.json asks for \(tensor.shape)")
            }
            guard stored.type.isReadable else {
                throw .unsupported(
                    path: tensors.path(of: name), reason: "\(name) has the element type \(stored.type.rawValue)")
            }
        }
        for stored in tensors.tensors where !known.contains(stored.name) {
            // Old files hold the rotary frequencies, which follow from the configuration.
            if stored.name.string.hasSuffix(".self_attn.rotary_emb.inv_freq") { continue }
            // Beside an untied model's head, which is known, this is a tied one's.
            if stored.name == headName, stored.shape == layout.tensors[0].shape { continue }
            throw .damaged(
                path: tensors.path(of: stored.name),
                reason: "the tensor \(stored.name) with the shape \(stored.shape) is not part of the model")
        }
    }
}
