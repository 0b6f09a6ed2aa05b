/// A rule that a peer's bytes broke, in words; never a trap.
struct Violation: Error, Hashable, Sendable {
    let reason: String

    init(_ reason: String) { self.reason = reason }
}
