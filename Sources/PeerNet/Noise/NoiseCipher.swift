import CSodium

/// One direction of an encrypted channel: a ChaCha20-Poly1305 key with its counter.
struct NoiseCipher: Sendable {
    /// Bytes that authentication adds.
    static let tagBytes = 16

    private(set) var key: [UInt8]
    private var counter: UInt64 = 0

    /// Takes a fresh 32-byte key.
    init(key: [UInt8]) {
        precondition(key.count == 32, "ChaCha20-Poly1305 keys have 32 bytes")
        self.key = key
    }

    /// Appends ciphertext and tag of `plaintext` to `output`.
    mutating func encrypt(
        _ plaintext: UnsafeRawBufferPointer, authenticating data: [UInt8] = [], into output: inout [UInt8]
    ) throws(Violation) {
        let nonce = try nextNonce()
        let key = key
        var status: CInt = -1
        output.append(addingCapacity: plaintext.count + Self.tagBytes) { span in
            span.withUnsafeMutableBufferPointer { buffer, count in
                guard let target = buffer.baseAddress else { return }
                status = crypto_aead_chacha20poly1305_ietf_encrypt(
                    target, nil, plaintext.baseAddress?.assumingMemoryBound(to: UInt8.self),
                    UInt64(plaintext.count), data, UInt64(data.count), nil, nonce, key)
                count += plaintext.count + Self.tagBytes
            }
        }
        precondition(status == 0, "encryption of a short message cannot fail")
    }

    /// Appends the plaintext of `ciphertext` (tag at its end) to `output`, or throws and leaves it as it was.
    mutating func decrypt(
        _ ciphertext: UnsafeRawBufferPointer, authenticating data: [UInt8] = [], into output: inout [UInt8]
    ) throws(Violation) {
        guard ciphertext.count >= Self.tagBytes else {
            throw .noiseMessageTooShort(bytes: ciphertext.count, bytesMin: Self.tagBytes)
        }
        let nonce = try nextNonce()
        let key = key
        guard let source = ciphertext.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return }
        var status: CInt = -1
        // One byte more than the plaintext, so that the address of an empty one is valid.
        output.append(addingCapacity: ciphertext.count - Self.tagBytes + 1) { span in
            span.withUnsafeMutableBufferPointer { buffer, count in
                guard let target = buffer.baseAddress else { return }
                status = crypto_aead_chacha20poly1305_ietf_decrypt(
                    target, nil, nil, source, UInt64(ciphertext.count), data, UInt64(data.count), nonce, key)
                if status == 0 { count += ciphertext.count - Self.tagBytes }
            }
        }
        guard status == 0 else { throw .noiseAuthenticationFailed }
    }

    /// Overwrites the key.
    mutating func wipe() { wipeSecret(&key) }

    /// Four zero bytes, then the counter in little-endian order.
    private mutating func nextNonce() throws(Violation) -> [UInt8] {
        guard counter < .max else { throw .noiseNoncesExhausted }
        let nonce = [0, 0, 0, 0] + withUnsafeBytes(of: counter.littleEndian) { Array($0) }
        counter += 1
        return nonce
    }
}

/// Overwrites secret bytes that nothing else refers to, then forgets them.
func wipeSecret(_ bytes: inout [UInt8]) {
    bytes.withUnsafeMutableBytes { sodium_memzero($0.baseAddress, $0.count) }
    bytes = []
}
