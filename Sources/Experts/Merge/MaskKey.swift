import Numerics

/// Random words for every place of a tensor, whatever the order in which they are asked for: a function of seed, tensor, input
/// and place.
struct MaskKey: Hashable, Sendable {
    private let state: UInt64

    init(seed: UInt64, tensor: String, input: Int) {
        // FNV-1a, which is enough to tell names apart.
        var name: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in tensor.utf8 { name = (name ^ UInt64(byte)) &* 0x100_0000_01B3 }
        var random = SeededRandom(seed: seed, stream: name)
        random = SeededRandom(seed: random.next(), stream: UInt64(input))
        state = random.next()
    }

    /// The word of a place: SplitMix64's sequence, entered at the place.
    @inline(__always)
    func word(_ place: Int) -> UInt64 {
        var mixed = state &+ UInt64(truncatingIfNeeded: place) &* 0x9E37_79B9_7F4A_7C15
        mixed = (mixed ^ (mixed &>> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed &>> 27)) &* 0x94D0_49BB_1331_11EB
        return (mixed ^ (mixed &>> 31)) &>> 11
    }

    /// A word is below it with this probability, which must lie between 0 and 1.
    @inline(__always)
    static func bound(_ probability: Double) -> UInt64 { UInt64(probability * 0x1p53) }
}
