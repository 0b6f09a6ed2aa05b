/// Float storage with one owner: 64-byte aligned, zeroed at creation, padded with zeros to whole vectors of 16.
///
/// Ownership: whoever holds the only reference may write. The class does no locking; concurrent use is safe only where
/// threads touch disjoint ranges (as `WorkerPool` tasks do) or all of them only read. Handing a buffer to another thread
/// means handing over the reference and not using it here until it comes back; that hand-over is why it is `Sendable`.
package final class FloatBuffer: @unchecked Sendable {
    /// The number of floats that belong to the owner; the storage behind them is padded to a multiple of 16.
    package let count: Int
    /// The first float; valid as long as the buffer lives. Prefer the closures below outside of kernels.
    package let pointer: UnsafeMutablePointer<Float>

    /// Allocates `count` zeros.
    package init(count: Int) {
        precondition(count >= 0, "a buffer cannot have a negative count")
        self.count = count
        let padded = max(16, (count + 15) / 16 * 16)
        let block = UnsafeMutableRawPointer.allocate(byteCount: padded * MemoryLayout<Float>.stride, alignment: 64)
        pointer = block.initializeMemory(as: Float.self, repeating: 0, count: padded)
    }

    /// Allocates a copy of `values`.
    package convenience init(_ values: [Float]) {
        self.init(count: values.count)
        for (index, value) in values.enumerated() { pointer[index] = value }
    }

    deinit { pointer.deallocate() }

    /// The floats, copied.
    package var array: [Float] { Array(UnsafeBufferPointer(start: pointer, count: count)) }

    /// One float.
    package subscript(index: Int) -> Float {
        get {
            precondition(index >= 0 && index < count, "index out of range")
            return pointer[index]
        }
        set {
            precondition(index >= 0 && index < count, "index out of range")
            pointer[index] = newValue
        }
    }

    /// Lends the floats for reading.
    package func withUnsafeBufferPointer<Result, Failure: Error>(
        _ body: (UnsafeBufferPointer<Float>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(UnsafeBufferPointer(start: pointer, count: count))
    }

    /// Lends the floats for writing.
    package func withUnsafeMutableBufferPointer<Result, Failure: Error>(
        _ body: (UnsafeMutableBufferPointer<Float>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(UnsafeMutableBufferPointer(start: pointer, count: count))
    }

    /// Overwrites all floats with those of a buffer of the same count.
    package func copy(from other: FloatBuffer) {
        precondition(other.count == count, "buffers must have equal counts")
        pointer.update(from: other.pointer, count: count)
    }

    /// Sets all floats to zero.
    package func zero() { pointer.update(repeating: 0, count: count) }
}
