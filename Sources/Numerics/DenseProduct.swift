import COneDNN
import COpenBLAS

/// General matrix products by OpenBLAS (float32) and oneDNN (bfloat16), on the calling thread.
///
/// The sums' order, and with it the last bits, is the library's choice for this processor: never use them for what a head
/// depends on.
package enum DenseProduct {
    /// OpenBLAS would start a pool of its own; ours splits the work instead.
    private static let singleThreaded: Void = openblas_set_num_threads(1)

    /// C = alpha * op(A) op(B) + beta * C, row-major.
    ///
    /// op(A): [m, k]; op(B): [k, n]; C: [m, n]; `stride` is the distance between rows as stored.
    package static func multiply(
        m: Int, n: Int, k: Int, alpha: Float = 1, a: Floats, aStride: Int, transposeA: Bool = false, b: Floats,
        bStride: Int, transposeB: Bool = false, beta: Float = 0, c: MutableFloats, cStride: Int
    ) {
        _ = singleThreaded
        precondition(
            [m, n, k, aStride, bStride, cStride].allSatisfy { $0 >= 0 && $0 <= Int(Int32.max) },
            "sizes must fit OpenBLAS's integers")
        cblas_sgemm(
            CblasRowMajor, transposeA ? CblasTrans : CblasNoTrans, transposeB ? CblasTrans : CblasNoTrans, Int32(m),
            Int32(n), Int32(k), alpha, a, Int32(aStride), b, Int32(bStride), beta, c, Int32(cStride))
    }

    /// C = op(A) B + beta * C, row-major, with A and B in bfloat16 and C in float32; false where oneDNN cannot.
    ///
    /// op(A): [m, k]; B: [k, n]; C: [m, n]; strides count values.
    package static func multiplyBFloat16(
        m: Int, n: Int, k: Int, a: UnsafePointer<UInt16>, aStride: Int, transposeA: Bool = false,
        b: UnsafePointer<UInt16>, bStride: Int, beta: Float = 0, c: MutableFloats, cStride: Int
    ) -> Bool {
        // OpenMP keeps this count per calling thread; more threads would fight with our pool.
        omp_set_num_threads(1)
        return dnnl_gemm_bf16bf16f32(
            CChar(UInt8(ascii: transposeA ? "T" : "N")), CChar(UInt8(ascii: "N")), Int64(m), Int64(n), Int64(k), 1, a,
            Int64(aStride), b, Int64(bStride), beta, c, Int64(cStride)) == 0
    }
}
