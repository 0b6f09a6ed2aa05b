/// One way to turn the float32 values of a tile into bytes: a family and, where it has them, a level.
package enum Codec: Hashable, Sendable {
    /// Plain little-endian float32: lossless, for small tensors and for comparison.
    case float32
    /// IEEE half precision: for small tensors such as norms.
    case float16
    /// Sign, three exponent bits and no mantissa, in blocks of 256 that share a float32 scale (4.125 bits per value).
    case e3m0
    /// Max-min uniform levels of 1 to 8 bits in blocks of 256 (bits + 0.25 per value).
    case uniform(bits: UInt8)
    /// Conditional means of 2^bits bins, in rows of 4096; 2 or 4 bits (2.03 and 4.125 per value).
    case statistical(bits: UInt8)
    /// The largest of every 4096 values (an even number of them, 2 to 1024) with sign and one of two magnitudes:
    /// 14 bits for each, so 64 kept cost 0.219 per value.
    case topK(kept: UInt16)
    /// The product of two thin factors of the tile as a matrix; rank 1 to 64.
    case lowRank(rank: UInt8)

    /// Values that share one scale.
    package static let blockLength = 256
    /// Values that share one table, or of which the largest are kept.
    package static let rowLength = 4096

    /// The largest magnitude that any codec carries: far above every sane value, far below where a product overflows.
    package static let magnitudeMax: Float = 0x1p100

    /// The family's number, as it stands in headers.
    package var family: UInt8 {
        switch self {
        case .float32: 0
        case .e3m0: 1
        case .float16: 2
        case .uniform: 3
        case .statistical: 4
        case .topK: 5
        case .lowRank: 6
        }
    }

    /// The level, as it stands in headers: bits, kept values or rank; 0 where the family has none.
    package var level: UInt16 {
        switch self {
        case .float32, .float16, .e3m0: 0
        case .uniform(let bits), .statistical(let bits): UInt16(bits)
        case .topK(let kept): kept
        case .lowRank(let rank): UInt16(rank)
        }
    }

    /// The codec with these numbers, or nil if there is none.
    package init?(family: UInt8, level: UInt16) {
        switch (family, level) {
        case (0, 0): self = .float32
        case (1, 0): self = .e3m0
        case (2, 0): self = .float16
        case (3, 1...8): self = .uniform(bits: UInt8(level))
        case (4, 2), (4, 4): self = .statistical(bits: UInt8(level))
        case (5, 2...1024) where level % 2 == 0: self = .topK(kept: level)
        case (6, 1...64): self = .lowRank(rank: UInt8(level))
        default: return nil
        }
    }
}

extension Codec: Comparable {
    /// By family, then by level.
    package static func < (left: Self, right: Self) -> Bool {
        (left.family, left.level) < (right.family, right.level)
    }
}

/// What a codec must know of a tile: how many values, and the width of the matrix that they are rows of.
package struct TileShape: Hashable, Sendable {
    /// Values.
    package var count: Int
    /// Columns of the tensor that the tile is cut from, at least 1; the last row of the tile may be short.
    package var columns: Int

    /// Wraps the two; without columns it is one row.
    package init(count: Int, columns: Int? = nil) {
        self.count = count
        self.columns = columns ?? max(1, count)
    }

    /// Rows of the tile as a matrix.
    package var rows: Int { (count + columns - 1) / columns }
}
