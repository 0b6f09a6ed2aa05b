import Compression
import OuterSync
import PeerNet
import Swarm

/// Starts, crashes and everything else that goes wrong.
extension Simulator {
    func commit(_ fault: Fault) throws(InvariantViolation) {
        switch fault {
        case .crash(let number):
            note(number, "crashes")
            crash(nodes[number.value])
        case .die(let number):
            note(number, "dies")
            nodes[number.value].isDead = true
            crash(nodes[number.value])
        case .crashWhileSending(let kind, let downtime):
            armedCrashes.append((kind, downtime))
        case .restart(let number): try start(nodes[number.value])
        case .cut(let paths):
            note(nil, "cuts \(paths.count) paths")
            network.cut(paths)
            for path in paths {
                guard let connection = network.connection(over: path) else { continue }
                let wait = generator.draw(.milliseconds(500)...(.seconds(10)))
                queue.schedule(.cutTimeout(path, connection), after: wait)
            }
        case .heal:
            note(nil, "heals")
            network.heal()
        case .reset(let path):
            note(nil, "resets \(path.from)-\(path.to)")
            endConnection(over: path, noticedWithin: .milliseconds(500))
        case .fillDisk(let number):
            note(number, "disk full")
            nodes[number.value].disk.isFull = true
        case .freeDisk(let number):
            note(number, "disk free")
            nodes[number.value].disk.isFull = false
        case .revokeInvite(let index):
            let serial = world.credentials[index].serial
            note(NodeNumber(0), "revokes invite \(serial)")
            try command(nodes[0]) { (core, now, outputs) throws(IssuingError) in
                try core.revoke(serial, at: now, into: &outputs)
            }
        case .revokeNode(let number):
            note(NodeNumber(0), "revokes \(number)")
            nodes[number.value].isOutside = true
            let peer = world.identities[number.value].peerID
            try command(nodes[0]) { (core, now, outputs) throws(IssuingError) in
                try core.revoke(peer, at: now, into: &outputs)
            }
        case .slowSteps(let number, let factor): nodes[number.value].slowness = factor
        }
    }

    /// Takes a node's memory, its connections and what it had not synced.
    func crash(_ node: SimulatedNode) {
        guard node.running != nil else { return }
        node.running = nil
        node.disk.crash(using: &node.generator)
        network.clearUplink(of: node.number)
        for peer in network.peers(of: node.number) {
            // A reset right away, or nothing until the peer's own keep-alive gives up.
            endConnection(
                over: Path(from: peer, to: node.number),
                noticedWithin: generator.chance(0.5) ? .milliseconds(50) : .seconds(15))
        }
        checker(of: node).crashed(node)
    }

    /// Starts a node from its disk.
    func start(_ node: SimulatedNode) throws(InvariantViolation) {
        guard node.running == nil, !node.isDead else { return }
        node.incarnation += 1
        node.disk.isFull = false
        note(node.number, "starts, incarnation \(node.incarnation)")
        let genesis = world.branches[scenario.branch(of: node.number)].genesis
        let heads = world.layout.fragments.map { node.disk.heads[$0.index] ?? genesis[$0.index.value] }
        let workshop = FragmentWorkshop(
            layout: world.layout, encoding: world.charter.encoding,
            rule: world.charter.outerRule,
            heads: heads, blobs: node.disk, headStore: node.disk)
        let recovered = try recovered(node, heads)
        let core: NodeCore
        do {
            core = try NodeCore(configuration(of: node), recovered: recovered)
        } catch {
            throw InvariantViolation(.contract, node.number, "cannot start from its own records: \(error)")
        }
        let start =
            node.disk.snapshot
            ?? LocalSnapshot(
                live: genesis.map(\.theta),
                residuals: genesis.map { Array(repeating: 0, count: $0.theta.count) },
                bases: genesis.map(\.digest),
                late: world.charter.syncMode.isLate
                    ? genesis.map { LateFragment(start: $0.theta, mode: world.charter.syncMode) } : [],
                progress: TrainingProgress(steps: 0, tokens: 0))
        let trainer = SimulatedTrainer(
            layout: world.layout, encoding: world.charter.encoding, tokensPerStep: scenario.model.tokensPerStep,
            targetSeed: scenario.seed &+ UInt64(node.number.value), start: start)
        node.running = RunningNode(core: core, workshop: workshop, trainer: trainer)
        try checker(of: node).started(node, from: start.progress)
        queue.schedule(.step(node.life), after: node.description.stepDuration * node.slowness)
        try feed(node.life, .clock(unixTime))
        try feed(node.life, .started)
    }

    /// A node's owner does something with its core.
    private func command(
        _ node: SimulatedNode,
        _ body: (inout NodeCore, Moment, inout [NodeCore.Output]) throws(IssuingError) -> Void
    ) throws(InvariantViolation) {
        guard let running = node.running else {
            throw InvariantViolation(.contract, node.number, "is down when its owner wants something of it")
        }
        var outputs: [NodeCore.Output] = []
        do { try body(&running.core, now, &outputs) } catch {
            throw InvariantViolation(.contract, node.number, "does not do what its owner wants: \(error)")
        }
        try perform(outputs, node.life)
    }

    private func configuration(of node: SimulatedNode) -> NodeCore.Configuration {
        var bootstrap: [PeerAddresses] = []
        // The founder and one more: the founder may be gone for good when a newcomer comes.
        for number in Set([0, 1 % nodes.count, node.number.value / 2]).sorted() where number != node.number.value {
            bootstrap.append(
                PeerAddresses(peer: world.identities[number].peerID, addresses: [world.addresses[number]]))
        }
        var configuration = NodeCore.Configuration(
            identity: node.identity, charter: world.charter, swarmID: world.swarmID, incarnation: node.incarnation,
            listenAddresses: [node.address], bootstrap: bootstrap, fragments: world.shapes,
            rateClass: UInt32(1 + node.number.value % 5), rateLimits: rateLimits(of: node),
            seed: scenario.seed &+ 7919 &* UInt64(node.number.value)
                &+ node.incarnation,
            credential: scenario.invites?.shown[node.number.value].map { world.credentials[$0] })
        if let branch = world.branches[scenario.branch(of: node.number)].record {
            configuration.branch = branch.id
            configuration.branchMaker = branch.maker
        }
        return configuration
    }

    /// Every other owner of a swarm with a ladder has told its node what the line can do; the rest is measured.
    private func rateLimits(of node: SimulatedNode) -> LinkRates {
        guard !world.charter.encoding.ladder.isEmpty, node.number.value % 2 == 1 else { return LinkRates() }
        func kilobits(_ rate: Double) -> UInt32 { UInt32(min(max(rate * 8 / 1_000, 1), 1e8)) }
        let access = node.description.access
        return LinkRates(up: kilobits(access.uplinkBytesPerSecond), down: kilobits(access.downlinkBytesPerSecond))
    }

    private func recovered(
        _ node: SimulatedNode, _ heads: [FragmentHead]
    ) throws(InvariantViolation) -> NodeCore.Recovered {
        var slots: [[UInt8]] = []
        var finals: [[[UInt8]]] = world.layout.fragments.map { _ in [] }
        var rounds = Dictionary(
            uniqueKeysWithValues: world.branches[scenario.branch(of: node.number)].genesis.map {
                ($0.digest, RoundIndex(0))
            })
        var peers: [PeerID: [Multiaddr]] = [:]
        var admissions: [Digest: [UInt8]] = [:]
        var records: [Digest: [UInt8]] = [:]
        for record in node.disk.journal {
            switch record {
            case .slot(_, _, let bytes): slots.append(bytes)
            case .final(let fragment, let round, let bytes):
                finals[fragment.value].append(bytes)
                guard round.value == UInt64(finals[fragment.value].count) else {
                    throw InvariantViolation(
                        .ledgerIsWhole, node.number,
                        "fragment \(fragment.value): the record of round \(round.value) follows \(finals[fragment.value].count - 1)"
                    )
                }
                if let final = ObservedFinal(bytes) { rounds[final.value.head] = round }
            case .peer(let peer, let addresses): peers[peer] = addresses
            case .admission(let key, let bytes): admissions[key] = bytes
            case .record(let key, let bytes): records[key] = bytes
            }
        }
        var recoveredHeads: [NodeCore.RecoveredHead] = []
        for head in heads {
            guard let round = rounds[head.digest] else {
                throw InvariantViolation(.ledgerIsWhole, node.number, "a durable head has no durable final commit")
            }
            recoveredHeads.append(NodeCore.RecoveredHead(round: round, digest: head.digest))
        }
        let snapshot = node.disk.snapshot
        var recovered = NodeCore.Recovered(
            slots: slots, finals: finals, heads: recoveredHeads,
            liveBases: world.layout.fragments.map { snapshot?.bases[$0.index.value] },
            progress: snapshot?.progress ?? TrainingProgress(steps: 0, tokens: 0),
            peers: peers.sorted { $0.key < $1.key }.map { PeerAddresses(peer: $0.key, addresses: $0.value) },
            admissions: admissions.sorted { $0.key < $1.key }.map(\.value))
        recovered.records = records.sorted { $0.key < $1.key }.map(\.value)
        return recovered
    }
}
