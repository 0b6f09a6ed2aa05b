extension Codec {
    /// The exact size of an encoded tile in bytes, before the entropy stage.
    package func byteCount(of shape: TileShape) -> Int {
        switch self {
        case .float32: 4 * shape.count
        case .float16: 2 * shape.count
        case .e3m0: (shape.count + Self.blockLength - 1) / Self.blockLength * E3M0.blockByteCount
        case .uniform(let bits): Uniform(bits: bits).byteCount(ofValues: shape.count)
        case .statistical(let bits): Statistical(bits: bits).byteCount(ofValues: shape.count)
        case .topK(let kept): TopK(kept: kept).byteCount(ofValues: shape.count)
        case .lowRank(let rank): LowRank(rank: rank, shape: shape).byteCount
        }
    }

    /// The exact size of some values that are one row.
    package func byteCount(ofValues valueCount: Int) -> Int { byteCount(of: TileShape(count: valueCount)) }

    /// Where in a tile's bytes, which begin at `offset`, runs of ascending indices stand; none but in top-k tiles.
    package func indexSections(ofValues count: Int, at offset: Int) -> [IndexSection] {
        guard case .topK(let kept) = self else { return [] }
        return TopK(kept: kept).indexSections(ofValues: count, at: offset)
    }

    /// The largest magnitude that the codec encodes.
    package var encodableMagnitudeMax: Float {
        switch self {
        case .float16: Half.magnitudeMax
        case .lowRank: LowRank.magnitudeMax
        case .float32, .e3m0, .uniform, .statistical, .topK: Self.magnitudeMax
        }
    }

    /// Encodes the values of one tile.
    ///
    /// - Parameters:
    ///   - values: the tile's values, flat; all must be finite and at most `encodableMagnitudeMax`.
    ///   - shape: the tile's shape.
    ///   - bins: how a statistical codec chooses its bins.
    ///   - memory: what the encoder keeps from one message of the tile to the next.
    ///   - bytes: exactly `byteCount(of: shape)` bytes, overwritten whole.
    /// - Throws: `CodecError.outOfRange`; `bytes` is then undefined and `memory` as it was.
    /// - Complexity: O(n), for low rank O(n rank); at most two allocations of scratch. Bit-identical on every CPU.
    package func encode(
        _ values: UnsafeBufferPointer<Float>, shape: TileShape, bins: StatisticalBins = .lloyd,
        memory: inout EncoderMemory, into bytes: UnsafeMutableRawBufferPointer
    ) throws(CodecError) {
        precondition(values.count == shape.count, "a tile must have its shape's values")
        precondition(bytes.count == byteCount(of: shape), "the encoder's output must have its exact size")
        switch self {
        case .float32: try RawFloat.encode(values, into: bytes)
        case .float16: try Half.encode(values, into: bytes)
        case .e3m0: try E3M0.encode(values, into: bytes)
        case .uniform(let bits): try Uniform(bits: bits).encode(values, into: bytes)
        case .statistical(let bits): try Statistical(bits: bits).encode(values, bins: bins, into: bytes)
        case .topK(let kept): try TopK(kept: kept).encode(values, into: bytes)
        case .lowRank(let rank): try LowRank(rank: rank, shape: shape).encode(values, memory: &memory, into: bytes)
        }
    }

    /// Encodes values that are one row, by an encoder without memory.
    package func encode(
        _ values: UnsafeBufferPointer<Float>, into bytes: UnsafeMutableRawBufferPointer
    ) throws(CodecError) {
        var memory = EncoderMemory()
        try encode(values, shape: TileShape(count: values.count), memory: &memory, into: bytes)
    }

    /// Decodes one tile; total: any bytes give values or an error.
    ///
    /// - Parameters:
    ///   - bytes: the encoded tile, from anywhere.
    ///   - shape: the tile's shape, which fixes how many bytes there must be.
    ///   - values: where the tile's values go; undefined after an error. All are finite and at most `magnitudeMax`.
    /// - Complexity: O(n), for low rank O(n rank); at most two allocations of scratch. Bit-identical on every CPU.
    package func decode(
        _ bytes: UnsafeRawBufferPointer, shape: TileShape, into values: UnsafeMutableBufferPointer<Float>
    ) throws(CodecError) {
        precondition(values.count == shape.count, "a tile must have its shape's values")
        let expected = byteCount(of: shape)
        guard bytes.count == expected else { throw .wrongByteCount(expected: expected, got: bytes.count) }
        switch self {
        case .float32: try RawFloat.decode(bytes, into: values)
        case .float16: try Half.decode(bytes, into: values)
        case .e3m0: try E3M0.decode(bytes, into: values)
        case .uniform(let bits): try Uniform(bits: bits).decode(bytes, into: values)
        case .statistical(let bits): try Statistical(bits: bits).decode(bytes, into: values)
        case .topK(let kept): try TopK(kept: kept).decode(bytes, into: values)
        case .lowRank(let rank): try LowRank(rank: rank, shape: shape).decode(bytes, into: values)
        }
    }

    /// Decodes values that are one row.
    package func decode(
        _ bytes: UnsafeRawBufferPointer, into values: UnsafeMutableBufferPointer<Float>
    ) throws(CodecError) {
        try decode(bytes, shape: TileShape(count: values.count), into: values)
    }
}

/// How the encoder of a statistical codec chooses its bins; the bytes have one format.
package enum StatisticalBins: Hashable, Sendable, CaseIterable {
    /// Bins of one width, a 2^bits-th of six standard deviations, as MuLoCo has them.
    case sixSigma
    /// Bins whose squared error no single bound can lower (Lloyd's iterations).
    case lloyd
}

/// What an encoder keeps between the messages of one tile: the low-rank codec's last right factor, from which the next
/// search starts. Losing it costs accuracy of one message and nothing else.
package struct EncoderMemory: Sendable {
    /// The right factor of the last message, [rank, columns]; empty before the first.
    var rightFactor: [Float] = []

    /// No message yet.
    package init() {}

    /// Whether nothing is kept.
    package var isEmpty: Bool { rightFactor.isEmpty }
}

/// Why a tile could not be encoded or decoded.
package enum CodecError: Error, Hashable, Sendable {
    /// A value is not a number, infinite or above the largest magnitude that the codec takes.
    case outOfRange(valueIndex: Int)
    /// The bytes of a tile are not as many as its values need.
    case wrongByteCount(expected: Int, got: Int)
    /// A scale, bound, table or magnitude of a block, row, tile or factor is no number or outside its range.
    case badScale(blockIndex: Int)
    /// The indices of a chunk do not ascend or reach beyond it.
    case badIndex(chunkIndex: Int)
    /// Bits that mean nothing, such as padding or the entry of a code that does not occur, are not zero.
    case notCanonical(blockIndex: Int)
}

extension CodecError {
    /// Names the first value that no encoder may take.
    static func firstOutOfRange(
        in values: UnsafeBufferPointer<Float>, from start: Int = 0, magnitudeMax: Float = Codec.magnitudeMax
    ) -> CodecError {
        for index in start..<values.count where !(values[index].magnitude <= magnitudeMax) {
            return .outOfRange(valueIndex: index)
        }
        preconditionFailure("a tile is refused only for a value in it")
    }
}

extension UnsafeRawPointer {
    /// A little-endian float32 at any offset.
    func float(at offset: Int) -> Float {
        Float(bitPattern: UInt32(littleEndian: loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
    }
}

extension UnsafeMutableRawPointer {
    /// Writes a little-endian float32 at any offset.
    func store(_ value: Float, at offset: Int) {
        storeBytes(of: value.bitPattern.littleEndian, toByteOffset: offset, as: UInt32.self)
    }
}
