import Compression
import OuterSync
import PeerNet
import Swarm

/// What a driver does for a core, in virtual time.
extension Simulator {
    /// Feeds one input to a life's core and performs what it asks for.
    func feed(_ life: Life, _ input: NodeCore.Input) throws(InvariantViolation) {
        guard let running = running(life) else { return }
        if let text = Self.describe(input) { note(life.node, text) }
        running.outputs.removeAll(keepingCapacity: true)
        running.core.handle(input, at: now, into: &running.outputs)
        // A nested feed cannot happen: whatever an output causes is scheduled, at the earliest now.
        try perform(running.outputs, life)
    }

    /// Performs a core's outputs, in order, as long as its life lasts.
    func perform(_ outputs: [NodeCore.Output], _ life: Life) throws(InvariantViolation) {
        for output in outputs {
            guard let running = running(life) else { return }
            try perform(output, life, running)
        }
    }

    private func perform(
        _ output: NodeCore.Output, _ life: Life, _ running: RunningNode
    ) throws(InvariantViolation) {
        let node = nodes[life.node.value]
        switch output {
        case .send(let peer, let message): try send(message, to: world.node(peer).map { [$0] } ?? [], from: node)
        case .sendLink(let peer, let message): try sendLink(message, to: peer, from: node)
        case .publish(let message): try publish(message, from: node)
        case .announce(let message): try publish(message, from: node, toAllBranches: true)
        case .dial(let peer, let addresses): dial(peer, addresses, from: node)
        case .disconnect(let peer, let reason): try drop(peer, reason, by: node)
        case .fetch(let blob, let peers): try fetch(blob, from: peers, life, running)
        case .dropBlob(let digest): node.disk.drop(digest)
        case .forgetAdmission(let key):
            node.disk.removeRecords { if case .admission(key, _) = $0 { true } else { false } }
        case .keepBlobs(let digests):
            let kept = Set(digests)
            for digest in node.disk.blobs.keys.sorted() where !kept.contains(digest) { node.disk.drop(digest) }
        case .persist(let record, let token): try persist(record, token, node)
        case .pruneSlots(let fragment, let round): try prune(fragment, through: round, node)
        case .compute(let job, let token): compute(job, token, life, running)
        case .takeSnapshot(let fragment, let round, let sequel):
            var wanted = WantedSnapshot(fragment: fragment, round: round)
            if case .turn(let share) = sequel {
                wanted.turn = (running.workshop.head(fragment), share, running.workshop.takeSettled(fragment))
            }
            running.snapshotsWanted.append(wanted)
            if !running.isTraining { queue.schedule(.boundary(life), after: .zero) }
        case .releaseSnapshot(let fragment, let round, let committed):
            running.workshop.releaseSnapshot(fragment, round, committed: committed)
        case .apply(let application):
            try checker(of: node).applying(application, node)
            running.applications[application.fragment] = application
            if world.charter.syncMode.isLate {
                running.appliedHeads[application.fragment] = running.workshop.head(application.fragment)
            }
            if !running.isTraining { queue.schedule(.boundary(life), after: .zero) }
        case .setCommittedTokens(let tokens): try checker(of: node).committedTokensTold(tokens, node)
        case .stopTraining:
            try checker(of: node).stoppingTraining(node)
            running.isTraining = false
            queue.schedule(.boundary(life), after: .zero)
        case .finished:
            note(life.node, "finished")
            try checker(of: node).finishing(node)
            running.isFinished = true
        case .setTimer(let timer, let moment):
            running.timerSettings += 1
            running.timers[timer] = running.timerSettings
            queue.schedule(.timer(life, timer, setting: running.timerSettings), at: moment)
        case .cancelTimer(let timer): running.timers[timer] = nil
        case .event(let event): note(life.node, "event \(event)")
        }
    }

    // MARK: Disk

    private func persist(_ record: DurableRecord, _ token: Token, _ node: SimulatedNode) throws(InvariantViolation) {
        try checker(of: node).persisting(record, node, nodes)
        if node.disk.append(record, token: token) { queue.schedule(.synced(node.life), after: node.syncLatency()) }
    }

    private func prune(
        _ fragment: FragmentIndex, through round: RoundIndex, _ node: SimulatedNode
    ) throws(InvariantViolation) {
        try checker(of: node).pruning(fragment, through: round, node)
        node.disk.removeRecords { record in
            guard case .slot(let slotFragment, let slotRound, _) = record else { return false }
            return slotFragment == fragment && slotRound <= round
        }
    }

    func synced(_ life: Life) throws(InvariantViolation) {
        guard running(life) != nil else { return }
        let node = nodes[life.node.value]
        let (entries, areDurable, syncAgain) = node.disk.syncEnded()
        if syncAgain { queue.schedule(.synced(life), after: node.syncLatency()) }
        for entry in entries {
            if areDurable { try checker(of: node).persisted(entry.record, node) }
            try feed(
                life, areDurable ? .persisted(entry.token) : .persistFailed(entry.token, reason: "the disk is full"))
        }
    }

    func saved(_ life: Life, _ snapshot: LocalSnapshot) {
        if running(life) != nil { nodes[life.node.value].disk.save(snapshot) }
    }

    // MARK: Arithmetic

    private func compute(_ job: Job, _ token: Token, _ life: Life, _ running: RunningNode) {
        let fragment = job.fragment
        let byteCount = Double(4 * world.layout.fragments[fragment.value].parameterCount)
        let duration =
            Duration.microseconds(300) + .seconds(byteCount / nodes[life.node.value].description.jobBytesPerSecond)
        let end = max(now, running.jobsEnd[fragment] ?? .zero) + duration
        running.jobsEnd[fragment] = end
        queue.schedule(.jobEnded(life, job, token), at: end)
    }

    func jobEnded(_ life: Life, _ job: Job, _ token: Token) throws(InvariantViolation) {
        guard let running = running(life) else { return }
        let node = nodes[life.node.value]
        let result = running.workshop.run(job)
        note(life.node, "job \(Self.describe(job)): \(Self.describe(result))")
        try checker(of: node).computed(job, result, node, nodes)
        // The work is durable here and the core does not know it yet: a crash in between is part of the game.
        queue.schedule(.input(life, .computed(token, result)), after: node.generator.draw(.zero...(.milliseconds(3))))
    }

    // MARK: Training

    func step(_ life: Life) throws(InvariantViolation) {
        guard let running = running(life), running.isTraining else { return }
        let node = nodes[life.node.value]
        running.trainer.step()
        checker(of: node).trained(node, running.trainer.progress)
        queue.schedule(.step(life), after: node.description.stepDuration * node.slowness)
        if running.trainer.progress.steps.isMultiple(of: node.description.stepsPerLocalSnapshot) {
            queue.schedule(.saved(life, running.trainer.snapshot()), after: node.syncLatency())
        }
        try reachBoundary(life)
        try feed(life, .trained(running.trainer.progress))
    }

    /// Applies heads that are due, then copies what is asked for, unless a head of the same fragment still waits.
    func reachBoundary(_ life: Life) throws(InvariantViolation) {
        guard let running = running(life) else { return }
        let node = nodes[life.node.value]
        for application in running.applications.values.sorted(by: { $0.fragment < $1.fragment })
        where !running.isTraining || application.notBeforeStep <= running.trainer.progress.steps {
            running.applications[application.fragment] = nil
            let head =
                running.appliedHeads.removeValue(forKey: application.fragment)
                ?? running.workshop.head(application.fragment)
            try checker(of: node).applied(application, head, node)
            running.trainer.apply(
                application, head: head, settled: running.workshop.takeSettled(application.fragment))
            queue.schedule(
                .input(life, .applied(application.fragment, application.round, running.trainer.progress)), after: .zero)
        }
        let wanted = running.snapshotsWanted
        running.snapshotsWanted = wanted.filter { running.applications[$0.fragment] != nil }
        for copy in wanted where running.applications[copy.fragment] == nil {
            try takeSnapshot(copy, node, running)
            queue.schedule(
                .input(life, .snapshotTaken(copy.fragment, copy.round, running.trainer.progress)), after: .zero)
        }
    }

    /// Copies a live fragment, and overwrites it behind the copy if means come late.
    private func takeSnapshot(
        _ copy: WantedSnapshot, _ node: SimulatedNode, _ running: RunningNode
    ) throws(InvariantViolation) {
        let fragment = copy.fragment
        if let turn = copy.turn { running.trainer.settle(turn.settled, of: fragment) }
        let start = running.trainer.start(of: fragment)
        if let start { try checker(of: node).measured(fragment, from: start.values, head: start.head, node) }
        running.workshop.keepSnapshot(
            fragment, copy.round, live: running.trainer.values(of: fragment),
            residual: running.trainer.residual(of: fragment), start: start)
        checker(of: node).snapshotTaken(fragment, copy.round, node)
        guard let turn = copy.turn else { return }
        let live = running.trainer.turn(
            fragment, head: turn.head, share: turn.share, rule: world.charter.outerRule)
        try checker(of: node).turned(fragment, copy.round, turn.head, live: live, node)
    }
}
