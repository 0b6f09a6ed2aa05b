/// A SplitMix64 generator: the only source of chance in a simulation, so that a seed is a replay.
///
/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014), figure 17.
package struct SeededGenerator: RandomNumberGenerator, Sendable {
    private var state: UInt64

    /// Starts the stream of `seed`.
    package init(seed: UInt64) { state = seed }

    /// Starts a stream of its own for one purpose, so that a draw more here moves nothing there.
    package init(seed: UInt64, stream: UInt64) {
        var parent = SeededGenerator(seed: seed ^ (stream &* 0xD1B5_4A32_D192_ED03))
        state = parent.next()
    }

    /// The next 64 bits.
    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// A number in 0 ..< 1 with 53 random bits.
    package mutating func nextUnit() -> Double { Double(next() >> 11) * 0x1p-53 }

    /// A number in `range`, evenly.
    package mutating func draw(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &self) }

    /// A number in `range`, evenly.
    package mutating func draw(_ range: ClosedRange<Double>) -> Double {
        range.lowerBound + nextUnit() * (range.upperBound - range.lowerBound)
    }

    /// A duration in `range`, evenly, in whole microseconds.
    package mutating func draw(_ range: ClosedRange<Duration>) -> Duration {
        let low = range.lowerBound.microseconds, high = range.upperBound.microseconds
        return .microseconds(Int64.random(in: low...high, using: &self))
    }

    /// Whether an event of this probability happens.
    package mutating func chance(_ probability: Double) -> Bool { nextUnit() < probability }
}

extension Duration {
    /// Whole microseconds.
    fileprivate var microseconds: Int64 { components.seconds * 1_000_000 + components.attoseconds / 1_000_000_000_000 }
}
