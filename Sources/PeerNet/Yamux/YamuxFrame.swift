/// Numbers one stream of a connection; the dialer's are odd, the listener's even.
package struct StreamID: Hashable, Comparable, Sendable {
    /// The id on the wire.
    package let raw: UInt32

    init(_ raw: UInt32) { self.raw = raw }

    /// Orders by number, which is the order of opening for streams of one side.
    package static func < (left: StreamID, right: StreamID) -> Bool { left.raw < right.raw }
}

/// The 12-byte header of every yamux frame.
struct YamuxHeader: Equatable, Sendable {
    static let byteCount = 12

    enum Kind: UInt8, Sendable { case data = 0, windowUpdate = 1, ping = 2, goAway = 3 }

    struct Flags: OptionSet, Sendable {
        let rawValue: UInt16
        static let syn = Flags(rawValue: 1)
        static let ack = Flags(rawValue: 2)
        static let fin = Flags(rawValue: 4)
        static let rst = Flags(rawValue: 8)
        static let all: Flags = [.syn, .ack, .fin, .rst]
    }

    var kind: Kind
    var flags: Flags
    var streamID: UInt32
    /// Data: bytes that follow; window update: credit added; ping: opaque value; go away: code.
    var length: UInt32

    init(_ kind: Kind, _ flags: Flags = [], streamID: UInt32, length: UInt32) {
        self.kind = kind
        self.flags = flags
        self.streamID = streamID
        self.length = length
    }

    /// Decodes the first 12 bytes of `bytes`, which must be there.
    init(bytes: UnsafeRawBufferPointer) throws(Violation) {
        guard bytes[0] == 0 else { throw .yamuxVersionUnknown(bytes[0]) }
        guard let kind = Kind(rawValue: bytes[1]) else { throw .yamuxTypeUnknown(bytes[1]) }
        let flags = UInt16(bytes[2]) << 8 | UInt16(bytes[3])
        guard flags & ~Flags.all.rawValue == 0 else { throw .yamuxFlagsUnknown(flags) }
        self.kind = kind
        self.flags = Flags(rawValue: flags)
        streamID = UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
        length = UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt32.self))
    }

    /// Appends the 12 bytes.
    func append(to output: inout [UInt8]) {
        let head = UInt64(kind.rawValue) << 48 | UInt64(flags.rawValue) << 32 | UInt64(streamID)
        withUnsafeBytes(of: head.bigEndian) { output.append(contentsOf: $0) }
        withUnsafeBytes(of: length.bigEndian) { output.append(contentsOf: $0) }
    }
}
