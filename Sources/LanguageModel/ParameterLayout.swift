/// Where each tensor lies in the one flat float32 buffer that holds a model.
///
/// Tensors follow each other without gaps, in this order: embedding, the blocks (input norm, q, k, v, o, post-attention
/// norm, gate, up, down), final norm, and the head unless it is tied. Matrices are [outputs, inputs], row-major, so that
/// q, k, v (and gate, up) lie one below the other and act as one matrix.
package struct ParameterLayout: Hashable, Sendable {
    /// One tensor of the model.
    package struct Tensor: Hashable, Sendable {
        /// Hugging Face's name, such as `model.layers.0.self_attn.q_proj.weight`.
        package let name: String
        /// Dimensions, slowest first; [outputs, inputs] or [width].
        package let shape: [Int]
        /// Position of the first value in the flat buffer, in floats.
        package let offset: Int
        /// Number of values.
        package let count: Int
        /// The decoder block that owns it; nil for embedding, final norm and head.
        package let block: Int?
        /// Its place in the flat buffer.
        package var range: Range<Int> { offset..<offset + count }
        /// Norm weights are vectors, everything else is a matrix.
        package var isMatrix: Bool { shape.count == 2 }
    }

    /// The shape that the layout was made for.
    package let configuration: ModelConfiguration
    /// All tensors, in buffer order.
    package let tensors: [Tensor]
    /// Length of the flat buffer, in floats.
    package let count: Int

    /// Lays out a model; the configuration must be valid.
    package init(_ configuration: ModelConfiguration) {
        self.configuration = configuration
        var tensors: [Tensor] = []
        var offset = 0
        func add(_ name: String, _ shape: [Int], block: Int? = nil) {
            let count = shape.reduce(1, *)
            tensors.append(Tensor(name: name, shape: shape, offset: offset, count: count, block: block))
            offset += count
        }
        let (width, hidden) = (configuration.width, configuration.feedForwardWidth)
        add("model.embed_tokens.weight", [configuration.vocabularySize, width])
        for block in 0..<configuration.layerCount {
            let prefix = "model.layers.\(block)."
            add(prefix + "input_layernorm.weight", [width], block: block)
            add(prefix + "self_attn.q_proj.weight", [configuration.queryWidth, width], block: block)
            add(prefix + "self_attn.k_proj.weight", [configuration.keyValueWidth, width], block: block)
            add(prefix + "self_attn.v_proj.weight", [configuration.keyValueWidth, width], block: block)
            add(prefix + "self_attn.o_proj.weight", [width, configuration.queryWidth], block: block)
            add(prefix + "post_attention_layernorm.weight", [width], block: block)
            add(prefix + "mlp.gate_proj.weight", [hidden, width], block: block)
            add(prefix + "mlp.up_proj.weight", [hidden, width], block: block)
            add(prefix + "mlp.down_proj.weight", [width, hidden], block: block)
        }
        add("model.norm.weight", [width])
        if !configuration.tiedEmbeddings { add("lm_head.weight", [configuration.vocabularySize, width]) }
        self.tensors = tensors
        count = offset
        precondition(count == configuration.parameterCount, "the layout must cover every parameter once")
    }

    /// The tensor of that name, compared byte by byte (`String ==` would fold canonically equivalent names).
    package func tensor(named name: String) -> Tensor? {
        tensors.first { $0.name.utf8.elementsEqual(name.utf8) }
    }

    /// Offsets of one block's tensors, for the hot path.
    struct Block: Sendable {
        let inputNorm, queryKeyValue, attentionOutput, postNorm, gateUp, down: Int
    }

    /// Offsets of block `index`; q, k, v and gate, up are each one matrix.
    func block(_ index: Int) -> Block {
        let first = 1 + index * 9
        return Block(
            inputNorm: tensors[first].offset, queryKeyValue: tensors[first + 1].offset,
            attentionOutput: tensors[first + 4].offset, postNorm: tensors[first + 5].offset,
            gateUp: tensors[first + 6].offset, down: tensors[first + 8].offset)
    }

    /// Offset of the final norm's weight.
    var finalNorm: Int { tensors[1 + configuration.layerCount * 9].offset }
    /// Offset of the output head: the embedding where tied.
    var head: Int { configuration.tiedEmbeddings ? 0 : tensors[2 + configuration.layerCount * 9].offset }
}
