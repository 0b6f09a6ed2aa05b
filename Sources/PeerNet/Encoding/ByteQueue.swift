/// Bytes in order of arrival, appended at the end and taken from the front; storage is reused.
struct ByteQueue: Sendable {
    private var storage: [UInt8] = []
    private var head = 0

    /// Bytes that wait.
    var count: Int { storage.count - head }

    /// Whether nothing waits.
    var isEmpty: Bool { count == 0 }

    /// The byte `offset` places from the front.
    subscript(offset: Int) -> UInt8 { storage[head + offset] }

    /// Adds bytes at the end.
    mutating func append(_ bytes: UnsafeRawBufferPointer) {
        compact()
        storage.append(contentsOf: bytes)
    }

    /// Adds bytes at the end.
    mutating func append(_ bytes: [UInt8]) {
        compact()
        storage.append(contentsOf: bytes)
    }

    /// Forgets `count` bytes at the front, which must be there.
    mutating func drop(_ count: Int) {
        precondition(count >= 0 && count <= self.count, "only waiting bytes can be dropped")
        head += count
        if head == storage.count {
            storage.removeAll(keepingCapacity: storage.count <= Self.keptBytesMax)
            head = 0
        }
    }

    /// Takes `count` bytes from the front, which must be there.
    mutating func take(_ count: Int) -> [UInt8] {
        let bytes = Array(storage[head..<head + count])
        drop(count)
        return bytes
    }

    /// The waiting bytes, without taking them.
    func withUnsafeBytes<R, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> R
    ) throws(Failure) -> R {
        let head = head
        return try storage.withUnsafeBufferPointer { (whole) throws(Failure) -> R in
            try body(UnsafeRawBufferPointer(UnsafeBufferPointer(rebasing: whole[head...])))
        }
    }

    /// Changes the last `count` waiting bytes in place, which must be there.
    mutating func withMutableSuffix(_ count: Int, _ body: (UnsafeMutableRawBufferPointer) -> Void) {
        precondition(count >= 0 && count <= self.count, "only waiting bytes can be changed")
        let start = storage.count - count
        storage.withUnsafeMutableBytes { body(UnsafeMutableRawBufferPointer(rebasing: $0[start...])) }
    }

    /// At most the first `count` waiting bytes.
    func prefix(_ count: Int) -> ArraySlice<UInt8> { storage[head..<min(storage.count, head + count)] }

    /// An emptied queue keeps storage up to this size for the next bytes.
    private static let keptBytesMax = 128 << 10

    private mutating func compact() {
        guard head > 4096, head >= count else { return }
        storage.removeSubrange(..<head)
        head = 0
    }
}
