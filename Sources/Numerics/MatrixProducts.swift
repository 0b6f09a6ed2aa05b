/// How the operands of matrix products are held; sums are float32 in both.
package enum Precision: String, CaseIterable, Hashable, Sendable {
    /// Operands in float32.
    case float32 = "f32"
    /// Operands rounded to bfloat16.
    case bfloat16 = "bf16"

    /// The one that trains faster on this processor.
    package static let fastest: Precision = InstructionSet.best.hasBFloat16 ? .bfloat16 : .float32
}

/// Packed matrix products of one precision and instruction set, and attention, which is made of products; semantics are
/// documented at the functions in NumericsBaseline (MatrixKernels.swift, MatrixPacking.swift, AttentionKernels.swift).
///
/// Callers give and get float32. Operands are packed (B) or staged (A) into buffers of float-sized words, which hold one
/// float32 or two bfloat16 values that follow each other along the depth of the product.
package struct MatrixProducts: Sendable {
    /// The precision of the operands.
    package let precision: Precision
    /// Packs rows of B: rows, columns, source, its stride, the first row's index, the rows of all B, packed B.
    ///
    /// For bfloat16 the first row's index must be even, and so must the number of rows unless the last ones are packed.
    package let packRows: @Sendable (Int, Int, Floats, Int, Int, Int, MutableFloats) -> Void
    /// Packs columns of B: rows, columns of all B, first (a multiple of 16) and end column, source (of all B, column by
    /// column), its stride, packed B.
    package let packColumns: @Sendable (Int, Int, Int, Int, Floats, Int, MutableFloats) -> Void
    /// Copies rows of A into words: rows, columns, source, its stride, words, their stride.
    package let stageRows: @Sendable (Int, Int, Floats, Int, MutableFloats, Int) -> Void
    /// C (+)= A B: rows, columns, depth, staged A, its stride, packed B, C, its stride, whether to add.
    package let multiply: @Sendable (Int, Int, Int, Floats, Int, Floats, MutableFloats, Int, Bool) -> Void
    /// C (+)= Aᵀ B: rows, columns, depth, A in float32, its stride, packed B, C, its stride, whether to add, scratch.
    package let multiplyTransposed:
        @Sendable (Int, Int, Int, Floats, Int, Floats, MutableFloats, Int, Bool, MutableFloats) -> Void
    /// Causal attention.
    package let attention:
        @Sendable (Int, Int, Int, Int, Floats, Floats, Floats, MutableFloats, MutableFloats, MutableFloats) -> Void
    /// The gradient of causal attention.
    package let attentionGradient:
        @Sendable (
            Int, Int, Int, Int, Floats, Floats, Floats, Floats, Floats, Floats, MutableFloats, MutableFloats
        ) -> Void

    /// Words that hold `count` values along the depth.
    package func words(_ count: Int) -> Int { precision == .float32 ? count : (count + 1) / 2 }

    /// The distance of staged rows of `depth` values: such that the rows of a tile do not fight for cache lines.
    ///
    /// Rows that lie a multiple of 1 KiB apart share a sixteenth of a first-level cache's sets or less.
    package func stagedStride(_ depth: Int) -> Int {
        let lines = (words(depth) + 15) / 16
        return (lines % 16 == 0 ? lines + 1 : lines) * 16
    }

    /// Whether A may be read where it lies, with rows of `depth` floats, without staging.
    package func readsInPlace(_ depth: Int) -> Bool { precision == .float32 && depth % 256 != 0 }

    /// Words that a packed B takes.
    package func packedCount(rows: Int, columns: Int) -> Int { words(rows) * ((columns + 15) / 16 * 16) }

    /// Rows (words) of a packed B that lie in one block, as in MatrixPacking.swift.
    package static let packedBlockRows = 256

    /// Words of scratch memory that `multiplyTransposed` takes for so many rows.
    package static func transposedScratchCount(rows: Int) -> Int {
        // Tiles have 3 to 12 rows and 16 words of padding each.
        packedBlockRows * (rows + 16) + 16 * (rows / 3 + 2)
    }
}
