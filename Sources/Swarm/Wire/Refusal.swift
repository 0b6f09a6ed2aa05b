/// A rule that a peer's bytes broke, in words; never a trap.
struct Refusal: Error, Hashable, Sendable {
    let reason: String

    init(_ reason: String) { self.reason = reason }
}
