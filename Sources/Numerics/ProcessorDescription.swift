import COpenBLAS
import CVector

/// What the matrix products of this process run on.
package struct ProcessorDescription: Sendable {
    /// The instruction set that the kernels are chosen for.
    package let instructionSet = InstructionSet.best
    /// Whether the processor has bfloat16 matrix units (AMX).
    package let hasMatrixUnits = vector_has_matrix_units() != 0
    /// Processors that this process may use.
    package let processorCount = WorkerPool.processorCount
    /// OpenBLAS's own words for its version and kernels.
    package let openBLAS: String = {
        let text: UnsafeMutablePointer<CChar>? = openblas_get_config()
        return text.map { String(cString: $0) } ?? "OpenBLAS"
    }()

    /// Looks.
    package init() {}
}
