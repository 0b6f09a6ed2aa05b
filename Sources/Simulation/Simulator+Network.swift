import Compression
import OuterSync
import PeerNet
import Swarm

/// Connections and messages over the virtual network.
extension Simulator {
    // MARK: Connections

    func dial(_ peer: PeerID, _ addresses: [Multiaddr], from node: SimulatedNode) {
        guard let target = world.node(peer), target != node.number,
            addresses.contains(where: { $0.withoutPeerID == world.addresses[target.value] })
        else { return }
        let path = Path(from: node.number, to: target)
        guard network.connection(over: path) == nil, !dialing.contains(path), !dialing.contains(path.reversed) else {
            return
        }
        dialing.insert(path)
        // SYN, then the three messages of the security handshake: the fourth one-way trip brings both up.
        let handshake = (0..<4).map { _ in network.latency(over: path) }.reduce(Duration.zero, +)
        queue.schedule(.dialed(path), after: handshake)
    }

    func dialed(_ path: Path) throws(InvariantViolation) {
        dialing.remove(path)
        let from = nodes[path.from.value], to = nodes[path.to.value]
        guard from.running != nil, to.running != nil, network.isOpen(path), network.isOpen(path.reversed),
            network.connection(over: path) == nil
        else { return }
        _ = network.connect(path)
        try tellConnected(from, to)
        try tellConnected(to, from)
    }

    private func tellConnected(_ node: SimulatedNode, _ peer: SimulatedNode) throws(InvariantViolation) {
        node.running?.connectedPeers.insert(peer.number)
        try feed(node.life, .connected(peer.identity.peerID, addresses: [peer.address]))
        let path = Path(from: node.number, to: peer.number)
        try feed(node.life, .roundTrip(peer.identity.peerID, network.roundTrip(over: path)))
        try advanceFetcher(node.life) { $0.connected(peer.identity.peerID, at: now) }
    }

    /// Ends the connection between the two ends of a path; each end that is up learns of it after its own while.
    func endConnection(over path: Path, noticedWithin delay: Duration) {
        guard let connection = network.connection(over: path) else { return }
        network.disconnect(path)
        for direction in [path, path.reversed] where nodes[direction.from.value].running != nil {
            let event = SimulationEvent.connectionGone(direction, nodes[direction.from.value].life, connection)
            queue.schedule(event, after: generator.draw(.zero...delay))
        }
    }

    func connectionGone(_ path: Path, _ life: Life, _ connection: ConnectionID) throws(InvariantViolation) {
        // A new connection took the old one's place before its end was noticed: the driver keeps one.
        guard network.connection(over: path) == nil, let running = running(life),
            running.connectedPeers.remove(path.to) != nil
        else { return }
        let peer = world.identities[path.to.value].peerID
        try feed(life, .disconnected(peer))
        try advanceFetcher(life) { $0.disconnected(peer, at: now) }
    }

    func drop(_ peer: PeerID, _ reason: String, by node: SimulatedNode) throws(InvariantViolation) {
        note(node.number, "drops \(world.node(peer)?.description ?? "a stranger"): \(reason)")
        guard let target = world.node(peer) else { return }
        if scenario.invites != nil, AdmissionRefusal.allCases.contains(where: { "\($0)" == reason }) {
            // What was sent before still arrives.
            return queue.schedule(.fault(.reset(Path(from: node.number, to: target))), after: .milliseconds(300))
        }
        // Every node of a simulation is honest, so nobody has a reason to drop anybody.
        throw InvariantViolation(.contract, node.number, "dropped \(target), an honest peer: \(reason)")
    }

    func cutTimeout(_ path: Path, _ connection: ConnectionID) throws(InvariantViolation) {
        guard network.connection(over: path) == connection, !network.isOpen(path) || !network.isOpen(path.reversed)
        else {
            return
        }
        note(nil, "connection \(path.from)-\(path.to) times out")
        endConnection(over: path, noticedWithin: .seconds(1))
    }

    // MARK: Messages

    func publish(
        _ message: [UInt8], from node: SimulatedNode, toAllBranches: Bool = false
    ) throws(InvariantViolation) {
        if case .reject(let reason)? = node.running?.core.judge(message, by: node.identity.peerID) {
            throw InvariantViolation(.contract, node.number, "publishes what gossip refuses: \(reason)")
        }
        let members = network.peers(of: node.number).filter { peer in
            node.running?.core.mayServe(world.identities[peer.value].peerID) == true
                && (toAllBranches || scenario.branch(of: peer) == scenario.branch(of: node.number))
        }
        try send(message, to: members, from: node, byGossip: true)
    }

    func send(
        _ message: [UInt8], to peers: [NodeNumber], from node: SimulatedNode, byGossip: Bool = false
    ) throws(InvariantViolation) {
        guard message.count <= Limits.messageBytesMax else {
            throw InvariantViolation(.contract, node.number, "a message of \(message.count) bytes is too large")
        }
        guard let observed = ObservedMessage(message) else {
            throw InvariantViolation(.contract, node.number, "sent bytes that are no message")
        }
        try checker(of: node).sending(observed, node, nodes)
        let crash = armedCrashes.firstIndex { $0.kind == observed.slot.kind }.map { armedCrashes.remove(at: $0) }
        for peer in peers {
            let path = Path(from: node.number, to: peer)
            guard let connection = network.connection(over: path) else { continue }
            if crash != nil, generator.chance(0.5) { continue }
            guard
                let arrival = network.arrival(
                    ofMessage: message.count, over: path, byGossip: byGossip, at: now)
            else {
                note(node.number, "lost to \(peer): \(observed.summary)")
                continue
            }
            queue.schedule(.message(path, connection, bytes: message, summary: observed.summary), at: arrival)
        }
        if let crash {
            note(node.number, "crashes while sending \(observed.summary)")
            self.crash(node)
            queue.schedule(.start(node.number), after: crash.downtime)
        }
    }

    func sendLink(_ message: [UInt8], to peer: PeerID, from node: SimulatedNode) throws(InvariantViolation) {
        guard message.count <= Limits.linkMessageBytesMax else {
            throw InvariantViolation(.contract, node.number, "a link message of \(message.count) bytes is too large")
        }
        guard let target = world.node(peer) else { return }
        let path = Path(from: node.number, to: target)
        guard let connection = network.connection(over: path),
            let arrival = network.arrival(ofLinkMessage: message.count, over: path, at: now)
        else { return }
        queue.schedule(.linkMessage(path, connection, bytes: message), at: arrival)
    }

    func deliverLink(_ path: Path, _ connection: ConnectionID, _ bytes: [UInt8]) throws(InvariantViolation) {
        let node = nodes[path.to.value]
        guard network.connection(over: path) == connection, network.isOpen(path), node.running != nil else { return }
        try feed(node.life, .linkReceived(from: world.identities[path.from.value].peerID, message: bytes))
    }

    func deliver(
        _ path: Path, _ connection: ConnectionID, _ bytes: [UInt8], _ summary: String
    ) throws(InvariantViolation) {
        let node = nodes[path.to.value]
        guard network.connection(over: path) == connection, network.isOpen(path), node.running != nil else { return }
        note(node.number, "from \(path.from): \(summary)")
        if scenario.invites?.outsiders.contains(node.number) == true, !ObservedMessage.isAboutAdmission(bytes),
            scenario.invites?.outsiders.contains(path.from) == false
        {
            throw InvariantViolation(.strangersGetNothing, node.number, "gets a \(summary) from \(path.from)")
        }
        try feed(node.life, .received(from: world.identities[path.from.value].peerID, message: bytes))
    }
}
