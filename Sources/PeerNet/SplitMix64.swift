/// The seeded generator of PeerNet's state machines: one seed gives one sequence on every machine.
///
/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014), figure 17. It is not a source
/// of secrets: what it draws (refresh targets, jitter, names) may be guessed without harm.
struct SplitMix64: RandomNumberGenerator, Sendable {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) } }

    /// A duration in `range`, evenly, in whole nanoseconds.
    mutating func duration(in range: ClosedRange<Duration>) -> Duration {
        let bounds = range.lowerBound.nanosecondsClamped...range.upperBound.nanosecondsClamped
        return .nanoseconds(Int64.random(in: bounds, using: &self))
    }
}
