/// Cuts a byte stream into newline-ended lines of bounded length.
struct LineSplitter {
    private let bytesMax: Int
    private var partial: [UInt8] = []

    init(bytesMax: Int) { self.bytesMax = bytesMax }

    /// Takes bytes and appends the lines they complete, without newlines; false if a line is too long.
    mutating func receive(_ bytes: UnsafeRawBufferPointer, into lines: inout [[UInt8]]) -> Bool {
        var rest = bytes[...]
        while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
            guard partial.count + rest[..<end].count <= bytesMax else { return false }
            lines.append(partial + rest[..<end])
            partial = []
            rest = rest[(end + 1)...]
        }
        guard partial.count + rest.count <= bytesMax else { return false }
        partial += rest
        return true
    }
}
