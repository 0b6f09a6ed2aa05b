package import Compression
import OuterSync
package import PeerNet
import Swarm

/// Runs one scenario: the shipped cores and arithmetic of all nodes on one virtual clock.
///
/// Everything that a daemon's driver does for a core is done here in virtual time, in the order of the core's outputs and
/// with no decision about the protocol. Every event is followed by the checks of `InvariantChecker`.
package final class Simulator {
    /// What is run.
    package let scenario: Scenario
    /// What all nodes share.
    package let world: SimulatedWorld
    /// The nodes, by number.
    package let nodes: [SimulatedNode]
    /// Per branch, judges every event.
    package let checkers: [InvariantChecker]
    /// What happened.
    package private(set) var trace: Trace
    var queue = EventQueue<SimulationEvent>()
    var network: VirtualNetwork
    var generator: SeededGenerator
    /// Pairs between which a handshake is under way.
    var dialing: Set<Path> = []
    /// Crashes that wait for the next message of a kind.
    var armedCrashes: [(kind: MessageKind, downtime: Duration)] = []
    /// Called with every trace line, for a live view; nil: nobody looks.
    package var observer: ((Trace.Line) -> Void)?

    /// Sets the scenario up; nothing has happened yet.
    package init(_ scenario: Scenario, traceLinesKept: Int = 400) throws(SimulationFailure) {
        do {
            world = try SimulatedWorld(scenario)
        } catch {
            throw SimulationFailure(seed: scenario.seed, violation: error, seconds: 0, excerpt: [])
        }
        self.scenario = scenario
        generator = SeededGenerator(seed: scenario.seed, stream: 3)
        network = VirtualNetwork(
            access: scenario.nodes.map(\.access), generator: SeededGenerator(seed: scenario.seed, stream: 4))
        let world = world
        nodes = scenario.nodes.enumerated().map { number, description in
            SimulatedNode(
                number: NodeNumber(number), description: description, identity: world.identities[number],
                address: world.addresses[number], seed: scenario.seed)
        }
        for number in scenario.invites?.outsiders ?? [] { nodes[number.value].isOutside = true }
        trace = Trace(linesKept: traceLinesKept)
        checkers = world.branches.map { InvariantChecker(world: world, branch: $0) }
        for (number, description) in scenario.nodes.enumerated() {
            queue.schedule(.start(NodeNumber(number)), after: description.startsAt)
        }
        for timed in scenario.faults { queue.schedule(.fault(timed.fault), after: timed.at) }
    }

    /// Virtual time.
    package var now: Moment { queue.now }

    /// The wall clock of every node.
    var unixTime: UInt64 { InvitePlan.epoch + UInt64((now - .zero).components.seconds) }

    /// Runs to the scenario's end, or to the first broken invariant.
    package func run() throws(SimulationFailure) -> SimulationReport {
        do {
            return try runChecked()
        } catch {
            throw SimulationFailure(
                seed: scenario.seed, violation: error, seconds: now.nanoseconds == 0 ? 0 : (now - .zero).inSeconds,
                excerpt: trace.excerpt + standings)
        }
    }

    /// Where every node stands, in the words of its own core.
    private var standings: [String] {
        nodes.map { node in
            guard let running = node.running else { return "\(node.number) is \(node.isDead ? "dead" : "down")" }
            let status = running.core.status
            let fragments = status.fragments.map { fragment in
                let voters = fragment.voters.map { world.node($0)?.description ?? "?" }.joined(separator: " ")
                return
                    "head \(fragment.headRound.value)/\(fragment.ledgerRound.value)\(fragment.closed ? " closed" : ""), "
                    + "voters [\(voters)], \(fragment.activity ?? "idle")"
            }
            return "\(node.number) \(status.phase), step \(running.trainer.progress.steps), connected to "
                + "\(status.connectedMembers.map { world.node($0)?.description ?? "?" }), "
                + "\(status.canPersist ? "" : "cannot persist, ")\(fragments.joined(separator: " | "))"
        }
    }

    private func runChecked() throws(InvariantViolation) -> SimulationReport {
        let faultsEnd = Moment.zero + scenario.faultsEnd
        let deadline = faultsEnd + scenario.recoveryTimeMax
        var goals: [RecoveryGoal] = []
        var eventCount = 0
        while let moment = queue.nextMoment, moment <= deadline {
            if goals.isEmpty, moment > faultsEnd {
                stopFaults()
                goals = checkers.indices.map { branch in
                    RecoveryGoal(
                        scenario: scenario, world: world, nodes: members(of: branch), checker: checkers[branch])
                }
            }
            guard let event = queue.pop() else { break }
            eventCount += 1
            try handle(event)
            if checkers.contains(where: \.hasNews), !goals.isEmpty {
                for checker in checkers { checker.hasNews = false }
                if missing(goals) == nil { return try report(eventCount, goals[0]) }
            }
        }
        guard !goals.isEmpty else {
            throw InvariantViolation(.contract, nil, "nothing is left to happen before the faults end")
        }
        if let missing = missing(goals) { throw missing }
        return try report(eventCount, goals[0])
    }

    /// The first thing that a branch misses.
    private func missing(_ goals: [RecoveryGoal]) -> InvariantViolation? {
        for (branch, goal) in goals.enumerated() {
            if let missing = goal.missing(nodes: members(of: branch), checker: checkers[branch]) { return missing }
        }
        return nil
    }

    /// The nodes that train a branch.
    private func members(of branch: Int) -> [SimulatedNode] {
        nodes.filter { scenario.branch(of: $0.number) == branch }
    }

    /// Who judges what a node does.
    func checker(of node: SimulatedNode) -> InvariantChecker { checkers[scenario.branch(of: node.number)] }

    /// The numbers are those of the first branch.
    private func report(_ eventCount: Int, _ goal: RecoveryGoal) throws(InvariantViolation) -> SimulationReport {
        let checker = checkers[0]
        for node in nodes { try self.checker(of: node).checkAtEnd(node) }
        return SimulationReport(
            seed: scenario.seed, nodeCount: nodes.count, eventCount: eventCount, seconds: (now - .zero).inSeconds,
            rounds: checker.finalCounts, trainedTokens: checker.trainedTokens, committedTokens: checker.committedTokens,
            waivedFragments: goal.waived.count, finished: goal.finishes, traceDigest: trace.digest(),
            counters: checker.counters)
    }

    /// Mends the network; crashed nodes have their restarts in the queue.
    private func stopFaults() {
        network.heal()
        network.lossFactor = 0
        armedCrashes = []
        for node in nodes {
            node.slowness = 1
            node.disk.isFull = false
        }
    }

    /// Adds a line to the trace.
    func note(_ node: NodeNumber?, _ text: String) {
        trace.append(text, node: node, at: now)
        observer?(Trace.Line(moment: now, node: node, text: text))
    }

    /// The memory of a life, if it has not ended.
    func running(_ life: Life) -> RunningNode? {
        let node = nodes[life.node.value]
        return node.incarnation == life.incarnation ? node.running : nil
    }

    private func handle(_ event: SimulationEvent) throws(InvariantViolation) {
        switch event {
        case .start(let number): try start(nodes[number.value])
        case .input(let life, let input): try feed(life, input)
        case .message(let path, let connection, let bytes, let summary):
            try deliver(path, connection, bytes, summary)
        case .linkMessage(let path, let connection, let bytes): try deliverLink(path, connection, bytes)
        case .dialed(let path): try dialed(path)
        case .connectionGone(let path, let life, let connection): try connectionGone(path, life, connection)
        case .cutTimeout(let path, let connection): try cutTimeout(path, connection)
        case .step(let life): try step(life)
        case .boundary(let life): try reachBoundary(life)
        case .synced(let life): try synced(life)
        case .saved(let life, let snapshot): saved(life, snapshot)
        case .timer(let life, let timer, let setting):
            guard let running = running(life), running.timers[timer] == setting else { return }
            running.timers[timer] = nil
            if timer == .status { try feed(life, .clock(unixTime)) }
            try feed(life, .timerFired(timer))
        case .jobEnded(let life, let job, let token): try jobEnded(life, job, token)
        case .blobRequested(let transfer): blobRequested(transfer)
        case .blobArrived(let transfer, let bytes): try blobArrived(transfer, bytes)
        case .blobStored(let life, let blob, let bytes): try blobStored(life, blob, bytes)
        case .blobFailed(let transfer, let failure): try blobFailed(transfer, failure)
        case .fetcherDue(let life, let moment): try fetcherDue(life, moment)
        case .fault(let fault): try commit(fault)
        }
    }
}

/// A run that kept every invariant, in numbers.
package struct SimulationReport: Hashable, Sendable {
    /// Replays the run.
    package var seed: UInt64
    /// Nodes in the scenario.
    package var nodeCount: Int
    /// Events handled.
    package var eventCount: Int
    /// Virtual time.
    package var seconds: Double
    /// Final commits per fragment.
    package var rounds: [Int]
    /// Tokens of all steps of all nodes, lost ones included.
    package var trainedTokens: UInt64
    /// Per fragment the tokens of all committed shares.
    package var committedTokens: [UInt64]
    /// Fragments whose voters died for good, so that no progress could be asked of them.
    package var waivedFragments: Int
    /// Whether the swarm was to finish, and did.
    package var finished: Bool
    /// Folds every trace line: equal digests, equal runs.
    package var traceDigest: Digest
    /// What the run went through, for judging scenarios.
    package var counters: InvariantChecker.Counters
}

extension SimulationReport: CustomStringConvertible {
    /// One line.
    package var description: String {
        """
        seed \(seed): \(nodeCount) nodes, \(eventCount) events, \(Int(seconds)) s, rounds \(rounds), \
        committed \(committedTokens.max() ?? 0) of \(trainedTokens) tokens\(finished ? ", finished" : "")\
        \(waivedFragments > 0 ? ", \(waivedFragments) fragments without a quorum" : ""), \
        crashes \(counters.crashes), later attempts \(counters.laterAttempts), re-proposed \(counters.reproposals), \
        absent tiles \(counters.absentTiles), installs \(counters.installs), overwrites \(counters.overwrites), \
        contributions \(counters.contributions), left out \(counters.leftOut), coarse \(counters.coarseContributions) up \
        \(counters.coarseResults) down, \(counters.feedbackStates) with feedback, trace \(traceDigest.short)
        """
    }
}
