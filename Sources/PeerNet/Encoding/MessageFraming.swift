/// Framing of one-way message streams: `uvarint(length) | message`, again and again.
package enum MessageFraming {
    /// What the first bytes of a length say.
    package enum Length: Equatable, Sendable {
        case length(Int)
        case incomplete
        case malformed
    }

    /// The prefix of a message of `count` bytes.
    package static func prefix(count: Int) -> [UInt8] { Uvarint.encode(count) }

    /// Reads a length from the bytes so far.
    package static func readLength(_ bytes: [UInt8]) -> Length {
        switch Uvarint.read(bytes) {
        case .value(let value, let byteCount): byteCount == bytes.count ? .length(Int(value)) : .malformed
        case .incomplete: .incomplete
        case .malformed: .malformed
        }
    }
}
