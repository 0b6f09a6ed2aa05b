import COpenBLAS

/// General single-precision matrix products by OpenBLAS, on the calling thread.
package enum DenseProduct {
    /// OpenBLAS would start a pool of its own; ours splits the work instead.
    private static let singleThreaded: Void = openblas_set_num_threads(1)

    /// C = alpha * op(A) op(B) + beta * C, row-major.
    ///
    /// op(A): [m, k]; op(B): [k, n]; C: [m, n]; `stride` is the distance between rows as stored. The sums' order, and
    /// with it the last bits, is OpenBLAS's choice for this processor: never use it for what a head depends on.
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
}
