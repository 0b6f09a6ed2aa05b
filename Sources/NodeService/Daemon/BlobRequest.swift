import Compression

/// A request of `/atoll/blob/1.0.0`: 32 bytes digest, offset u64 LE, greatest byte count u64 LE.
/// The answer is the raw bytes; none at all means that the peer does not hold the blob.
struct BlobRequest {
    static let byteCount = Digest.byteCount + 16

    var digest: Digest
    var offset: UInt64
    var byteCountMax: UInt64

    init(digest: Digest, offset: UInt64, byteCountMax: UInt64) {
        self.digest = digest
        self.offset = offset
        self.byteCountMax = byteCountMax
    }

    /// Reads a request; nil for any other number of bytes.
    init?(_ bytes: [UInt8]) {
        guard bytes.count == Self.byteCount, let digest = Digest(bytes: bytes[..<32]) else { return nil }
        func number(_ slice: ArraySlice<UInt8>) -> UInt64 { slice.reversed().reduce(0) { $0 << 8 | UInt64($1) } }
        self.digest = digest
        offset = number(bytes[32..<40])
        byteCountMax = number(bytes[40..<48])
    }

    /// The bytes on the wire.
    var encoded: [UInt8] {
        digest.bytes + withUnsafeBytes(of: offset.littleEndian) { Array($0) }
            + withUnsafeBytes(of: byteCountMax.littleEndian) { Array($0) }
    }
}
