package import Compression

/// A request of `/atoll/blob/1.0.0`: kind u8, 32 bytes digest, offset u64 LE, greatest byte count u64 LE.
/// The answer is the raw bytes; none at all means that the peer does not hold the blob.
package struct BlobRequest: Hashable, Sendable {
    /// What of the blob is wanted.
    package enum Kind: UInt8, Sendable {
        /// The bytes of the blob.
        case content = 0
        /// The digests of its chunks, 32 bytes each; empty for a blob of one chunk.
        case chunkDigests = 1
    }

    /// The size of a request.
    package static let byteCount = 1 + Digest.byteCount + 16
    /// The protocol's name.
    package static let protocolName = "/atoll/blob/1.0.0"

    /// What of the blob is wanted.
    package var kind: Kind
    /// The blob's name.
    package var digest: Digest
    /// The first byte wanted, of the blob or of the list.
    package var offset: UInt64
    /// The most bytes to send.
    package var byteCountMax: UInt64

    /// Wraps the fields.
    package init(_ kind: Kind = .content, digest: Digest, offset: UInt64, byteCountMax: UInt64) {
        self.kind = kind
        self.digest = digest
        self.offset = offset
        self.byteCountMax = byteCountMax
    }

    /// Reads a request; nil for any other number of bytes and any other kind.
    package init?(_ bytes: [UInt8]) {
        guard bytes.count == Self.byteCount, let kind = Kind(rawValue: bytes[0]),
            let digest = Digest(bytes: bytes[1..<33])
        else { return nil }
        func number(_ slice: ArraySlice<UInt8>) -> UInt64 { slice.reversed().reduce(0) { $0 << 8 | UInt64($1) } }
        self.kind = kind
        self.digest = digest
        offset = number(bytes[33..<41])
        byteCountMax = number(bytes[41..<49])
    }

    /// The bytes on the wire.
    package var encoded: [UInt8] {
        [kind.rawValue] + digest.bytes + withUnsafeBytes(of: offset.littleEndian) { Array($0) }
            + withUnsafeBytes(of: byteCountMax.littleEndian) { Array($0) }
    }
}
