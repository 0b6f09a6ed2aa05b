/// SplitMix64: a small, fast, integer-only generator whose output is the same on every machine.
///
/// Good enough for initialisation, sampling of windows and tests; never for keys.
/// - SeeAlso: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014), figure 16.
package struct SeededRandom: RandomNumberGenerator, Hashable, Sendable {
    /// The whole state; store it to continue a sequence later.
    package private(set) var state: UInt64

    /// Continues from a stored state, or starts from a seed.
    package init(seed: UInt64) { state = seed }

    /// Starts the independent sequence number `stream` of a seed.
    package init(seed: UInt64, stream: UInt64) {
        var outer = SeededRandom(seed: seed)
        var inner = SeededRandom(seed: stream ^ 0xA076_1D64_78BD_642F)
        state = outer.next() ^ inner.next()
    }

    /// The next 64 random bits.
    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// A float in [0, 1) with 24 random bits; exact arithmetic, so equal everywhere.
    package mutating func nextUniform() -> Float { Float(next() >> 40) * 0x1p-24 }

    /// An integer in 0 ..< bound, without bias beyond 2^-64.
    package mutating func nextIndex(below bound: Int) -> Int {
        precondition(bound > 0, "the bound must be positive")
        return Int(next().multipliedFullWidth(by: UInt64(bound)).high)
    }

    /// An approximately normal float of mean 0 and standard deviation 1, from integers and one multiplication.
    ///
    /// Sum of twelve 16-bit uniforms (Irwin-Hall), which is exact in integers; the result is bounded by 6. Only the final
    /// product rounds, so the bits are equal on every machine.
    package mutating func nextNormal() -> Float {
        var sum: Int32 = 0
        for _ in 0..<3 {
            let bits = next()
            sum += Int32(bits & 0xFFFF) + Int32(bits >> 16 & 0xFFFF) + Int32(bits >> 32 & 0xFFFF) + Int32(bits >> 48)
        }
        // The mean of the sum is 12 * 65535 / 2; each term has variance (65536^2 - 1) / 12, so the sum has 65536^2.
        return Float(sum - 6 * 65535) * 0x1p-16
    }
}
