import Compression

/// One parameter tensor of the model, in the order of the model's flat parameter buffer.
package struct TensorDescription: Hashable, Sendable {
    /// Its name, unique within the model.
    package var name: String
    /// Its shape; every extent at least 1.
    package var shape: [Int]
    /// The transformer block that it belongs to; nil for embedding, final norm and head.
    package var block: Int?
    /// Where it starts in the model's flat parameter buffer, in floats; nil: right after the one before it.
    package var modelOffset: Int?

    /// Wraps the fields.
    package init(name: String, shape: [Int], block: Int?, modelOffset: Int? = nil) {
        self.name = name
        self.shape = shape
        self.block = block
        self.modelOffset = modelOffset
    }
}

/// How blocks are grouped into fragments.
package enum FragmentRule: UInt8, Hashable, Sendable {
    /// Three blocks per fragment, strided: {j, j + S, j + 2S} for S = ceil(blocks / 3); below six blocks one block per
    /// fragment. Embedding, final norm and an untied head form the last fragment.
    case stridedThrees = 0
    /// The whole model as one fragment: plain DiLoCo.
    case whole = 1
}

/// Why a list of tensors gives no layout.
package enum LayoutError: Error, Hashable, Sendable {
    /// There is no tensor, or none outside the blocks.
    case empty
    /// An extent is below 1, or the sizes overflow.
    case badShape(tensor: String)
    /// A block index is negative, or some block up to the highest has no tensor.
    case missingBlock(Int)
    /// A tensor overlaps the one before it in the flat buffer.
    case overlap(tensor: String)
}

/// How a model is cut into fragments, and fragments into tiles: a pure function of the tensors' order and shapes.
package struct FragmentLayout: Hashable, Sendable {
    /// A tensor's place in its fragment and in the model.
    package struct Tensor: Hashable, Sendable {
        /// The tensor's name.
        package let name: String
        /// Where it starts in the fragment's contiguous vector.
        package let offset: Int
        /// Where it starts in the model's flat parameter buffer.
        package let modelOffset: Int
        /// Its number of parameters.
        package let count: Int
    }

    /// Whole codec blocks of one tensor: the unit that is owned, committed and blended.
    package struct Tile: Hashable, Sendable {
        /// Where it starts in the fragment's contiguous vector.
        package let offset: Int
        /// Where it starts in the model's flat parameter buffer.
        package let modelOffset: Int
        /// Its number of parameters.
        package let count: Int
        /// Its range in the fragment's contiguous vector.
        package var range: Range<Int> { offset..<offset + count }
    }

    /// One fragment: whole tensors, one after the other in model order, as one contiguous float32 vector.
    package struct Fragment: Hashable, Sendable {
        /// Its index in the layout.
        package let index: FragmentIndex
        /// Its tensors, in model order.
        package let tensors: [Tensor]
        /// Its tiles, ascending by offset; together they cover the fragment.
        package let tiles: [Tile]
        /// Its number of parameters.
        package let parameterCount: Int
    }

    /// Parameters in a full tile: 256 codec blocks.
    package static let tileLength = 65_536

    /// The fragments, by index.
    package let fragments: [Fragment]

    /// Cuts a model.
    ///
    /// - Parameters:
    ///   - tensors: all parameter tensors, in the order of the model's flat buffer.
    ///   - rule: how blocks are grouped.
    package init(tensors: [TensorDescription], rule: FragmentRule = .stridedThrees) throws(LayoutError) { fragments = [] }

    /// The number of parameters of the model, padding of its buffer not counted.
    package var parameterCount: Int { fragments.reduce(0) { $0 + $1.parameterCount } }

    /// The fragment with an index, or nil if there is none: indices come from peers.
    package func fragment(_ index: FragmentIndex) -> Fragment? {
        fragments.indices.contains(index.value) ? fragments[index.value] : nil
    }
}
