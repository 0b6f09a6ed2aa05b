extension DNSMessage {
    /// Longest message that is read (RFC 6762, section 17).
    static let byteCountMax = 9000
    /// Questions and records of one message.
    static let partsMax = 256
    /// A name's bytes with its length bytes (RFC 1035, section 2.3.4), and its labels; ours have four.
    static let nameBytesMax = 255
    static let labelsMax = 32
    /// Pointers followed for one name. Honest names have one or two; without a bound a message could hold a chain of
    /// thousands, and send each of its names through it.
    static let pointersMax = 16
    /// A label's bytes, and a text's.
    static let labelBytesMax = 63
    static let textBytesMax = 255

    /// The message, names written in full.
    func encoded() -> [UInt8] {
        precondition(questions.count + records.count <= Self.partsMax, "our own messages are short")
        var bytes: [UInt8] = []
        // A response is authoritative (RFC 6762, section 18.4).
        for word in [id, isResponse ? 0x8400 : 0, UInt16(questions.count), UInt16(records.count), 0, 0] {
            Self.append(word, to: &bytes)
        }
        for question in questions {
            Self.append(question.name, to: &bytes)
            Self.append(question.type, to: &bytes)
            Self.append(question.dnsClass, to: &bytes)
        }
        for record in records {
            var body: [UInt8] = []
            let type: UInt16
            switch record.body {
            case .pointer(let name):
                type = Self.typePTR
                Self.append(name, to: &body)
            case .text(let texts):
                type = Self.typeTXT
                for text in texts { body += [UInt8(text.count)] + text }
            case .other(let number): type = number
            }
            Self.append(record.name, to: &bytes)
            Self.append(type, to: &bytes)
            Self.append(record.dnsClass, to: &bytes)
            Self.append(UInt16(record.timeToLive >> 16), to: &bytes)
            Self.append(UInt16(record.timeToLive & 0xffff), to: &bytes)
            Self.append(UInt16(body.count), to: &bytes)
            bytes += body
        }
        return bytes
    }

    private static func append(_ word: UInt16, to bytes: inout [UInt8]) {
        bytes += [UInt8(word >> 8), UInt8(word & 255)]
    }

    private static func append(_ name: Name, to bytes: inout [UInt8]) {
        for label in name {
            precondition((1...labelBytesMax).contains(label.count), "our own labels are short")
            bytes += [UInt8(label.count)] + label
        }
        bytes.append(0)
    }

    /// Reads a message; total over any bytes.
    init(decoding bytes: [UInt8]) throws(DNSMessageError) {
        guard bytes.count <= Self.byteCountMax else { throw .tooLong }
        var reader = DNSReader(bytes)
        let id = try reader.word()
        let flags = try reader.word()
        // Operation and result must be 0; the other flags mean nothing here.
        guard flags & 0x780f == 0 else { throw .notAQuery }
        self.init(id: id, isResponse: flags & 0x8000 != 0)
        let counts = [
            Int(try reader.word()), Int(try reader.word()), Int(try reader.word()), Int(try reader.word()),
        ]
        guard counts.reduce(0, +) <= Self.partsMax else { throw .tooManyParts }
        for _ in 0..<counts[0] {
            questions.append(
                Question(name: try reader.name(), type: try reader.word(), dnsClass: try reader.word()))
        }
        for _ in 0..<(counts[1] + counts[2] + counts[3]) { records.append(try reader.record()) }
    }
}

/// Reads the parts of a DNS message in order.
private struct DNSReader {
    private let bytes: [UInt8]
    private var offset = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    mutating func word() throws(DNSMessageError) -> UInt16 {
        guard bytes.count - offset >= 2 else { throw .truncated }
        defer { offset += 2 }
        return UInt16(bytes[offset]) << 8 | UInt16(bytes[offset + 1])
    }

    mutating func record() throws(DNSMessageError) -> DNSMessage.Record {
        let name = try name()
        let type = try word()
        let dnsClass = try word()
        let timeToLive = UInt32(try word()) << 16 | UInt32(try word())
        let count = Int(try word())
        guard bytes.count - offset >= count else { throw .truncated }
        let end = offset + count
        let body: DNSMessage.Record.Body
        switch type {
        case DNSMessage.typePTR:
            body = .pointer(try self.name())
            guard offset == end else { throw .truncated }
        case DNSMessage.typeTXT: body = .text(try texts(until: end))
        default: body = .other(type: type)
        }
        offset = end
        return DNSMessage.Record(name: name, dnsClass: dnsClass, timeToLive: timeToLive, body: body)
    }

    private func texts(until end: Int) throws(DNSMessageError) -> [[UInt8]] {
        var texts: [[UInt8]] = []
        var position = offset
        while position < end {
            let count = Int(bytes[position])
            guard end - position > count else { throw .truncated }
            texts.append(Array(bytes[(position + 1)..<(position + 1 + count)]))
            position += 1 + count
        }
        return texts
    }

    /// A name, possibly continued elsewhere. Each pointer must lead before the part that it ends, so that following
    /// them comes to an end, and the limits on bytes, labels and pointers hold for the whole name.
    mutating func name() throws(DNSMessageError) -> DNSMessage.Name {
        var name: DNSMessage.Name = []
        var position = offset
        var partStart = offset
        var end: Int?
        var byteCount = 1
        var pointerCount = 0
        while true {
            guard position < bytes.count else { throw .truncated }
            let length = Int(bytes[position])
            switch length >> 6 {
            case 0:
                guard length > 0 else {
                    offset = end ?? position + 1
                    return name
                }
                guard bytes.count - position > length else { throw .truncated }
                byteCount += length + 1
                guard byteCount <= DNSMessage.nameBytesMax, name.count < DNSMessage.labelsMax else {
                    throw .nameInvalid
                }
                name.append(bytes[(position + 1)...(position + length)].map { Self.lowercased($0) })
                position += length + 1
            case 3:
                guard bytes.count - position >= 2 else { throw .truncated }
                let target = (length & 0x3f) << 8 | Int(bytes[position + 1])
                pointerCount += 1
                guard target < partStart, pointerCount <= DNSMessage.pointersMax else { throw .nameInvalid }
                if end == nil { end = position + 2 }
                position = target
                partStart = target
            default: throw .nameInvalid
            }
        }
    }

    private static func lowercased(_ byte: UInt8) -> UInt8 {
        (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) ? byte + 32 : byte
    }
}
