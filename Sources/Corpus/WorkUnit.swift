import Glibc
import JSONText
import Tokenizing

/// A portion of text that one thread encodes.
struct WorkUnit: Sendable {
    enum Kind: Sendable {
        /// A piece of a document whose hash is known.
        case piece(ContentHash, isLast: Bool)
        /// Whole lines of a file of JSON lines, the first of which has this number.
        case lines(path: String, first: Int)
        /// A line that is too long to be held.
        case overlongLine(path: String, number: Int)
    }

    let kind: Kind
    let bytes: [UInt8]
}

/// What became of a unit.
struct EncodedUnit: Sendable {
    /// Tokens that follow each other in one document, or their last ones.
    struct Segment: Sendable {
        let hash: ContentHash
        /// Where in `bytes`.
        let range: Range<Int>
        let endsDocument: Bool
    }

    /// Bytes of text that the unit was made of.
    var byteCount = 0
    /// Stored ids.
    var bytes: [UInt8] = []
    var segments: [Segment] = []
    /// Lines that hold text.
    var usableLineCount = 0
    /// Lines that hold none, or are no JSON.
    var malformedLineCount = 0
    /// The first of them, with the reason.
    var malformedExample: String?
    /// Documents that are held out for everybody.
    var excludedCount = 0
}

/// Encodes units; equal units give equal results on any thread.
struct UnitEncoder: Sendable {
    let tokenizer: Tokenizer
    let width: TokenWidth
    /// What ends a document, if the vocabulary has it.
    let endOfText: Int32?
    /// Hashes of documents to leave out.
    let excluded: Set<[UInt8]>

    /// Longer lines are not held in memory.
    static let lineByteCountMax = 16 << 20
    /// Text has one value, and what else a line says of it seldom a thousand.
    private static let limits = JSONLimits(byteCountMax: lineByteCountMax, depthMax: 64, valueCountMax: 1 << 18)

    func encode(_ unit: WorkUnit) -> EncodedUnit {
        var result = EncodedUnit()
        result.byteCount = unit.bytes.count
        switch unit.kind {
        case .piece(let hash, let isLast):
            width.append(tokenizer.encode(unit.bytes), to: &result.bytes)
            if isLast { appendEnd(to: &result.bytes) }
            result.segments = [EncodedUnit.Segment(hash: hash, range: 0..<result.bytes.count, endsDocument: isLast)]
        case .lines(let path, let first):
            encodeLines(unit.bytes, path: path, first: first, into: &result)
        case .overlongLine(let path, let number):
            result.malformedLineCount = 1
            result.malformedExample = "\(path), line \(number): it is longer than \(Self.lineByteCountMax >> 20) MiB"
        }
        return result
    }

    private func appendEnd(to bytes: inout [UInt8]) {
        if let endOfText { width.append([endOfText], to: &bytes) }
    }

    private func encodeLines(_ bytes: [UInt8], path: String, first: Int, into result: inout EncodedUnit) {
        var start = 0
        var number = first
        while start < bytes.count {
            let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count
            encodeLine(Array(bytes[start..<end]), place: (path, number), into: &result)
            start = end + 1
            number += 1
        }
    }

    private func encodeLine(_ line: [UInt8], place: (path: String, number: Int), into result: inout EncodedUnit) {
        guard line.contains(where: { $0 > 0x20 }) else { return }
        let text: [UInt8]
        do throws(MalformedLine) { text = try Self.text(of: line) } catch {
            result.malformedLineCount += 1
            if result.malformedExample == nil {
                result.malformedExample = "\(place.path), line \(place.number): \(error.reason)"
            }
            return
        }
        result.usableLineCount += 1
        guard !text.isEmpty else { return }
        let hash = ContentHash(of: text)
        guard !excluded.contains(hash.bytes) else {
            result.excludedCount += 1
            return
        }
        let start = result.bytes.count
        var rest = text[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                TextPieces.cut(UnsafeRawBufferPointer(rebasing: $0.prefix(TextPieces.byteCountMax + 1)))
            }
            width.append(tokenizer.encode(Array(rest.prefix(count))), to: &result.bytes)
            rest = rest.dropFirst(count)
        }
        appendEnd(to: &result.bytes)
        result.segments.append(
            EncodedUnit.Segment(hash: hash, range: start..<result.bytes.count, endsDocument: true))
    }

    /// A line without usable text.
    struct MalformedLine: Error {
        let reason: String
    }

    /// The `text` of a line.
    static func text(of line: [UInt8]) throws(MalformedLine) -> [UInt8] {
        let value: JSONValue
        do { value = try JSONValue(parsing: line, limits: limits) } catch {
            throw MalformedLine(reason: error.description)
        }
        guard let object = value.object else { throw MalformedLine(reason: "it is \(value.kind), not an object") }
        guard let member = object["text"] else { throw MalformedLine(reason: "it has no \"text\"") }
        guard let text = member.string else {
            throw MalformedLine(reason: "its \"text\" is \(member.kind), not a string")
        }
        return text.bytes
    }
}
