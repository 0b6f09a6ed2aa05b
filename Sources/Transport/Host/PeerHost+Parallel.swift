import PeerNet

/// Additional connections to a peer, over which large responses are spread where one cannot fill the link.
///
/// Whoever takes the responses opens them. It first announces them on the present connection, because a second connection
/// of a peer is otherwise one that replaces the first. Only requests use them; they have no standing of their own.
extension PeerHost {
    /// Asked with one byte, how many connections will be dialed; answered with how many are welcome.
    static let parallelProtocol = "/atoll/parallel/1.0.0"
    /// Smaller responses stay on the first connection: they are soon over.
    static let largeResponseBytes = 64 << 10
    /// From the announcement to the connection.
    private static let announcementTime: Duration = .seconds(30)
    /// Of that, from the dial to the connected socket; authentication has 15 s of its own.
    private static let parallelConnectTimeout: Duration = .seconds(10)
    /// Whoever dials an additional connection pings on the first one as soon as the socket is connected; longer silence, of four
    /// round trips at least, means that the first one is dead.
    private static let silenceMax: Duration = .seconds(1)

    /// Serves announcements. Called at the start.
    func serveParallel() {
        guard limits.parallel.additionalMax > 0 else { return }
        requestProtocols[Self.parallelProtocol] = (
            bytesMax: 1,
            handler: { [weak self] peer, bytes in
                guard let self else { return nil }
                return .bytes(await welcome(bytes, of: peer))
            }
        )
    }

    private func welcome(_ bytes: [UInt8], of peer: PeerID) -> [UInt8] {
        guard let entry = entries[peer], let wanted = bytes.first else { return [0] }
        let free = max(0, limits.parallel.additionalMax - entry.parallel.count)
        let granted = min(Int(wanted), free)
        entry.announced = (granted, Loop.now + Self.announcementTime, entry.link.id)
        return [UInt8(granted)]
    }

    /// Whether an authenticated connection is an additional one, which the peer has announced or this host dialed as such.
    /// Announced were only connections beside the one that is still the first, and only if that one lives: a peer that lost
    /// its power or its address comes back with a connection that replaces a silent one.
    func takesAsParallel(_ link: Link, of entry: PeerEntry, at now: Moment) -> Bool {
        if link.isParallel { return true }
        let first = entry.link
        let silenceMax = max(Self.silenceMax, (first.connection.roundTrip ?? .zero) * 4)
        guard !link.isOutbound, entry.announced.count > 0, now < entry.announced.until,
            entry.announced.link == first.id, now - first.heardAt < silenceMax
        else { return false }
        entry.announced.count -= 1
        link.isParallel = true
        return true
    }

    /// The connection for a request: for a large response the one with the fewest of them.
    func link(for call: RequestCall, of entry: PeerEntry) -> Link {
        guard call.responseBytesMax > Self.largeResponseBytes, !entry.parallel.isEmpty else { return entry.link }
        var best = entry.link
        var fewest = Self.largeRequests(on: best)
        for link in entry.parallel where link.closeReason == nil && link.isOutbound && !link.isSurplus {
            let count = Self.largeRequests(on: link)
            if count < fewest { (best, fewest) = (link, count) }
        }
        return best
    }

    private static func largeRequests(on link: Link) -> Int {
        link.uses.values.count { use in
            if case .requestOut(let call) = use { call.responseBytesMax > largeResponseBytes } else { false }
        }
    }

    /// Lets the tuners of all busy peers decide.
    func tuneParallel(at now: Moment) {
        guard limits.parallel.additionalMax > 0, caps.download == nil else { return }
        for entry in entries.values where entry.largeBytes > 0 || !entry.parallel.isEmpty {
            for link in entry.parallel where link.isSurplus && link.uses.isEmpty {
                close(link, .local("one connection less carries as much"))
            }
            let running = ([entry.link] + entry.parallel).reduce(0) { $0 + Self.largeRequests(on: $1) }
            var tuner = entry.tuner ?? ParallelTuner(limits: limits.parallel)
            // Two for each connection that there would be, so that each is always busy with one.
            let step = tuner.sample(
                bytes: entry.largeBytes, isBusy: running >= tuner.additional + 2,
                roundTrip: entry.link.connection.roundTrip ?? .zero, at: now)
            entry.largeBytes = 0
            entry.tuner = tuner
            switch step {
            case .nothing: break
            case .open: openParallel(to: entry)
            case .close:
                // It takes no more requests, and is closed once those that it carries are over.
                entry.parallel.last { $0.isOutbound && !$0.isSurplus }?.isSurplus = true
            }
        }
    }

    private func openParallel(to entry: PeerEntry) {
        let peer = entry.id
        let address = entry.link.isOutbound ? entry.link.remoteAddress : book.ranked(peer, at: Loop.now, near: []).first
        guard entry.identify?.protocols.contains(Self.parallelProtocol) == true, let address,
            let target = SocketAddress(address)
        else {
            entry.tuner?.failed(at: Loop.now)
            return
        }
        startTask { host in
            let answer = try? await host.request([1], to: peer, on: Self.parallelProtocol, responseBytesMax: 1)
            if answer == [1] {
                host.dialParallel(target, address, of: peer)
            } else {
                host.entries[peer]?.tuner?.failed(at: Loop.now)
            }
        }
    }

    func dialParallel(_ target: SocketAddress, _ address: Multiaddr, of peer: PeerID) {
        guard state == .running, entries[peer] != nil, links.count + connecting.count < limits.connectionsMax,
            let handle = makeHandle()
        else {
            entries[peer]?.tuner?.failed(at: Loop.now)
            return
        }
        let dial = ObjectIdentifier(handle)
        connecting[dial] = handle
        parallelDials[dial] = Loop.now + min(limits.connectTimeout, Self.parallelConnectTimeout)
        handle.connect(to: target) { status in
            self.connecting[dial] = nil
            self.parallelDials[dial] = nil
            guard status == 0, self.state == .running, !handle.isClosing, self.entries[peer] != nil else {
                handle.close()
                self.entries[peer]?.tuner?.failed(at: Loop.now)
                return
            }
            self.authenticateParallel(handle, address, of: peer)
        }
    }

    func authenticateParallel(_ handle: StreamHandle, _ address: Multiaddr, of peer: PeerID) {
        let link = startLink(
            handle, id: newID(), address: address.withoutPeerID, expectedPeer: peer, isOutbound: true)
        guard link.closeReason == nil else {
            entries[peer]?.tuner?.failed(at: Loop.now)
            return
        }
        link.isParallel = true
        if let first = entries[peer]?.link {
            first.connection.ping(at: Loop.now)
            scheduleFlush(first)
        }
        link.onSecured = { result in
            switch result {
            case .success: self.entries[peer]?.tuner?.opened()
            case .failure: self.entries[peer]?.tuner?.failed(at: Loop.now)
            }
        }
    }

    /// Gives up sockets that do not get connected: after the announcement's time the peer would take the connection for one
    /// that replaces the first.
    func abandonLateParallelDials(at now: Moment) {
        for (dial, deadline) in parallelDials where deadline <= now { connecting[dial]?.close() }
    }

    /// An additional connection ended.
    func parallelLost(_ link: Link, of entry: PeerEntry) {
        entry.parallel.removeAll { $0 === link }
        if link.isOutbound, !link.isSurplus, link.securedAt != nil { entry.tuner?.lost() }
        startWaitingRequests(of: entry)
    }
}
