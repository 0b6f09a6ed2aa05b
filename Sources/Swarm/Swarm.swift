package import PeerNet

/// One node's whole protocol: membership, rounds, ledger and join, as one pure state machine.
package struct NodeCore: Sendable {
    /// The timers that the core sets.
    package enum Timer: Hashable, Sendable { case status }
    /// What is worth telling people.
    package enum Event: Hashable, Sendable { case note(String) }

    /// Applies one input and appends what the driver must now do, in order, to `outputs`.
    package mutating func handle(_ input: Input, at now: Moment, into outputs: inout [Output]) {}
}
