/// The bytes of a file from start to end, decompressed if its first bytes say that it is gzip or zstd.
///
/// Memory does not grow with the file, however far it expands.
final class TextStream {
    private let file: PlainFile
    /// Nil for text that is not compressed.
    private var decoder: (any StreamDecoder)?
    /// Bytes of the file that are read but not yet used.
    private var input: [UInt8]
    private var pending: Range<Int> = 0..<0
    private var isAtEnd = false
    /// Bytes of the file read so far, compressed if it is.
    private(set) var fileByteCount = 0

    private static let inputByteCount = 128 << 10

    init(_ path: String) throws(Unreadable) {
        file = try PlainFile(path)
        input = [UInt8](repeating: 0, count: Self.inputByteCount)
        try refill()
        switch (input[0], input[1], input[2], input[3], pending.count) {
        case (0x1f, 0x8b, 0x08, _, 3...): decoder = try GzipDecoder()
        // A frame, or a skippable one, with which pzstd begins.
        case (0x28, 0xb5, 0x2f, 0xfd, 4...), (0x50...0x5f, 0x2a, 0x4d, 0x18, 4...): decoder = try ZstdDecoder()
        default: break
        }
    }

    func identity() throws(Unreadable) -> PlainFile.Identity { try file.identity() }

    /// Fills the buffer as far as the text goes; fewer bytes than asked for mean its end.
    func read(into buffer: UnsafeMutableRawBufferPointer) throws(Unreadable) -> Int {
        var filled = 0
        while filled < buffer.count {
            let count = try readSome(into: UnsafeMutableRawBufferPointer(rebasing: buffer[filled...]))
            if count == 0 { break }
            filled += count
        }
        return filled
    }

    /// Appends at most `count` bytes; fewer mean the end.
    func read(_ count: Int, appendingTo bytes: inout [UInt8]) throws(Unreadable) -> Int {
        let start = bytes.count
        bytes.append(contentsOf: repeatElement(0, count: count))
        let filled = try bytes.withMutableBytes { raw throws(Unreadable) in
            try read(into: UnsafeMutableRawBufferPointer(rebasing: raw[start...]))
        }
        bytes.removeLast(count - filled)
        return filled
    }

    private func refill() throws(Unreadable) {
        let count = try input.withMutableBytes { raw throws(Unreadable) in try file.read(into: raw) }
        pending = 0..<count
        fileByteCount += count
        isAtEnd = count == 0
    }

    /// At least one byte unless the text ends.
    private func readSome(into buffer: UnsafeMutableRawBufferPointer) throws(Unreadable) -> Int {
        while true {
            if pending.isEmpty, !isAtEnd {
                if decoder == nil, buffer.count >= Self.inputByteCount {
                    let count = try file.read(into: buffer)
                    fileByteCount += count
                    isAtEnd = count == 0
                    return count
                }
                try refill()
            }
            guard let decoder else {
                let count = min(pending.count, buffer.count)
                input.withUnsafeBytes {
                    buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[pending.prefix(count)]))
                }
                pending.removeFirst(count)
                return count
            }
            if pending.isEmpty, decoder.isComplete { return 0 }
            let step = try input.withBytes { raw throws(Unreadable) in
                try decoder.step(UnsafeRawBufferPointer(rebasing: raw[pending]), into: buffer)
            }
            pending.removeFirst(step.consumed)
            if step.produced > 0 { return step.produced }
            guard step.consumed > 0 else { throw Unreadable("its compressed data is cut off") }
        }
    }
}
