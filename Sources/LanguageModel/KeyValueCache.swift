import Numerics

/// Keys and values of some sequences, in pages of up to 256 positions that are claimed as the texts grow.
///
/// Within a page, each key-value head of each block has its keys (rotated) and values in the packed form that
/// `MatrixProducts.multiply` reads: keys as [depth block][position / 16][depth][position % 16], so that a query times keys
/// is a product of depth `headWidth`; values as [column / 16][position][column % 16], so that weights times values is one
/// of depth `positions`.
struct KeyValueCache {
    /// Positions per page: a multiple of 16, at most the depth of a packed block.
    let pageLength: Int
    private let configuration: ModelConfiguration
    /// Per sequence, its pages in order of position; kept when a sequence starts anew.
    private var pages: [[FloatBuffer]]

    init(_ configuration: ModelConfiguration, sequences: Int) {
        self.configuration = configuration
        pageLength = min(MatrixProducts.packedBlockRows, Self.padded(configuration.contextLength))
        pages = Array(repeating: [], count: sequences)
    }

    /// A count rounded up to whole vectors.
    static func padded(_ count: Int) -> Int { (count + 15) / 16 * 16 }

    /// Bytes that a query reads per earlier position, over all blocks.
    static func bytesPerPosition(_ configuration: ModelConfiguration) -> Int {
        let perHead = configuration.headWidth + padded(configuration.headWidth)
        return configuration.layerCount * configuration.keyValueHeadCount * perHead * MemoryLayout<Float>.stride
    }

    /// Makes room for positions below `length`.
    mutating func grow(_ sequence: Int, to length: Int) {
        let bytes = Self.bytesPerPosition(configuration) * pageLength
        while pages[sequence].count * pageLength < length {
            pages[sequence].append(FloatBuffer(count: bytes / MemoryLayout<Float>.stride))
        }
    }

    /// Keys of one head in the page with number `page`; its values follow `valueOffset` floats later.
    func keys(_ sequence: Int, page: Int, block: Int, head: Int) -> MutableFloats {
        let perHead = (configuration.headWidth + Self.padded(configuration.headWidth)) * pageLength
        return pages[sequence][page].pointer + (block * configuration.keyValueHeadCount + head) * perHead
    }

    /// Distance from a head's keys to its values, in floats.
    var valueOffset: Int { configuration.headWidth * pageLength }

    /// Stores a head's key and value for one position.
    func store(_ key: Floats, _ value: Floats, _ sequence: Int, position: Int, block: Int, head: Int) {
        let (width, slot) = (configuration.headWidth, position % pageLength)
        let keys = keys(sequence, page: position / pageLength, block: block, head: head)
        for first in stride(from: 0, to: width, by: MatrixProducts.packedBlockRows) {
            let depth = min(MatrixProducts.packedBlockRows, width - first)
            let panel = keys + first * pageLength + slot / 16 * 16 * depth + slot % 16
            for index in 0..<depth { panel[index * 16] = key[first + index] }
        }
        let values = keys + valueOffset
        for first in stride(from: 0, to: width, by: 16) {
            (values + first * pageLength + slot * 16).update(from: value + first, count: min(16, width - first))
        }
    }
}
