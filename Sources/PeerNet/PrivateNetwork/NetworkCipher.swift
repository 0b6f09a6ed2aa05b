import CSodium

/// One direction of a private network's stream: XSalsa20 from its first byte on.
struct NetworkCipher: Sendable {
    static let nonceByteCount = Int(crypto_stream_xsalsa20_NONCEBYTES)
    private static let blockByteCount = 64

    private let key: [UInt8]
    private let nonce: [UInt8]
    /// Bytes so far.
    private var position: UInt64 = 0

    /// Starts a direction; `nonce` is its sender's 24 bytes.
    init(key: NetworkKey, nonce: [UInt8]) {
        precondition(nonce.count == Self.nonceByteCount, "a nonce has 24 bytes")
        self.key = key.bytes
        self.nonce = nonce
    }

    /// Encrypts or decrypts the stream's next bytes in place.
    mutating func apply(to buffer: UnsafeMutableRawBufferPointer) {
        guard let base = buffer.bindMemory(to: UInt8.self).baseAddress else { return }
        let inBlock = Int(position % UInt64(Self.blockByteCount))
        let head = inBlock == 0 ? 0 : min(Self.blockByteCount - inBlock, buffer.count)
        if head > 0 {
            withUnsafeTemporaryAllocation(of: UInt8.self, capacity: Self.blockByteCount) { block in
                block.initialize(repeating: 0)
                guard let start = block.baseAddress else { return }
                xor(start, Self.blockByteCount)
                for index in 0..<head { base[index] ^= block[inBlock + index] }
            }
            position += UInt64(head)
        }
        if buffer.count > head {
            xor(base + head, buffer.count - head)
            position += UInt64(buffer.count - head)
        }
    }

    /// Bytes from the beginning of the position's block on; libsodium allows in place.
    private func xor(_ bytes: UnsafeMutablePointer<UInt8>, _ count: Int) {
        crypto_stream_xsalsa20_xor_ic(
            bytes, bytes, UInt64(count), nonce, position / UInt64(Self.blockByteCount), key)
    }
}

/// A private network's layer between socket and negotiation: each side first sends a nonce in the clear, then everything
/// encrypted. It proves nothing about who the peer is, only that it has the key: what it says first must be sense.
struct PrivateNetworkLayer: Sendable {
    private let key: NetworkKey
    private var sending: NetworkCipher
    private var receiving: NetworkCipher?
    private var peerNonce: [UInt8] = []
    /// This side's nonce, until it is out.
    private var ownNonce: [UInt8]
    /// What every libp2p peer says first, as far as it has not come yet.
    private var greeting = MultistreamLine.encode(MultistreamLine.header)[...]

    init(key: NetworkKey, nonce: [UInt8]) {
        self.key = key
        ownNonce = nonce
        sending = NetworkCipher(key: key, nonce: nonce)
    }

    /// Whether the nonce still waits to be sent.
    var hasOutput: Bool { !ownNonce.isEmpty }

    /// Appends the nonce if it is not out yet; everything behind it must go through `seal`.
    mutating func begin(into bytes: inout [UInt8]) {
        bytes += ownNonce
        ownNonce = []
    }

    /// Encrypts what was appended to `bytes` from `start` on.
    mutating func seal(_ bytes: inout [UInt8], from start: Int) {
        guard start < bytes.count else { return }
        bytes.withUnsafeMutableBytes { sending.apply(to: .init(rebasing: $0[start...])) }
    }

    /// Decrypts bytes from the socket to the end of `queue`; false if the peer does not have the key.
    mutating func open(_ bytes: UnsafeRawBufferPointer, into queue: inout ByteQueue) -> Bool {
        let head = min(NetworkCipher.nonceByteCount - peerNonce.count, bytes.count)
        peerNonce += bytes.prefix(head)
        if receiving == nil, peerNonce.count == NetworkCipher.nonceByteCount {
            receiving = NetworkCipher(key: key, nonce: peerNonce)
        }
        let count = bytes.count - head
        guard count > 0 else { return true }
        let before = queue.count
        queue.append(UnsafeRawBufferPointer(rebasing: bytes[head...]))
        queue.withMutableSuffix(count) { receiving?.apply(to: $0) }
        let known = min(greeting.count, count)
        for index in 0..<known where queue[before + index] != greeting[greeting.startIndex + index] { return false }
        greeting = greeting.dropFirst(known)
        return true
    }
}
