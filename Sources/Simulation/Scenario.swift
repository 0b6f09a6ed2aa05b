import Compression
package import OuterSync

/// One whole experiment: who takes part, on what network and model, and what goes wrong when.
package struct Scenario: Sendable {
    /// The seed of every draw made while the scenario runs.
    package var seed: UInt64
    /// The nodes; 0 is the founder and starts at once.
    package var nodes: [NodeDescription]
    /// The stand-in model and its training rule.
    package var model: ModelDescription
    /// Faults in the order of their moments.
    package var faults: [TimedFault]
    /// Nothing goes wrong from here on, and message loss ends.
    package var faultsEnd: Duration
    /// After the faults every fragment must advance this many rounds (or the swarm must finish) …
    package var roundsAfterFaults: UInt64
    /// … within this time, and every node that is up must be level by then.
    package var recoveryTimeMax: Duration
    /// Where the swarm asks for invites.
    package var invites: InvitePlan?
    /// Nodes that train a second branch, which the lowest of them has made; the others train the first one.
    package var secondBranch: Set<NodeNumber> = []

    /// Wraps the fields.
    package init(
        seed: UInt64, nodes: [NodeDescription], model: ModelDescription, faults: [TimedFault], faultsEnd: Duration,
        roundsAfterFaults: UInt64, recoveryTimeMax: Duration
    ) {
        self.seed = seed
        self.nodes = nodes
        self.model = model
        self.faults = faults
        self.faultsEnd = faultsEnd
        self.roundsAfterFaults = roundsAfterFaults
        self.recoveryTimeMax = recoveryTimeMax
    }

    /// The index of the branch that a node trains.
    func branch(of node: NodeNumber) -> Int { secondBranch.contains(node) ? 1 : 0 }
}

/// One node of a scenario.
package struct NodeDescription: Hashable, Sendable {
    /// How it hangs on the network.
    package var access: NetworkAccess
    /// Time of one inner step.
    package var stepDuration: Duration
    /// The longest sync of its disk.
    package var syncLatencyMax: Duration
    /// Bytes of blobs that its arithmetic handles per second, jobs queueing behind each other.
    package var jobBytesPerSecond: Double
    /// When it is switched on first.
    package var startsAt: Duration
    /// Steps between two local snapshots.
    package var stepsPerLocalSnapshot: UInt64

    /// Wraps the fields.
    package init(
        access: NetworkAccess, stepDuration: Duration, syncLatencyMax: Duration, jobBytesPerSecond: Double,
        startsAt: Duration, stepsPerLocalSnapshot: UInt64
    ) {
        self.access = access
        self.stepDuration = stepDuration
        self.syncLatencyMax = syncLatencyMax
        self.jobBytesPerSecond = jobBytesPerSecond
        self.startsAt = startsAt
        self.stepsPerLocalSnapshot = stepsPerLocalSnapshot
    }
}

/// A model small enough that its arithmetic costs nothing, cut into fragments and tiles like a real one.
package struct ModelDescription: Hashable, Sendable {
    /// Parameters of each fragment.
    package var fragmentParameterCounts: [Int]
    /// H: inner steps between two rounds of one fragment.
    package var innerStepsPerRound: Int
    /// tau: inner steps between snapshot and application.
    package var overlapSteps: Int
    /// Tokens of one inner step.
    package var tokensPerStep: UInt64
    /// The charter's token budget; the swarm finishes at it.
    package var tokenBudget: UInt64
    /// How payloads are encoded.
    package var encoding = PayloadEncoding(.e3m0)
    /// How live values go on while a mean is under way.
    package var syncMode = SyncMode.windowed
    /// Most members of a round whose contributions everybody averages; 0: never.
    package var gatherMembersMax = 0
    /// Parameters of each tensor; every tensor is one tile.
    package var tensorParameters = 30...300

    /// Wraps the fields.
    package init(
        fragmentParameterCounts: [Int], innerStepsPerRound: Int, overlapSteps: Int, tokensPerStep: UInt64,
        tokenBudget: UInt64
    ) {
        self.fragmentParameterCounts = fragmentParameterCounts
        self.innerStepsPerRound = innerStepsPerRound
        self.overlapSteps = overlapSteps
        self.tokensPerStep = tokensPerStep
        self.tokenBudget = tokenBudget
    }
}

/// A fault and its moment.
package struct TimedFault: Hashable, Sendable {
    /// When.
    package var at: Duration
    /// What.
    package var fault: Fault

    /// Wraps the two.
    package init(at: Duration, fault: Fault) {
        self.at = at
        self.fault = fault
    }
}

/// What can go wrong, and be mended.
package enum Fault: Hashable, Sendable {
    /// SIGKILL and power loss at once: memory, sockets and unsynced writes are gone.
    case crash(NodeNumber)
    /// The next node that sends a message of this kind crashes while sending: only some of its peers get the message.
    /// It restarts after `downtime`.
    case crashWhileSending(MessageKind, downtime: Duration)
    /// A crash without return: nothing starts the node again.
    case die(NodeNumber)
    /// A crashed node starts again from its disk.
    case restart(NodeNumber)
    /// Everything sent over these paths vanishes; connections over them are reset after a while.
    case cut([Path])
    /// All paths work again.
    case heal
    /// A connection is reset.
    case reset(Path)
    /// Nothing new becomes durable on this node.
    case fillDisk(NodeNumber)
    /// There is room on the disk again.
    case freeDisk(NodeNumber)
    /// Steps take this many times as long from now on; 1 is normal.
    case slowSteps(NodeNumber, factor: Int)
    /// The founder revokes an invite of the scenario's plan.
    case revokeInvite(Int)
    /// The founder ends a node's membership.
    case revokeNode(NodeNumber)
}

/// The kinds of control messages in which a crash is worth provoking.
package enum MessageKind: Int, Hashable, Sendable, CaseIterable {
    /// See the vocabulary of a round.
    case plan, join, roster, offer, result, hold, commit, ack, final
    /// Everything else: hello, status, catch-up.
    case other
}
