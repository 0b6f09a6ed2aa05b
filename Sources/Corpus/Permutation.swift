import Numerics

/// A pseudo-random order of 0 ..< count that is computed, not stored: any position of any epoch costs the same and a
/// cursor is one integer.
///
/// Four Feistel rounds over the smallest even number of bits that holds `count`; results beyond `count` go round again
/// (cycle walking), which takes less than four tries on average.
struct Permutation {
    private let count: UInt64
    private let halfBits: UInt64
    private let keys: [4 of UInt64]

    /// - Precondition: `count` is at least 1.
    init(count: Int, seed: UInt64, stream: UInt64) {
        precondition(count > 0, "a permutation has at least one element")
        self.count = UInt64(count)
        let bits = UInt64.bitWidth - (self.count - 1).leadingZeroBitCount
        halfBits = UInt64(max(1, (bits + 1) / 2))
        var random = SeededRandom(seed: seed, stream: stream)
        keys = [random.next(), random.next(), random.next(), random.next()]
    }

    /// The element at a position.
    subscript(position: Int) -> Int {
        precondition(position >= 0 && position < Int(count), "position out of range")
        var value = UInt64(position)
        repeat { value = encrypt(value) } while value >= count
        return Int(value)
    }

    private func encrypt(_ value: UInt64) -> UInt64 {
        let mask = (UInt64(1) << halfBits) - 1
        var (left, right) = (value >> halfBits, value & mask)
        for round in 0..<4 {
            (left, right) = (right, left ^ (Self.mix(right ^ keys[round]) & mask))
        }
        return left << halfBits | right
    }

    /// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): every input bit reaches every output bit.
    private static func mix(_ value: UInt64) -> UInt64 {
        var z = value
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
