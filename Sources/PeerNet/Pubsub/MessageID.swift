/// What tells one pubsub message from another: its author and the author's sequence number, libp2p's default. On the
/// wire it is raw bytes, the peer id and eight bytes big-endian; bytes of any other shape are no id of a message that
/// this node could ever accept.
package struct MessageID: Hashable, Comparable, Sendable {
    /// Bytes on the wire.
    package static let byteCount = PeerID.byteCount + 8

    /// Who signed the message.
    package let author: PeerID
    /// Never used twice by its author.
    package let sequence: UInt64

    /// Wraps the fields.
    package init(author: PeerID, sequence: UInt64) {
        self.author = author
        self.sequence = sequence
    }

    /// Reads the wire form; nil for anything else.
    package init?(bytes: some BidirectionalCollection<UInt8>) {
        guard bytes.count == Self.byteCount, let author = try? PeerID(bytes: bytes.dropLast(8)) else { return nil }
        self.init(author: author, sequence: Self.sequence(of: bytes.suffix(8)))
    }

    /// The wire form.
    package var bytes: [UInt8] { author.bytes + Self.bytes(of: sequence) }

    /// Orders by author, then by sequence.
    package static func < (left: MessageID, right: MessageID) -> Bool {
        left.author == right.author ? left.sequence < right.sequence : left.author < right.author
    }

    /// Eight bytes, big-endian.
    static func bytes(of sequence: UInt64) -> [UInt8] {
        withUnsafeBytes(of: sequence.bigEndian) { Array($0) }
    }

    /// The number of big-endian bytes.
    static func sequence(of bytes: some Sequence<UInt8>) -> UInt64 {
        bytes.reduce(0) { $0 << 8 | UInt64($1) }
    }
}
