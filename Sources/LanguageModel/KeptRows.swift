import Numerics

/// Activations, a row per token of the batch, that the forward pass leaves for the gradient.
///
/// A chunk's rows are computed at `place`, settled, and come back from `recall`; always as float32 without gaps. In
/// bfloat16 training the values are rounded when they settle, wherever they are held, so that the gradient sees what the
/// forward pass saw.
struct KeptRows {
    enum Storage {
        /// Nowhere: they live in the scratch memory of the worker that computes and uses them.
        case scratch
        /// Whole batch in float32.
        case float32(MutableFloats)
        /// Whole batch in bfloat16, two values to a word. Chunks start at even tokens, so at whole words.
        case bfloat16(MutableFloats)
    }

    let storage: Storage
    /// Values per row.
    let width: Int
    /// Whether values are rounded to bfloat16.
    let rounds: Bool

    /// Where a chunk's rows are computed.
    func place(_ rows: Range<Int>, _ scratch: MutableFloats) -> MutableFloats {
        if case .float32(let values) = storage { return values + rows.lowerBound * width }
        return scratch
    }

    /// Ends the computation of a chunk's rows at `values`, their place.
    func settle(_ rows: Range<Int>, at values: MutableFloats, _ kernels: Kernels) {
        if rounds { kernels.roundToBFloat16(rows.count * width, values) }
        if case .bfloat16 = storage { store(rows, values, kernels) }
    }

    /// Keeps a copy of a chunk's rows that lie elsewhere.
    func store(_ rows: Range<Int>, _ values: Floats, _ kernels: Kernels) {
        let count = rows.count * width
        switch storage {
        case .scratch: break
        case .float32(let kept): (kept + rows.lowerBound * width).update(from: values, count: count)
        case .bfloat16(let words):
            kernels.bfloat16.stageRows(1, count, values, count, words + rows.lowerBound * width / 2, 0)
        }
    }

    /// A chunk's settled or stored rows; without storage those that `scratch` holds.
    func recall(_ rows: Range<Int>, _ scratch: MutableFloats, _ kernels: Kernels) -> Floats {
        let count = rows.count * width
        switch storage {
        case .scratch: return Floats(scratch)
        case .float32(let kept):
            guard rounds else { return Floats(kept + rows.lowerBound * width) }
            scratch.update(from: kept + rows.lowerBound * width, count: count)
            kernels.roundToBFloat16(count, scratch)
        case .bfloat16(let words):
            kernels.expandBFloat16(count, words + rows.lowerBound * width / 2, scratch)
        }
        return Floats(scratch)
    }
}
