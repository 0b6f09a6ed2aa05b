import CSodium

/// A point of Kademlia's key space: the SHA-256 of a peer's id bytes or of a record's key, as a 256-bit number.
struct KademliaKey: Hashable, Comparable, Sendable {
    /// Bits of a key.
    static let bitCount = 256

    // Words rather than bytes: distances are compared in every step of every lookup.
    private var first: UInt64 = 0
    private var second: UInt64 = 0
    private var third: UInt64 = 0
    private var fourth: UInt64 = 0

    /// The point of some raw key bytes.
    init(hashing bytes: [UInt8]) {
        var digest = [UInt8](repeating: 0, count: 32)
        crypto_hash_sha256(&digest, bytes, UInt64(bytes.count))
        digest.withUnsafeBytes { raw in
            first = UInt64(bigEndian: raw.loadUnaligned(fromByteOffset: 0, as: UInt64.self))
            second = UInt64(bigEndian: raw.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
            third = UInt64(bigEndian: raw.loadUnaligned(fromByteOffset: 16, as: UInt64.self))
            fourth = UInt64(bigEndian: raw.loadUnaligned(fromByteOffset: 24, as: UInt64.self))
        }
    }

    /// The point of a peer.
    init(_ peer: PeerID) { self.init(hashing: peer.bytes) }

    /// The 32 bytes, most significant first.
    var bytes: [UInt8] {
        [first, second, third, fourth].flatMap { word in withUnsafeBytes(of: word.bigEndian) { Array($0) } }
    }

    /// The XOR metric.
    func distance(to other: KademliaKey) -> KademliaKey {
        var result = self
        result.first ^= other.first
        result.second ^= other.second
        result.third ^= other.third
        result.fourth ^= other.fourth
        return result
    }

    /// How many leading bits both keys share; `bitCount` for equal keys.
    func commonPrefixLength(with other: KademliaKey) -> Int {
        let distance = distance(to: other)
        if distance.first != 0 { return distance.first.leadingZeroBitCount }
        if distance.second != 0 { return 64 + distance.second.leadingZeroBitCount }
        if distance.third != 0 { return 128 + distance.third.leadingZeroBitCount }
        return 192 + distance.fourth.leadingZeroBitCount
    }

    static func < (left: KademliaKey, right: KademliaKey) -> Bool {
        if left.first != right.first { return left.first < right.first }
        if left.second != right.second { return left.second < right.second }
        if left.third != right.third { return left.third < right.third }
        return left.fourth < right.fourth
    }
}
