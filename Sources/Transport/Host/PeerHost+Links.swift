import PeerNet

/// Connections: accept, authenticate, read, write, close, and the rule that keeps one per peer.
extension PeerHost {
    /// How long a closed connection may take to hand over its last bytes.
    private static let lingerTimeout: Duration = .seconds(1)
    /// Two connections to a peer this close together crossed; later, the newer one replaces a dead one.
    private static let crossingWindow: Duration = .seconds(15)

    // MARK: Opening

    func acceptConnection(from listener: StreamHandle) {
        guard let handle = makeHandle() else { return }
        // Nothing but the handle, which libuv needs to take the connection at all, is spent on one that is refused. Each
        // makes events: who comes and goes faster than they are taken has to wait.
        guard listener.accept(into: handle), state == .running,
            events.count - eventsTaken < 2 * limits.waitingEventsMax,
            links.count + connecting.count < limits.connectionsMax,
            let address = SocketAddress(of: handle, remote: true)?.multiaddr
        else {
            handle.close()
            return
        }
        let id = newID()
        switch gate.admit(id, from: address, isExempt: isVouchedFor(address), at: Loop.now) {
        case .admitted: break
        case .admittedInPlace(let victim):
            if let link = links[victim] { close(link, .local("it said nothing, and others wait")) }
        case .refused:
            handle.close()
            return
        }
        startLink(handle, id: id, address: address, expectedPeer: nil, isOutbound: false)
    }

    /// Starts the protocols on a connected socket.
    @discardableResult
    func startLink(
        _ handle: StreamHandle, id: UInt64, address: Multiaddr, expectedPeer: PeerID?, isOutbound: Bool
    ) -> Link {
        handle.tuneForLatency(unsentBytesMax: SendRate().unsentBytes)
        var settings = Connection.Configuration(
            identity: identity, isDialer: isOutbound, expectedPeer: expectedPeer, protocols: servedProtocols(),
            ownRecord: identifyRecord(), remoteAddress: address)
        settings.networkKey = configuration.networkKey
        let connection = Connection(
            configuration: settings,
            secrets: .init(
                staticKey: Entropy.bytes(32), ephemeralKey: Entropy.bytes(32),
                networkNonce: Entropy.bytes(Connection.Secrets.networkNonceByteCount)), at: Loop.now)
        openHandles += 1
        let timer = TimerHandle(on: loop) { self.timerFired(of: id) }
        let link = Link(
            id: id, handle: handle, timer: timer, isOutbound: isOutbound, remoteAddress: address,
            connection: connection)
        links[id] = link
        handle.onRead = { bytes in self.didRead(bytes, on: id) }
        handle.onEnd = { reason in self.didEnd(id, reason: reason) }
        handle.onWritten = { count in self.didWrite(count, on: id) }
        if !handle.startReading() { close(link, .transportEnded("the socket is not connected")) }
        update(link)
        return link
    }

    // MARK: Bytes

    private func didRead(_ bytes: UnsafeRawBufferPointer, on id: UInt64) {
        guard let link = links[id] else { return }
        count(link, received: bytes.count)
        chargeDownload(bytes.count, on: link)
        guard link.closeReason == nil else { return }
        let now = Loop.now
        link.heardAt = now
        link.connection.receive(bytes, at: now)
        update(link)
    }

    private func didEnd(_ id: UInt64, reason: String?) {
        guard let link = links[id] else { return }
        guard link.closeReason == nil else { return finishClosing(link) }
        close(link, .transportEnded(reason ?? "the peer closed the connection"))
    }

    private func didWrite(_ written: Int, on id: UInt64) {
        guard let link = links[id] else { return }
        count(link, sent: written)
        link.sendRate.accepted(written)
        link.sendRate.unblocked(at: Loop.now)
        scheduleFlush(link)
    }

    private func timerFired(of id: UInt64) {
        guard let link = links[id] else { return }
        guard link.closeReason == nil else { return finishClosing(link) }
        link.connection.advance(to: Loop.now)
        update(link)
    }

    /// Deals with what happened on a link, then sees to its output and timer.
    func update(_ link: Link) {
        handleEvents(of: link)
        scheduleFlush(link)
        guard link.closeReason == nil, let deadline = link.connection.nextDeadline else { return }
        // A timer that fires too early costs less than one that is moved with every byte.
        if link.timer.deadline.map({ deadline < $0 }) ?? true { link.timer.set(deadline) }
    }

    func count(_ link: Link, sent: Int = 0, received: Int = 0) {
        totalTraffic.bytesSent += UInt64(sent)
        totalTraffic.bytesReceived += UInt64(received)
        link.traffic.bytesSent += UInt64(sent)
        link.traffic.bytesReceived += UInt64(received)
    }

    // MARK: Closing

    /// Ends a connection; its socket goes when the last bytes are out or the linger time is over.
    func close(_ link: Link, _ reason: CloseReason) {
        guard link.closeReason == nil else { return }
        switch reason {
        case .local(let text): link.connection.close(text)
        default: link.connection.transportEnded(reason.description)
        }
        handleEvents(of: link)
    }

    /// The connection's state machine has ended: tell everyone, then let the last bytes out.
    private func linkClosed(_ link: Link, _ reason: CloseReason) {
        guard link.closeReason == nil else { return }
        link.closeReason = reason
        let deadline = Loop.now + Self.lingerTimeout
        link.timer.set(deadline)
        link.onSecured?(.failure(reason))
        link.onSecured = nil
        for waiter in link.pingWaiters { waiter.resume(returning: nil) }
        link.pingWaiters = []
        let uses = link.uses
        link.uses = [:]
        heldCredit.removeAll { $0.link === link }
        for stream in uses.keys.sorted() {
            if let use = uses[stream] { abandon(use, of: link, error: .disconnected(reason.description)) }
        }
        if let peer = link.peer { peerLostLink(peer, link, reason) }
        scheduleFlush(link)
    }

    func finishClosing(_ link: Link) {
        guard links.removeValue(forKey: link.id) != nil else { return }
        gate.closed(link.id)
        if let peer = link.peer { keepTraffic(of: link, peer) }
        link.handle.close()
        link.timer.close { self.handleClosed() }
    }

    // MARK: One connection per peer

    /// A link is authenticated: it becomes the peer's, or gives way to the one that is there.
    func linkSecured(_ link: Link, _ peer: PeerID) {
        let now = Loop.now
        link.peer = peer
        link.securedAt = now
        gate.authenticated(link.id)
        book.seen(peer, unixTime: WallClock.seconds)
        if let entry = entries[peer] {
            if takesAsParallel(link, of: entry, at: now) {
                entry.parallel.append(link)
            } else if isPreferred(link, to: entry.link, for: peer, at: now) {
                retire(entry.link, of: entry, at: now)
                entry.link = link
            } else {
                link.retiredAt = now
                entry.retiring.append(link)
            }
        } else {
            // Even if it was dialed as an additional one: the first may have gone meanwhile.
            link.isParallel = false
            entries[peer] = PeerEntry(id: peer, link: link)
            emit(.connected(peer, addresses: link.isOutbound ? [link.remoteAddress] : []))
        }
        link.onSecured?(.success(peer))
        link.onSecured = nil
        connectionMade(to: peer)
        if let retiring = entries[peer]?.retiring, retiring.count >= limits.connectionsPerPeerMax {
            for oldest in retiring.dropLast(limits.connectionsPerPeerMax - 1) {
                close(oldest, .local("the peer has too many connections"))
            }
        }
        trimConnections(at: now)
    }

    /// Which of two connections to a peer stays. Both sides come to the same answer: of connections that crossed, the
    /// one that the lower id dialed; of two dialed by the same side, or long apart, the newer one.
    private func isPreferred(_ link: Link, to other: Link, for peer: PeerID, at now: Moment) -> Bool {
        if link.isOutbound == other.isOutbound { return true }
        if let since = other.securedAt, now - since > Self.crossingWindow { return true }
        return link.isOutbound == (peerID < peer)
    }

    /// Takes a link out of use: its streams end in order, new ones go elsewhere.
    private func retire(_ link: Link, of entry: PeerEntry, at now: Moment) {
        link.retiredAt = now
        entry.retiring.append(link)
        for (_, stream) in entry.messageStreams { link.connection.finish(stream) }
        entry.messageStreams = [:]
        gossipLeaves(link)
        scheduleFlush(link)
    }

    /// Closes retired links whose streams are done, or that took too long.
    func closeRetired(at now: Moment) {
        for link in links.values where link.closeReason == nil {
            guard let since = link.retiredAt else { continue }
            let age = now - since
            // Some round trips for what the peer sent before it noticed; half a minute for a long response.
            let grace = min(max((link.connection.roundTrip ?? .seconds(1)) * 4, .milliseconds(100)), .seconds(5))
            if link.uses.isEmpty && age > grace || age > .seconds(30) {
                close(link, .local("another connection took over"))
            }
        }
    }

    private func peerLostLink(_ peer: PeerID, _ link: Link, _ reason: CloseReason) {
        guard let entry = entries[peer] else { return }
        entry.retiring.removeAll { $0 === link }
        guard entry.link === link else {
            if link.isParallel { parallelLost(link, of: entry) }
            return
        }
        entry.messageStreams = [:]
        if let other = entry.retiring.popLast() {
            other.retiredAt = nil
            entry.link = other
            startWaitingRequests(of: entry)
            return
        }
        // An additional connection that is left takes the first one's place.
        if !entry.parallel.isEmpty {
            let other = entry.parallel.removeFirst()
            // The tuner goes on with what is left, or nobody would close the others when they are not needed.
            if other.isOutbound, !other.isSurplus { entry.tuner?.lost() }
            other.isParallel = false
            other.isSurplus = false
            entry.link = other
            startWaitingRequests(of: entry)
            return
        }
        entries[peer] = nil
        for call in entry.waitingRequests { finish(call, .failure(.disconnected(reason.description))) }
        emit(.disconnected(peer, reason: reason.description))
    }

    /// Connected peers and byte counts survive a connection, but not for ever.
    private static let pastTrafficMax = 1024

    private func keepTraffic(of link: Link, _ peer: PeerID) {
        if pastTraffic[peer] == nil, pastTraffic.count >= Self.pastTrafficMax, let victim = pastTraffic.keys.min() {
            pastTraffic[victim] = nil
        }
        pastTraffic[peer, default: Traffic()].add(link.traffic)
    }

    // MARK: Events of a connection

    /// Handles what happened on a link, up to its end. One event may make this host close the link while those that came
    /// with it wait their turn: a stream taken up then would never be told that its connection is gone.
    func handleEvents(of link: Link) {
        for event in link.connection.takeEvents() {
            guard link.closeReason == nil else { return }
            handle(event, on: link)
        }
    }

    private func handle(_ event: Connection.Event, on link: Link) {
        switch event {
        case .secured(let peer): linkSecured(link, peer)
        case .identified(let record):
            if let peer = link.peer { identified(peer, record, on: link) }
        case .streamOpened(let stream, let name, let isInbound):
            if isInbound { streamAccepted(stream, name, on: link) }
        case .streamData(let stream, let bytes): received(bytes, stream, on: link)
        case .streamFinished(let stream): remoteFinished(stream, on: link)
        case .streamClosed(let stream): streamClosed(stream, on: link)
        case .streamReset(let stream, let failure): streamReset(stream, failure, on: link)
        case .streamWritable(let stream): streamWritable(stream, on: link)
        case .pinged(let duration):
            let waiters = link.pingWaiters
            link.pingWaiters = []
            for waiter in waiters { waiter.resume(returning: duration) }
        case .closed(let reason): linkClosed(link, reason)
        }
    }
}
