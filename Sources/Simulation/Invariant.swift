/// What must hold after every event, by the number of the design's invariant.
package enum Invariant: String, Hashable, Sendable, CaseIterable {
    /// (1) One final commit value per round, ever.
    case oneFinalPerRound = "a round has one final commit"
    /// (1) A head is the pure function of the head before, the commit and its payloads; absent tiles do not move.
    case headIsPure = "a head follows from the head before, the commit and its payloads"
    /// (1) Nodes at one round hold the same bits.
    case sameBits = "nodes at one round of a fragment hold the same head"
    /// (1) A final commit links to the one before and has a quorum of acks that were given.
    case finalIsProven = "a final commit has a quorum of acks"
    /// (2) Training never waits.
    case trainingNeverWaits = "training never waits"
    /// (3) Whoever is left makes progress when a quorum is there.
    case progress = "every fragment advances when faults have stopped"
    /// (4) Every node that is up reaches the newest heads, and a newcomer contributes.
    case everyoneArrives = "every node reaches the head and newcomers contribute"
    /// (4, 6) A node's ledger has every final since genesis, and never goes back.
    case ledgerIsWhole = "a ledger is whole and never goes back"
    /// (6) Nothing signed leaves before it is durable.
    case durableBeforeSent = "nothing signed leaves before it is durable"
    /// (6) A slot is signed once.
    case oneMessagePerSlot = "a slot is signed once"
    /// (6) An ack says that every payload is held durably, and that the head was computed.
    case ackIsTrue = "an ack is given only for payloads that are held"
    /// A voter that acked a value does not ack another of a lower attempt, nor hide it.
    case promiseIsKept = "a promise is kept"
    /// (3, 6) A training step counts at most once per fragment.
    case countedOnce = "a training step is committed at most once"
    /// (5) Who is not let in gets nothing.
    case strangersGetNothing = "nothing of the swarm reaches a node that is not let in"
    /// Absent is not zero: only tiles whose commit lists a node are blended.
    case blendOnlyListed = "a node blends only tiles whose commit lists it"
    /// The core and its driver keep their own contract.
    case contract = "the core and its driver keep their contract"
}

/// A broken invariant.
package struct InvariantViolation: Error, Sendable {
    /// Which.
    package let invariant: Invariant
    /// Where; nil: in the swarm as a whole.
    package let node: NodeNumber?
    /// How.
    package let explanation: String

    /// Wraps the fields.
    package init(_ invariant: Invariant, _ node: NodeNumber?, _ explanation: String) {
        self.invariant = invariant
        self.node = node
        self.explanation = explanation
    }
}

/// A run that broke an invariant: everything needed to look into it.
package struct SimulationFailure: Error, CustomStringConvertible, Sendable {
    /// Replays the run.
    package let seed: UInt64
    /// What broke.
    package let violation: InvariantViolation
    /// When.
    package let seconds: Double
    /// The last lines of the trace, oldest first.
    package let excerpt: [String]

    /// Seed, invariant, moment and the end of the trace.
    package var description: String {
        let place = violation.node.map { " at \($0)" } ?? ""
        return """
            seed \(seed): "\(violation.invariant.rawValue)" broken\(place) after \(seconds) s: \(violation.explanation)
            \(excerpt.joined(separator: "\n"))
            """
    }
}
