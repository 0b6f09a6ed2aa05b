import CVector
import NumericsBaseline
import NumericsV3
import NumericsV4
import NumericsV4BFloat16

/// The instruction sets that kernels are built for.
package enum InstructionSet: String, CaseIterable, Sendable {
    /// What every processor of the architecture has.
    case baseline
    /// x86-64-v3: AVX2 and FMA.
    case v3 = "x86-64-v3"
    /// x86-64-v4: AVX-512.
    case v4 = "x86-64-v4"
    /// x86-64-v4 with AVX512_BF16: pairs of bfloat16 products in one instruction.
    case v4BFloat16 = "x86-64-v4+bf16"

    /// The best one that this processor runs; probed once.
    package static let best: InstructionSet =
        switch vector_instruction_level() {
        case 5: .v4BFloat16
        case 4: .v4
        case 3: .v3
        default: .baseline
        }

    /// Those that this processor runs, lowest first.
    package static var available: [InstructionSet] {
        switch best {
        case .baseline: [.baseline]
        case .v3: [.baseline, .v3]
        case .v4: [.baseline, .v3, .v4]
        case .v4BFloat16: [.baseline, .v3, .v4, .v4BFloat16]
        }
    }

    /// Whether bfloat16 products are faster than float32 ones; the others round and then compute in float32.
    package var hasBFloat16: Bool { self == .v4BFloat16 }
}

/// A read-only float array.
package typealias Floats = UnsafePointer<Float>
/// A float array that is written.
package typealias MutableFloats = UnsafeMutablePointer<Float>

/// The kernels of one instruction set; signatures and semantics are documented at the functions in NumericsBaseline.
///
/// A call through the table costs about a nanosecond, so kernels take whole rows, heads or matrices. Callers check sizes;
/// kernels check nothing. Each is deterministic for its instruction set, independent of threads and alignment.
package struct Kernels: Sendable {
    /// The instruction set that these are built for.
    package let instructionSet: InstructionSet
    /// Matrix products in float32.
    package let float32: MatrixProducts
    /// Matrix products over bfloat16 values with float32 sums.
    package let bfloat16: MatrixProducts
    /// Y (+)= W X for a few vectors, W as it is stored.
    package let multiplyVectors: @Sendable (Int, Int, Floats, Int, Floats, Int, MutableFloats, Int, Bool) -> Void
    /// The sum of products.
    package let dotProduct: @Sendable (Int, Floats, Floats) -> Float
    /// Rounds to bfloat16, in place.
    package let roundToBFloat16: @Sendable (Int, MutableFloats) -> Void
    /// Makes float32 of bfloat16 values.
    package let expandBFloat16: @Sendable (Int, Floats, MutableFloats) -> Void
    /// RMSNorm.
    package let rmsNorm: @Sendable (Int, Int, Floats, Floats, Float, MutableFloats, MutableFloats) -> Void
    /// The gradient of RMSNorm.
    package let rmsNormGradient:
        @Sendable (Int, Int, Floats, Floats, Floats, Floats, Floats, MutableFloats, MutableFloats) -> Void
    /// SwiGLU.
    package let swiGLU: @Sendable (Int, Int, Floats, MutableFloats) -> Void
    /// The gradient of SwiGLU.
    package let swiGLUGradient: @Sendable (Int, Int, Floats, MutableFloats, MutableFloats) -> Void
    /// y += x.
    package let addInto: @Sendable (Int, Floats, MutableFloats) -> Void
    /// x *= factor.
    package let scale: @Sendable (Int, Float, MutableFloats) -> Void
    /// live = alpha * live + (1 - alpha) * target; equal bits everywhere.
    package let blend: @Sendable (Int, Float, Floats, MutableFloats) -> Void
    /// The sum of squares.
    package let sumOfSquares: @Sendable (Int, Floats) -> Double
    /// Softmax cross-entropy and its gradient, in place.
    package let crossEntropy: @Sendable (Int, Int, MutableFloats, UnsafePointer<Int32>, Float) -> Double
    /// Exponentials relative to the largest value, in place.
    package let exponentials: @Sendable (Int, MutableFloats) -> (largest: Float, sum: Float)
    /// AdamW.
    package let adamW:
        @Sendable (
            Int, MutableFloats, Floats, MutableFloats, MutableFloats, Float, Float, Float, Float, Float, Float, Float
        ) -> Void
    /// Rotary position embedding.
    package let rotate: @Sendable (Int, Int, Floats, Int, Floats, Floats, Float, Float, MutableFloats, Int) -> Void
    /// Floats of scratch memory for attention.
    package let attentionScratchCount: @Sendable (Int, Int) -> Int

    /// The matrix products of a precision.
    ///
    /// bfloat16 goes to oneDNN where the processor has matrix units for it, else to our tiles.
    package func products(_ precision: Precision) -> MatrixProducts {
        guard precision == .bfloat16 else { return float32 }
        return instructionSet == .v4BFloat16 && vector_has_matrix_units() != 0 ? .oneDNN : bfloat16
    }

    /// The kernels for this processor.
    package static let best = Kernels.built(for: .best)

    /// The kernels built for one instruction set; the processor must have it.
    package static func built(for instructionSet: InstructionSet) -> Kernels {
        precondition(
            InstructionSet.available.contains(instructionSet), "this processor lacks \(instructionSet.rawValue)")
        return switch instructionSet {
        case .baseline: baseline
        case .v3: v3
        case .v4: v4
        case .v4BFloat16: v4BFloat16
        }
    }

    private static let baseline = Kernels(
        instructionSet: .baseline,
        float32: MatrixProducts(
            precision: .float32,
            packRows: NumericsBaseline.packRows,
            packColumns: NumericsBaseline.packColumns,
            stageRows: NumericsBaseline.stageRows,
            multiply: NumericsBaseline.multiplyPacked,
            multiplyTransposed: NumericsBaseline.multiplyTransposedPacked,
            attention: NumericsBaseline.attention,
            attentionGradient: NumericsBaseline.attentionGradient),
        bfloat16: MatrixProducts(
            precision: .bfloat16,
            packRows: NumericsBaseline.packRowPairs,
            packColumns: NumericsBaseline.packColumnPairs,
            stageRows: NumericsBaseline.stageRowPairs,
            multiply: NumericsBaseline.multiplyPackedPairs,
            multiplyTransposed: NumericsBaseline.multiplyTransposedPackedPairs,
            attention: NumericsBaseline.attentionPairs,
            attentionGradient: NumericsBaseline.attentionGradientPairs),
        multiplyVectors: NumericsBaseline.multiplyVectors,
        dotProduct: NumericsBaseline.dotProduct,
        roundToBFloat16: NumericsBaseline.roundToBFloat16,
        expandBFloat16: NumericsBaseline.expandBFloat16,
        rmsNorm: NumericsBaseline.rmsNorm,
        rmsNormGradient: NumericsBaseline.rmsNormGradient,
        swiGLU: NumericsBaseline.swiGLU,
        swiGLUGradient: NumericsBaseline.swiGLUGradient,
        addInto: NumericsBaseline.addInto,
        scale: NumericsBaseline.scale,
        blend: NumericsBaseline.blend,
        sumOfSquares: NumericsBaseline.sumOfSquares,
        crossEntropy: NumericsBaseline.crossEntropy,
        exponentials: NumericsBaseline.exponentials,
        adamW: NumericsBaseline.adamW,
        rotate: NumericsBaseline.rotate,
        attentionScratchCount: NumericsBaseline.attentionScratchCount)

    private static let v3 = Kernels(
        instructionSet: .v3,
        float32: MatrixProducts(
            precision: .float32,
            packRows: NumericsV3.packRows,
            packColumns: NumericsV3.packColumns,
            stageRows: NumericsV3.stageRows,
            multiply: NumericsV3.multiplyPacked,
            multiplyTransposed: NumericsV3.multiplyTransposedPacked,
            attention: NumericsV3.attention,
            attentionGradient: NumericsV3.attentionGradient),
        bfloat16: MatrixProducts(
            precision: .bfloat16,
            packRows: NumericsV3.packRowPairs,
            packColumns: NumericsV3.packColumnPairs,
            stageRows: NumericsV3.stageRowPairs,
            multiply: NumericsV3.multiplyPackedPairs,
            multiplyTransposed: NumericsV3.multiplyTransposedPackedPairs,
            attention: NumericsV3.attentionPairs,
            attentionGradient: NumericsV3.attentionGradientPairs),
        multiplyVectors: NumericsV3.multiplyVectors,
        dotProduct: NumericsV3.dotProduct,
        roundToBFloat16: NumericsV3.roundToBFloat16,
        expandBFloat16: NumericsV3.expandBFloat16,
        rmsNorm: NumericsV3.rmsNorm,
        rmsNormGradient: NumericsV3.rmsNormGradient,
        swiGLU: NumericsV3.swiGLU,
        swiGLUGradient: NumericsV3.swiGLUGradient,
        addInto: NumericsV3.addInto,
        scale: NumericsV3.scale,
        blend: NumericsV3.blend,
        sumOfSquares: NumericsV3.sumOfSquares,
        crossEntropy: NumericsV3.crossEntropy,
        exponentials: NumericsV3.exponentials,
        adamW: NumericsV3.adamW,
        rotate: NumericsV3.rotate,
        attentionScratchCount: NumericsV3.attentionScratchCount)

    private static let v4 = Kernels(
        instructionSet: .v4,
        float32: MatrixProducts(
            precision: .float32,
            packRows: NumericsV4.packRows,
            packColumns: NumericsV4.packColumns,
            stageRows: NumericsV4.stageRows,
            multiply: NumericsV4.multiplyPacked,
            multiplyTransposed: NumericsV4.multiplyTransposedPacked,
            attention: NumericsV4.attention,
            attentionGradient: NumericsV4.attentionGradient),
        bfloat16: MatrixProducts(
            precision: .bfloat16,
            packRows: NumericsV4.packRowPairs,
            packColumns: NumericsV4.packColumnPairs,
            stageRows: NumericsV4.stageRowPairs,
            multiply: NumericsV4.multiplyPackedPairs,
            multiplyTransposed: NumericsV4.multiplyTransposedPackedPairs,
            attention: NumericsV4.attentionPairs,
            attentionGradient: NumericsV4.attentionGradientPairs),
        multiplyVectors: NumericsV4.multiplyVectors,
        dotProduct: NumericsV4.dotProduct,
        roundToBFloat16: NumericsV4.roundToBFloat16,
        expandBFloat16: NumericsV4.expandBFloat16,
        rmsNorm: NumericsV4.rmsNorm,
        rmsNormGradient: NumericsV4.rmsNormGradient,
        swiGLU: NumericsV4.swiGLU,
        swiGLUGradient: NumericsV4.swiGLUGradient,
        addInto: NumericsV4.addInto,
        scale: NumericsV4.scale,
        blend: NumericsV4.blend,
        sumOfSquares: NumericsV4.sumOfSquares,
        crossEntropy: NumericsV4.crossEntropy,
        exponentials: NumericsV4.exponentials,
        adamW: NumericsV4.adamW,
        rotate: NumericsV4.rotate,
        attentionScratchCount: NumericsV4.attentionScratchCount)

    private static let v4BFloat16 = Kernels(
        instructionSet: .v4BFloat16,
        float32: MatrixProducts(
            precision: .float32,
            packRows: NumericsV4BFloat16.packRows,
            packColumns: NumericsV4BFloat16.packColumns,
            stageRows: NumericsV4BFloat16.stageRows,
            multiply: NumericsV4BFloat16.multiplyPacked,
            multiplyTransposed: NumericsV4BFloat16.multiplyTransposedPacked,
            attention: NumericsV4BFloat16.attention,
            attentionGradient: NumericsV4BFloat16.attentionGradient),
        bfloat16: MatrixProducts(
            precision: .bfloat16,
            packRows: NumericsV4BFloat16.packRowPairs,
            packColumns: NumericsV4BFloat16.packColumnPairs,
            stageRows: NumericsV4BFloat16.stageRowPairs,
            multiply: NumericsV4BFloat16.multiplyPackedPairs,
            multiplyTransposed: NumericsV4BFloat16.multiplyTransposedPackedPairs,
            attention: NumericsV4BFloat16.attentionPairs,
            attentionGradient: NumericsV4BFloat16.attentionGradientPairs),
        multiplyVectors: NumericsV4BFloat16.multiplyVectors,
        dotProduct: NumericsV4BFloat16.dotProduct,
        roundToBFloat16: NumericsV4BFloat16.roundToBFloat16,
        expandBFloat16: NumericsV4BFloat16.expandBFloat16,
        rmsNorm: NumericsV4BFloat16.rmsNorm,
        rmsNormGradient: NumericsV4BFloat16.rmsNormGradient,
        swiGLU: NumericsV4BFloat16.swiGLU,
        swiGLUGradient: NumericsV4BFloat16.swiGLUGradient,
        addInto: NumericsV4BFloat16.addInto,
        scale: NumericsV4BFloat16.scale,
        blend: NumericsV4BFloat16.blend,
        sumOfSquares: NumericsV4BFloat16.sumOfSquares,
        crossEntropy: NumericsV4BFloat16.crossEntropy,
        exponentials: NumericsV4BFloat16.exponentials,
        adamW: NumericsV4BFloat16.adamW,
        rotate: NumericsV4BFloat16.rotate,
        attentionScratchCount: NumericsV4BFloat16.attentionScratchCount)
}
