import Glibc

/// Cuts the text of files into units, one file after the other; the second pass over them.
struct UnitReader {
    /// Text in all units of a batch together, unless one line alone is longer.
    static let batchByteCount = 4 << 20

    private var files: ArraySlice<ScannedFile>
    private var current: OpenFile?

    init(_ files: [ScannedFile]) { self.files = files[...] }

    /// Whether `nextBatch` would give nothing.
    var isAtEnd: Bool { files.isEmpty && current == nil }

    /// The next units; none at the end of the last file.
    mutating func nextBatch() throws(CorpusError) -> [WorkUnit] {
        var units: [WorkUnit] = []
        var byteCount = 0
        while byteCount < Self.batchByteCount, let unit = try next() {
            byteCount += unit.bytes.count
            units.append(unit)
        }
        return units
    }

    private mutating func next() throws(CorpusError) -> WorkUnit? {
        while true {
            if current == nil {
                guard let file = files.popFirst() else { return nil }
                current = try OpenFile(file)
            }
            if let unit = try current?.next() { return unit }
            current = nil
        }
    }
}

/// A file in the second pass.
private struct OpenFile {
    private let file: ScannedFile
    private let stream: TextStream
    /// Text that is read but in no unit yet.
    private var buffer: [UInt8] = []
    /// Bytes still to read.
    private var bytesLeft: Int
    /// Number of the line that the buffer starts with.
    private var lineNumber = 1
    /// Bytes at the start of the buffer that are known to hold no line end.
    private var searched = 0
    private var isDone = false

    /// Lines of about this many bytes make a unit.
    private static let linesByteCount = 256 << 10

    init(_ file: ScannedFile) throws(CorpusError) {
        self.file = file
        bytesLeft = file.byteCount
        do {
            stream = try TextStream(file.path)
            guard try stream.identity() == file.identity else { throw CorpusError.changed(path: file.path) }
        } catch let error as Unreadable {
            throw .unreadable(path: file.path, reason: error.reason)
        } catch let error as CorpusError { throw error } catch { preconditionFailure("\(error)") }
    }

    /// The next unit; nil at the end.
    mutating func next() throws(CorpusError) -> WorkUnit? {
        if isDone { return nil }
        return file.isJSONLines ? try nextLines() : try nextPiece()
    }

    /// Reads at most `count` bytes of what the first pass saw; false if that is used up.
    private mutating func fill(_ count: Int) throws(CorpusError) -> Bool {
        let wanted = min(count, bytesLeft)
        guard wanted > 0 else { return false }
        let got: Int
        do { got = try stream.read(wanted, appendingTo: &buffer) } catch {
            throw .unreadable(path: file.path, reason: error.reason)
        }
        guard got == wanted else { throw .changed(path: file.path) }
        bytesLeft -= got
        return true
    }

    private mutating func finish() throws(CorpusError) {
        isDone = true
        guard let identity = try? stream.identity(), identity == file.identity else { throw .changed(path: file.path) }
    }

    private mutating func take(_ count: Int) -> [UInt8] {
        let bytes = Array(buffer.prefix(count))
        buffer.removeFirst(count)
        return bytes
    }

    private mutating func nextPiece() throws(CorpusError) -> WorkUnit? {
        _ = try fill(TextPieces.byteCountMax + 1 - buffer.count)
        let count = buffer.withUnsafeBytes { TextPieces.cut($0) }
        let isLast = count == buffer.count
        let bytes = take(count)
        if isLast { try finish() }
        return WorkUnit(kind: .piece(file.hash, isLast: isLast), bytes: bytes)
    }

    private mutating func nextLines() throws(CorpusError) -> WorkUnit? {
        while true {
            let isStart = bytesLeft == file.byteCount
            guard try fill(Self.linesByteCount) else { break }
            if isStart { dropByteOrderMark() }
            if let end = buffer[searched...].lastIndex(of: UInt8(ascii: "\n")) {
                let bytes = take(end + 1)
                searched = buffer.count
                return lines(bytes)
            }
            searched = buffer.count
            if buffer.count > UnitEncoder.lineByteCountMax { return try skipLine() }
        }
        try finish()
        // A limit cuts the last line, and half a document is none.
        guard !buffer.isEmpty, !file.isCut else { return nil }
        return lines(take(buffer.count))
    }

    private mutating func lines(_ bytes: [UInt8]) -> WorkUnit {
        let first = lineNumber
        lineNumber += bytes.count { $0 == UInt8(ascii: "\n") }
        return WorkUnit(kind: .lines(path: file.path, first: first), bytes: bytes)
    }

    /// Drops a line that is longer than what is held, up to and with its end.
    private mutating func skipLine() throws(CorpusError) -> WorkUnit {
        let number = lineNumber
        buffer.removeAll()
        searched = 0
        while try fill(Self.linesByteCount) {
            if let end = buffer.firstIndex(of: UInt8(ascii: "\n")) {
                buffer.removeFirst(end + 1)
                lineNumber += 1
                break
            }
            buffer.removeAll(keepingCapacity: true)
        }
        return WorkUnit(kind: .overlongLine(path: file.path, number: number), bytes: [])
    }

    /// Some programs begin UTF-8 with a byte-order mark, which JSON does not have.
    private mutating func dropByteOrderMark() {
        if buffer.starts(with: [0xef, 0xbb, 0xbf]) { buffer.removeFirst(3) }
    }
}
