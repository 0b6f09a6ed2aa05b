import PeerNet

/// A dial that runs: its race, and what its attempts hold.
final class RunningDial {
    let id: UInt64
    /// Whom all its addresses name, if it is for one peer.
    let peer: PeerID?
    let addresses: [Multiaddr]
    var race: DialRace
    let timer: TimerHandle
    /// Sockets that are not connected yet, and connections that are being authenticated, by attempt.
    var sockets: [Int: StreamHandle] = [:]
    var links: [Int: Link] = [:]
    var startedAt: [Int: Moment] = [:]
    /// Why addresses led nowhere.
    var reasons: [Multiaddr: CloseReason] = [:]
    var failures: [String] = []
    /// Who answered first.
    var winner: PeerID?
    let done: (Result<PeerID, TransportError>) -> Void

    init(
        id: UInt64, peer: PeerID?, addresses: [Multiaddr], race: DialRace, timer: TimerHandle,
        done: @escaping (Result<PeerID, TransportError>) -> Void
    ) {
        self.id = id
        self.peer = peer
        self.addresses = addresses
        self.race = race
        self.timer = timer
        self.done = done
    }
}

/// Driving races: names, sockets and time for `DialRace`.
extension PeerHost {
    static let stopping = CloseReason.local("this node is stopping")

    /// Races `addresses`; `done` is called once, from the loop or at once.
    func startDial(
        of peer: PeerID?, _ addresses: [Multiaddr], done: @escaping (Result<PeerID, TransportError>) -> Void
    ) {
        let id = newID()
        openHandles += 1
        let timer = TimerHandle(on: loop) {
            guard let dial = self.runningDials[id] else { return }
            self.perform(dial.race.advance(to: Loop.now), of: dial)
        }
        let race = DialRace(
            addresses, resolveTimeout: limits.resolveTimeout, connectTimeout: limits.connectTimeout)
        let dial = RunningDial(id: id, peer: peer, addresses: addresses, race: race, timer: timer, done: done)
        runningDials[id] = dial
        perform(dial.race.advance(to: Loop.now), of: dial)
    }

    /// Does what a race asks for, then ends it or waits.
    private func perform(_ actions: [DialRace.Action], of dial: RunningDial) {
        for action in actions {
            switch action {
            case .resolve(let attempt, let address): resolve(address, attempt, of: dial)
            case .connect(let attempt, let target): connect(to: target, attempt, of: dial)
            case .abandon(let attempt): abandon(attempt, of: dial)
            case .exhausted(let address): exhausted(address, of: dial)
            }
        }
        guard runningDials[dial.id] != nil else { return }
        if dial.race.isOver {
            end(dial)
        } else if let deadline = dial.race.nextDeadline {
            dial.timer.set(deadline)
        } else {
            dial.timer.cancel()
        }
    }

    private func end(_ dial: RunningDial) {
        guard runningDials.removeValue(forKey: dial.id) != nil else { return }
        dial.timer.close { self.handleClosed() }
        let known = dial.peer.flatMap { self.entries[$0] != nil ? $0 : nil }
        if let peer = dial.winner ?? known {
            dial.done(.success(peer))
        } else if state != .running {
            dial.done(.failure(.stopped))
        } else if dial.addresses.count == 1, case .wrongPeer(let expected, let found)? = dial.reasons.values.first {
            dial.done(.failure(.wrongPeer(expected: expected, found: found)))
        } else {
            dial.done(.failure(.unreachable(dial.failures)))
        }
    }

    /// Gives a dial up, because the host stops.
    func cancel(_ dial: RunningDial) { perform(dial.race.cancel(), of: dial) }

    /// Tries no further address. A connection on which the peer has not said anything cannot be authenticated on its side
    /// either, and is closed; the others go on, because the peer may have settled on one of them (see `isPreferred`).
    func stopSeeking(_ dial: RunningDial) {
        for (attempt, link) in dial.links where link.traffic.bytesReceived > 0 {
            link.onSecured = nil
            dial.links[attempt] = nil
        }
        perform(dial.race.cancel(), of: dial)
    }

    private func abandon(_ attempt: Int, of dial: RunningDial) {
        dial.sockets.removeValue(forKey: attempt)?.close()
        if let link = dial.links.removeValue(forKey: attempt) {
            link.onSecured = nil
            close(link, .local("another address was faster"))
        }
    }

    private func exhausted(_ address: Multiaddr, of dial: RunningDial) {
        let reason = dial.reasons[address] ?? .transportEnded("no answer in time")
        dial.failures.append("\(address): \(reason)")
        guard let peer = dial.peer ?? address.peerID else { return }
        if case .wrongPeer = reason {
            book.wrong(address, of: peer, at: Loop.now, jitter: Entropy.fraction())
        } else {
            book.failed(address, of: peer, at: Loop.now, jitter: Entropy.fraction())
        }
    }

    /// An attempt came to nothing.
    private func failed(_ attempt: Int, of dial: RunningDial, _ reason: CloseReason) {
        if let address = dial.race.address(of: attempt) { dial.reasons[address] = reason }
        perform(dial.race.failed(attempt, at: Loop.now), of: dial)
    }

    // MARK: Attempts

    private func resolve(_ address: Multiaddr, _ attempt: Int, of dial: RunningDial) {
        guard case (.dns(let name, let family), let port)? = address.tcpEndpoint else { return }
        let id = dial.id
        Resolver.resolve(name, family: family, port: port, on: loop) { found, reason in
            guard let dial = self.runningDials[id], let address = dial.race.address(of: attempt) else { return }
            dial.reasons[address] = .local(reason ?? "the name has no address")
            // Whom the address names, the addresses behind its name do, too.
            let mayBeLocal = self.mayBeLocal(dial)
            let admitted = found.compactMap(\.multiaddr).filter { mayBeLocal || !$0.isLocal }
            if admitted.isEmpty, !found.isEmpty {
                dial.reasons[address] = .local(
                    "a stranger's name that leads to this node's own network is not followed")
            }
            let targets = admitted.map { target in address.peerID.map { target.encapsulating(p2p: $0) } ?? target }
            self.perform(dial.race.resolved(attempt, to: reason == nil ? targets : [], at: Loop.now), of: dial)
        }
    }

    /// Connects one socket. From the check to the link there is no suspension, so a stop at any moment finds every
    /// handle in `connecting` or in `links`.
    private func connect(to target: Multiaddr, _ attempt: Int, of dial: RunningDial) {
        dial.startedAt[attempt] = Loop.now
        let refusal = refusal(of: target)
        guard refusal == nil, let socketAddress = SocketAddress(target), let handle = makeHandle() else {
            // Told from the loop, never from inside the race's own step.
            let reason = refusal ?? "too many connections"
            return loop.whenIdle { self.failed(attempt, of: dial, .local(reason)) }
        }
        bindDialAddress(of: handle)
        connecting[ObjectIdentifier(handle)] = handle
        dial.sockets[attempt] = handle
        handle.connect(to: socketAddress) { status in
            self.connecting[ObjectIdentifier(handle)] = nil
            let isWanted = dial.sockets.removeValue(forKey: attempt) != nil
            guard isWanted, status == 0, self.state == .running, !handle.isClosing else {
                handle.close()
                if isWanted { self.failed(attempt, of: dial, .transportEnded(StreamHandle.reason(status))) }
                return
            }
            self.authenticate(handle, target, attempt, of: dial)
        }
    }

    /// Why an address is not dialed at all; nil if it may be.
    private func refusal(of target: Multiaddr) -> String? {
        guard target.isDialable else { return "not an address that this node can dial" }
        if target.endsInPeerID, target.peerID == nil { return "only peers with Ed25519 keys can be dialed" }
        return links.count + connecting.count < limits.connectionsMax ? nil : "too many connections"
    }

    private func authenticate(_ handle: StreamHandle, _ target: Multiaddr, _ attempt: Int, of dial: RunningDial) {
        dial.race.connected(attempt)
        let link = startLink(
            handle, id: newID(), address: target.withoutPeerID, expectedPeer: target.peerID, isOutbound: true)
        if let reason = link.closeReason { return failed(attempt, of: dial, reason) }
        dial.links[attempt] = link
        link.onSecured = { result in
            dial.links[attempt] = nil
            switch result {
            case .failure(let reason): self.failed(attempt, of: dial, reason)
            case .success(let peer): self.succeeded(attempt, peer, of: dial)
            }
        }
        perform([], of: dial)
    }

    private func succeeded(_ attempt: Int, _ peer: PeerID, of dial: RunningDial) {
        let now = Loop.now
        if let address = dial.race.address(of: attempt), let began = dial.startedAt[attempt] {
            book.succeeded(address, of: peer, latency: now - began, unixTime: WallClock.seconds)
        }
        dial.winner = peer
        perform(dial.race.succeeded(attempt), of: dial)
    }
}
