package import Compression

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
        /// Its last extent; the length of a tensor of one dimension.
        package let columns: Int
    }

    /// Whole codec blocks of one tensor: the unit that is owned, committed and blended.
    package struct Tile: Hashable, Sendable {
        /// Where it starts in the fragment's contiguous vector.
        package let offset: Int
        /// Where it starts in the model's flat parameter buffer.
        package let modelOffset: Int
        /// Its number of parameters.
        package let count: Int
        /// The last extent of its tensor; the length of one of one dimension.
        package let columns: Int
        /// What codecs must know of it.
        package var shape: TileShape { TileShape(count: count, columns: columns) }
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

    /// The number of parameters of the model, padding of its buffer not counted.
    package var parameterCount: Int { fragments.reduce(0) { $0 + $1.parameterCount } }

    /// The fragment with an index, or nil if there is none: indices come from peers.
    package func fragment(_ index: FragmentIndex) -> Fragment? {
        fragments.indices.contains(index.value) ? fragments[index.value] : nil
    }
}

extension FragmentLayout {
    /// Cuts a model.
    ///
    /// - Parameters:
    ///   - tensors: all parameter tensors, in the order of the model's flat buffer.
    ///   - rule: how blocks are grouped.
    /// - Throws: `LayoutError` where sizes overflow, blocks are missing, or tensors overlap.
    package init(tensors: [TensorDescription], rule: FragmentRule = .stridedThrees) throws(LayoutError) {
        let placed = try Self.place(tensors)
        let blockCount = try Self.countBlocks(tensors)
        guard !tensors.isEmpty else { throw .empty }
        var groups: [[Tensor]]
        switch rule {
        case .whole:
            groups = [placed]
        case .stridedThrees:
            let stride = blockCount < 6 ? blockCount : (blockCount + 2) / 3
            groups = [[Tensor]](repeating: [], count: stride + 1)
            for (description, tensor) in zip(tensors, placed) {
                groups[description.block.map { $0 % stride } ?? stride].append(tensor)
            }
            if groups[stride].isEmpty { groups.removeLast() }
        }
        fragments = groups.enumerated().map { Fragment(index: FragmentIndex($0), placing: $1) }
    }

    /// Checks shapes and finds every tensor's place in the flat buffer.
    private static func place(_ tensors: [TensorDescription]) throws(LayoutError) -> [Tensor] {
        var placed: [Tensor] = []
        var end = 0
        for tensor in tensors {
            var count = 1
            for extent in tensor.shape {
                let (product, overflow) = count.multipliedReportingOverflow(by: extent)
                guard extent >= 1, !overflow else { throw .badShape(tensor: tensor.name) }
                count = product
            }
            let start = tensor.modelOffset ?? end
            guard start >= end else { throw .overlap(tensor: tensor.name) }
            let (next, overflow) = start.addingReportingOverflow(count)
            guard !overflow else { throw .badShape(tensor: tensor.name) }
            placed.append(
                Tensor(
                    name: tensor.name, offset: 0, modelOffset: start, count: count, columns: tensor.shape.last ?? 1))
            end = next
        }
        return placed
    }

    /// The number of blocks; every index below it must occur.
    private static func countBlocks(_ tensors: [TensorDescription]) throws(LayoutError) -> Int {
        let indices = Set(tensors.compactMap(\.block))
        for (expected, found) in indices.sorted().enumerated() where expected != found { throw .missingBlock(expected) }
        return indices.count
    }
}

extension FragmentLayout.Fragment {
    /// Lays tensors one after the other and cuts them into tiles: all of a tensor's tiles are full but the last, which
    /// takes the rest and so has between half and one and a half times the full length.
    fileprivate init(index: FragmentIndex, placing members: [FragmentLayout.Tensor]) {
        var tensors: [FragmentLayout.Tensor] = []
        var tiles: [FragmentLayout.Tile] = []
        var offset = 0
        let length = FragmentLayout.tileLength
        for member in members {
            tensors.append(
                FragmentLayout.Tensor(
                    name: member.name, offset: offset, modelOffset: member.modelOffset, count: member.count,
                    columns: member.columns))
            let tileCount = max(1, member.count / length + (member.count % length >= length / 2 ? 1 : 0))
            for tile in 0..<tileCount {
                let start = tile * length
                let count = tile == tileCount - 1 ? member.count - start : length
                tiles.append(
                    FragmentLayout.Tile(
                        offset: offset + start, modelOffset: member.modelOffset + start, count: count,
                        columns: member.columns))
            }
            offset += member.count
        }
        self.index = index
        self.tensors = tensors
        self.tiles = tiles
        parameterCount = offset
    }

    /// The tiles with these indices, or nil unless they are ascending, without repetition and all of this fragment.
    package func tiles(at indices: [TileIndex]) -> [FragmentLayout.Tile]? {
        var last = -1
        var found: [FragmentLayout.Tile] = []
        for index in indices {
            guard index.value > last, index.value < tiles.count else { return nil }
            found.append(tiles[index.value])
            last = index.value
        }
        return found
    }
}
