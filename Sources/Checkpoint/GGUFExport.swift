import JSONText
import LanguageModel
import Numerics

/// Writes a checkpoint as a GGUF file, which llama.cpp and what is built on it run.
package enum GGUFExport {
    /// Writes the file, atomically and durably. One tensor is in memory at a time; vectors stay float32, as llama.cpp
    /// wants them.
    ///
    /// - Parameters:
    ///   - path: a file that does not exist; its folder must.
    ///   - type: the element type of the matrices.
    ///   - isCancelled: asked before each tensor.
    package static func write(
        _ folder: ModelFolder, to path: String, type: FloatType = .float16, layer: any FileLayer = SystemFiles(),
        isCancelled: () -> Bool = { false }
    ) throws(CheckpointError) {
        let header = try header(for: folder, type: type)
        let sources = tensors(of: folder.configuration, type: type)
        let largest = FloatBuffer(count: sources.reduce(0) { max($0, $1.tensor?.count ?? 0) })
        do {
            var file = try DurableWriter(path: path, layer: layer)
            try file.append(header.encoded)
            for source in sources {
                if isCancelled() { throw CheckpointError.cancelled(path: path) }
                try write(source, of: folder, to: &file, path: path, scratch: largest)
            }
            try file.commit()
        } catch let error as FileError {
            throw .file(error)
        } catch let error as CheckpointError {
            throw error
        } catch { preconditionFailure("an export must throw one of the two errors above") }
    }

    // MARK: Metadata

    private static func header(for folder: ModelFolder, type: FloatType) throws(CheckpointError) -> GGUFHeader {
        let model = folder.configuration
        var vocabulary = try GGUFVocabulary(folder)
        vocabulary.pad(to: model.vocabularySize)
        if let objection = vocabulary.objection {
            throw .unsupported(
                path: "\(folder.path)/tokenizer.json", reason: "llama.cpp takes no such one: \(objection)")
        }
        var header = GGUFHeader()
        header.add("general.architecture", .string(Array("llama".utf8)))
        header.add("general.name", .string(Array(splitPath(folder.path).name.utf8)))
        header.add("general.file_type", .uint32(type == .float32 ? 0 : type == .float16 ? 1 : 32))
        let numbers: [(String, Int)] = [
            ("block_count", model.layerCount), ("context_length", model.contextLength),
            ("embedding_length", model.width), ("feed_forward_length", model.feedForwardWidth),
            ("vocab_size", model.vocabularySize), ("rope.dimension_count", model.headWidth),
            ("attention.head_count", model.headCount), ("attention.head_count_kv", model.keyValueHeadCount),
            ("attention.key_length", model.headWidth), ("attention.value_length", model.headWidth),
        ]
        for (key, number) in numbers { header.add("llama.\(key)", .uint32(UInt32(number))) }
        header.add("llama.rope.freq_base", .float32(Float(model.ropeTheta)))
        header.add("llama.attention.layer_norm_rms_epsilon", .float32(model.rmsNormEpsilon))
        addRopeScaling(model, to: &header)
        vocabulary.write(to: &header)
        for source in tensors(of: model, type: type) {
            header.add(GGUFHeader.Tensor(name: source.name, shape: source.shape, type: source.type))
        }
        return header
    }

    /// Linear scaling, and yarn with the numbers that llama.cpp has built in; dynamic scaling does nothing up to the
    /// context length, and everything else is a tensor of divisors.
    private static func addRopeScaling(_ model: ModelConfiguration, to header: inout GGUFHeader) {
        if hasDivisors(model) {
            let amplitude = RotaryFrequencies(model, length: model.contextLength).amplitude
            if amplitude != 1 { header.add("llama.rope.scaling.attn_factor", .float32(Float(amplitude))) }
            return
        }
        switch model.ropeScaling {
        case nil, .dynamic, .llama3: return
        case .linear(let factor):
            header.add("llama.rope.scaling.type", .string(Array("linear".utf8)))
            header.add("llama.rope.scaling.factor", .float32(Float(factor)))
        case .yarn(let yarn):
            header.add("llama.rope.scaling.type", .string(Array("yarn".utf8)))
            header.add("llama.rope.scaling.factor", .float32(Float(yarn.factor)))
            header.add("llama.rope.scaling.original_context_length", .uint32(UInt32(yarn.originalContextLength)))
        }
    }

    /// Whether the rotary frequencies are given as divisors of the plain ones. For Llama models llama.cpp has no key for
    /// the numbers of Llama 3 and for most of those of yarn.
    private static func hasDivisors(_ model: ModelConfiguration) -> Bool {
        switch model.ropeScaling {
        case nil, .linear, .dynamic: false
        case .llama3: true
        case .yarn(let yarn):
            yarn
                != RopeScaling.Yarn(factor: yarn.factor, originalContextLength: yarn.originalContextLength)
        }
    }

    // MARK: Tensors

    /// A tensor of the file and where it comes from.
    private struct Source {
        var name: String
        var shape: [Int]
        var type: FloatType
        /// The model's tensor; nil for the rotary divisors, which are computed.
        var tensor: ParameterLayout.Tensor?
        /// The heads whose rows are reordered; 0 for none.
        var heads = 0
    }

    private static func tensors(of model: ModelConfiguration, type: FloatType) -> [Source] {
        var sources: [Source] = []
        if hasDivisors(model) {
            sources.append(Source(name: "rope_freqs.weight", shape: [model.headWidth / 2], type: .float32))
        }
        for tensor in ParameterLayout(model).tensors {
            let kind = tensor.name.split(separator: ".").dropLast().last.map(String.init) ?? ""
            guard let name = names[kind] else { preconditionFailure("every tensor of a model has a name in GGUF") }
            let prefix = tensor.block.map { "blk.\($0)." } ?? ""
            sources.append(
                Source(
                    name: "\(prefix)\(name).weight", shape: tensor.shape, type: tensor.isMatrix ? type : .float32,
                    tensor: tensor,
                    heads: kind == "q_proj" ? model.headCount : kind == "k_proj" ? model.keyValueHeadCount : 0))
        }
        return sources
    }

    /// The last part of a tensor's name without `.weight`, in Hugging Face's files and in these.
    private static let names = [
        "embed_tokens": "token_embd", "input_layernorm": "attn_norm", "q_proj": "attn_q", "k_proj": "attn_k",
        "v_proj": "attn_v", "o_proj": "attn_output", "post_attention_layernorm": "ffn_norm", "gate_proj": "ffn_gate",
        "up_proj": "ffn_up", "down_proj": "ffn_down", "norm": "output_norm", "lm_head": "output",
    ]

    private static func write(
        _ source: Source, of folder: ModelFolder, to file: inout DurableWriter, path: String, scratch: FloatBuffer
    ) throws {
        var blocks = BlockWriter(type: source.type)
        func append(_ values: UnsafeBufferPointer<Float>, _ blocks: inout BlockWriter) throws {
            guard try blocks.append(values, to: &file) else {
                throw CheckpointError.unrepresentable(path: path, tensor: source.name, type: source.type)
            }
        }
        if let tensor = source.tensor {
            let values = UnsafeMutableBufferPointer(start: scratch.pointer, count: tensor.count)
            try folder.read(tensor, into: values)
            let rowWidth = tensor.shape.last ?? 1
            if source.heads == 0 {
                try append(UnsafeBufferPointer(values), &blocks)
            } else {
                let rows = tensor.shape[0]
                for row in 0..<rows {
                    let from = Self.row(row, headWidth: rows / source.heads) * rowWidth
                    try append(UnsafeBufferPointer(rebasing: values[from..<(from + rowWidth)]), &blocks)
                }
            }
        } else {
            let divisors = FloatBuffer(rotaryDivisors(folder.configuration))
            try append(UnsafeBufferPointer(start: divisors.pointer, count: divisors.count), &blocks)
        }
        try blocks.flush(to: &file)
        let byteCount = source.shape.reduce(source.type.byteCount, *)
        try file.append([UInt8](repeating: 0, count: GGUFHeader.padding(after: byteCount)))
    }

    /// The row of a query or key matrix that becomes row `row`: within a head the pairs that rotate together, which lie
    /// half a head apart here, come to lie side by side.
    static func row(_ row: Int, headWidth: Int) -> Int {
        let (head, inHead) = row.quotientAndRemainder(dividingBy: headWidth)
        return head * headWidth + inHead % 2 * (headWidth / 2) + inHead / 2
    }

    /// [headWidth / 2]: what llama.cpp divides the plain frequencies by.
    static func rotaryDivisors(_ model: ModelConfiguration) -> [Float] {
        var plain = model
        plain.ropeScaling = nil
        return zip(
            RotaryFrequencies(plain, length: model.contextLength).radians,
            RotaryFrequencies(model, length: model.contextLength).radians
        ).map { Float($0 / $1) }
    }
}
