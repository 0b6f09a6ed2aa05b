import CSodium
package import Numerics

/// An incremental BLAKE2b for checksums of local files, optionally keyed.
struct Checksum: ~Copyable {
    /// libsodium's state is an opaque, 64-byte aligned block; owned here alone and freed in `deinit`.
    private let state: OpaquePointer
    private let byteCount: Int

    /// Starts a checksum of 16 to 64 bytes, with a key of no bytes or of 16 to 64.
    init(byteCount: Int, key: [UInt8] = []) {
        let block = UnsafeMutableRawPointer.allocate(
            byteCount: crypto_generichash_blake2b_statebytes(), alignment: 64)
        state = OpaquePointer(block)
        self.byteCount = byteCount
        crypto_generichash_blake2b_init(state, key.isEmpty ? nil : key, key.count, byteCount)
    }

    deinit { UnsafeMutableRawPointer(state).deallocate() }

    mutating func update(_ bytes: UnsafeRawBufferPointer) {
        crypto_generichash_blake2b_update(state, bytes.bindMemory(to: UInt8.self).baseAddress, UInt64(bytes.count))
    }

    mutating func update(_ bytes: some Collection<UInt8>) {
        Array(bytes).withUnsafeBytes { update($0) }
    }

    consuming func finalize() -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: byteCount)
        crypto_generichash_blake2b_final(state, &bytes, byteCount)
        return bytes
    }

    /// `byteCount` random bytes of the system.
    static func randomKey(byteCount: Int) -> [UInt8] {
        var key = [UInt8](repeating: 0, count: byteCount)
        randombytes_buf(&key, byteCount)
        return key
    }
}

/// Little-endian integers.
extension FixedWidthInteger {
    var littleEndianBytes: [UInt8] { withUnsafeBytes(of: littleEndian) { Array($0) } }

    /// Reads from the first bytes; nil if there are too few.
    init?(littleEndianBytes bytes: some Collection<UInt8>) {
        var value = Self.zero
        let count = withUnsafeMutableBytes(of: &value) { target in
            var count = 0
            for (index, byte) in bytes.prefix(target.count).enumerated() {
                target[index] = byte
                count += 1
            }
            return count
        }
        guard count == MemoryLayout<Self>.size else { return nil }
        self = Self(littleEndian: value)
    }
}

/// BLAKE2b-256 of the floats' bytes, hexadecimal: tells whether a file belongs to these parameters.
package func parameterHash(_ parameters: FloatBuffer) -> String {
    var checksum = Checksum(byteCount: 32)
    parameters.withUnsafeBufferPointer { checksum.update(UnsafeRawBufferPointer($0)) }
    return hexadecimal(checksum.finalize())
}
