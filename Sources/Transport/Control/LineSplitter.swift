import Glibc

/// Cuts a byte stream into newline-ended lines of bounded length.
struct LineSplitter {
    private let bytesMax: Int
    private var partial: [UInt8] = []

    init(bytesMax: Int) { self.bytesMax = bytesMax }

    /// Takes bytes and appends the lines they complete, without newlines; false if a line is too long.
    mutating func receive(_ bytes: UnsafeRawBufferPointer, into lines: inout [[UInt8]]) -> Bool {
        var rest = bytes
        while let start = rest.baseAddress, let end = memchr(start, CInt(UInt8(ascii: "\n")), rest.count) {
            let count = UnsafeRawPointer(end) - start
            guard partial.count + count <= bytesMax else { return false }
            lines.append(partial + UnsafeRawBufferPointer(rebasing: rest[..<count]))
            partial = []
            rest = UnsafeRawBufferPointer(rebasing: rest[(count + 1)...])
        }
        guard partial.count + rest.count <= bytesMax else { return false }
        partial += rest
        return true
    }
}
