/// The name of a pubsub topic. Compared by its bytes: Swift's strings would take two spellings of one letter for equal,
/// which other implementations do not.
package struct Topic: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// Longest name. Strangers choose names, and each is kept per peer.
    package static let byteCountMax = 256

    /// The name's UTF-8.
    let bytes: [UInt8]

    /// Takes a name of 1 to 256 bytes without control characters; nil for any other.
    package init?(_ name: String) {
        self.init(bytes: Array(name.utf8))
    }

    /// Takes the bytes of a name; nil unless valid UTF-8 of 1 to 256 bytes without control characters.
    init?(bytes: some Collection<UInt8>) {
        guard (1...Self.byteCountMax).contains(bytes.count), bytes.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }),
            String(validating: bytes, as: UTF8.self) != nil
        else { return nil }
        self.bytes = Array(bytes)
    }

    /// The name.
    package var description: String { String(decoding: bytes, as: UTF8.self) }

    /// Orders by bytes.
    package static func < (left: Topic, right: Topic) -> Bool { left.bytes.lexicographicallyPrecedes(right.bytes) }
}
