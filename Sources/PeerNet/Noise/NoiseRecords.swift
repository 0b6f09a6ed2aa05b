/// The encrypted byte stream after the handshake: records of `length (2, big-endian) | ciphertext | tag`.
struct NoiseRecords: Sendable {
    /// Most plaintext bytes in one record.
    static let plaintextBytesMax = 65535 - NoiseCipher.tagBytes

    private var send: NoiseCipher
    private var receive: NoiseCipher

    /// Takes the two ciphers of a finished handshake.
    init(send: NoiseCipher, receive: NoiseCipher) {
        self.send = send
        self.receive = receive
    }

    /// Appends `plaintext` as records, full ones but the last.
    mutating func seal(_ plaintext: UnsafeRawBufferPointer, into output: inout [UInt8]) throws(Violation) {
        var offset = 0
        while offset < plaintext.count {
            let count = min(Self.plaintextBytesMax, plaintext.count - offset)
            let length = count + NoiseCipher.tagBytes
            output.append(UInt8(length >> 8))
            output.append(UInt8(length & 255))
            try send.encrypt(
                UnsafeRawBufferPointer(rebasing: plaintext[offset..<offset + count]), into: &output)
            offset += count
        }
    }

    /// Decrypts every whole record in `input` and appends the plaintext to `output`.
    mutating func open(from input: inout ByteQueue, into output: inout [UInt8]) throws(Violation) {
        output.reserveCapacity(output.count + input.count)
        while let length = Self.frameLength(at: input) {
            guard length >= NoiseCipher.tagBytes else {
                throw .noiseMessageTooShort(bytes: length, bytesMin: NoiseCipher.tagBytes)
            }
            guard input.count >= 2 + length else { return }
            try input.withUnsafeBytes { (bytes) throws(Violation) in
                try receive.decrypt(UnsafeRawBufferPointer(rebasing: bytes[2..<2 + length]), into: &output)
            }
            input.drop(2 + length)
        }
    }

    /// Overwrites both keys.
    mutating func wipe() {
        send.wipe()
        receive.wipe()
    }

    /// Takes one whole frame from `input`, without its length.
    static func takeFrame(from input: inout ByteQueue) -> [UInt8]? {
        guard let length = frameLength(at: input), input.count >= 2 + length else { return nil }
        input.drop(2)
        return input.take(length)
    }

    private static func frameLength(at input: ByteQueue) -> Int? {
        input.count >= 2 ? Int(input[0]) << 8 | Int(input[1]) : nil
    }
}
