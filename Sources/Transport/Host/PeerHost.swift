package import PeerNet

/// A libp2p node on TCP: listens, dials, keeps one authenticated connection per peer, carries control messages and
/// request/response streams. All its state is touched on the loop's thread only.
///
/// The body of `withCheckedContinuation` may run after a suspension (see `Loop`), so whatever a wait depends on is looked
/// at inside the body, never only before it.
package actor PeerHost {
    /// Where the host stands.
    enum State { case idle, running, stopping, stopped }

    /// Answers a request.
    package typealias RequestHandler = @Sendable (PeerID, [UInt8]) async -> ResponseBody?

    /// This host's peer id.
    package nonisolated let peerID: PeerID
    package nonisolated let loop: Loop
    package nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }

    let identity: Identity
    let configuration: PeerHostConfiguration
    var limits: HostLimits { configuration.limits }
    var state = State.idle

    // Served protocols.
    var messageProtocols: [String: Int] = [:]
    var requestProtocols: [String: (bytesMax: Int, handler: RequestHandler)] = [:]
    var sessionProtocols: [String: (bytesMax: Int, handler: SessionHandler)] = [:]
    /// Sessions whose owner may still ask for messages.
    var sessions: [UInt64: Session] = [:]

    // Sockets.
    var listeners: [StreamHandle] = []
    var boundAddresses: [Multiaddr] = []
    var links: [UInt64: Link] = [:]
    var nextID: UInt64 = 0
    /// Handles that are not yet freed; `stop()` waits for none.
    var openHandles = 0
    var closeWaiters: [CheckedContinuation<Void, Never>] = []
    var housekeeping: TimerHandle?
    /// What identify tells, signed.
    var ownRecord: SignedPeerRecord?

    // Peers.
    var entries: [PeerID: PeerEntry] = [:]
    var pastTraffic: [PeerID: Traffic] = [:]
    var totalTraffic = Traffic()
    /// Dials in the background that are wanted, and addresses that are being dialed.
    var wantedDials: [PeerID: WantedDial] = [:]
    var runningDials: [UInt64: RunningDial] = [:]
    /// Sockets that are not connected yet.
    var connecting: [ObjectIdentifier: StreamHandle] = [:]
    /// Until when those of them may take that are to be additional connections.
    var parallelDials: [ObjectIdentifier: Moment] = [:]
    var book = AddressBook()
    var gate: InboundGate
    var protectedPeers: Set<PeerID> = []
    /// Hosts at which protected peers are known to be; rebuilt when wanted after a change.
    var vouchedHosts: Set<Multiaddr.Host>?

    // What this host tells of itself.
    var announced: [Multiaddr] = []
    var advertised: [Multiaddr] = []
    var nearGroups: Set<IPGroup> = []
    var interfacesSeenAt = Moment.zero
    /// Whether peers are to be told anew.
    var isAnnouncementDue = false
    /// Requests of this host that run or wait.
    var calls: [UInt64: RequestCall] = [:]
    /// Tasks of this host: answers to requests, and dials. `stop()` cancels and awaits them.
    var tasks: [UInt64: Task<Void, Never>] = [:]

    /// The user's caps, and who waits for them.
    var caps: TrafficCaps

    // Events.
    var events: [HostEvent] = []
    var eventsTaken = 0
    var eventBytes = 0
    var eventWaiter: CheckedContinuation<HostEvent?, Never>?
    // Protocols that state machines speak for this host.
    var gossip: GossipService?
    var kademlia: KademliaService?
    var localDiscovery: LocalDiscovery?

    /// Message bytes whose credit is held back until `next()` has caught up.
    var heldCredit: [(link: Link, stream: StreamID, count: Int)] = []

    /// Prepares a host; nothing is opened before `start()`.
    package init(identity: Identity, configuration: PeerHostConfiguration, loop: Loop = .shared) {
        self.identity = identity
        self.configuration = configuration
        self.loop = loop
        gate = InboundGate(limits: configuration.limits.inbound)
        peerID = identity.peerID
        caps = TrafficCaps(configuration, at: Loop.now)
    }

    func newID() -> UInt64 {
        nextID += 1
        return nextID
    }

    // MARK: Life

    /// Opens the listen addresses and returns them with their real ports, without `/p2p`.
    package func start() async throws(TransportError) -> [Multiaddr] {
        precondition(state == .idle, "a host starts once")
        serveParallel()
        for address in configuration.listenAddresses {
            do throws(TransportError) {
                try listen(on: address)
            } catch {
                await stop()
                throw error
            }
        }
        state = .running
        lookAtInterfaces(at: Loop.now)
        isAnnouncementDue = false
        openHandles += 1
        housekeeping = TimerHandle(on: loop) { self.keepHouse() }
        housekeeping?.set(Loop.now + Self.housekeepingInterval)
        if caps.isActive {
            openHandles += 1
            caps.timer = TimerHandle(on: loop) { self.servePaced() }
        }
        return boundAddresses
    }

    private func listen(on address: Multiaddr) throws(TransportError) {
        let socketAddress: SocketAddress?
        switch address.tcpEndpoint {
        case (.ip4(let bytes), let port)?, (.ip6(let bytes), let port)?:
            socketAddress = SocketAddress(ipBytes: bytes, port: port)
        default: socketAddress = nil
        }
        guard let socketAddress, !address.endsInPeerID else { throw .unsupportedAddress(address) }
        guard let handle = makeHandle() else { throw .cannotListen(address, reason: "no file descriptor is left") }
        var status = socketAddress.withSockaddr { handle.bind(to: $0) }
        if status == 0 { status = handle.listen(backlog: Self.backlog) }
        guard status == 0, let bound = SocketAddress(of: handle, remote: false)?.multiaddr else {
            handle.close()
            throw StreamHandle.isAddressInUse(status)
                ? .addressInUse(address) : .cannotListen(address, reason: StreamHandle.reason(status))
        }
        handle.onConnection = { [unowned handle] in self.acceptConnection(from: handle) }
        listeners.append(handle)
        boundAddresses.append(bound)
    }

    /// Closes everything; returns when no handle, task or waiter is left. `next()` then gives nil.
    package func stop() async {
        if state == .stopped { return }
        state = .stopping
        for handle in listeners { handle.close() }
        listeners = []
        housekeeping?.close { self.handleClosed() }
        housekeeping = nil
        stopGossip()
        stopKademlia()
        stopLocalDiscovery()
        caps.timer?.close { self.handleClosed() }
        caps.timer = nil
        for task in tasks.values { task.cancel() }
        for dial in runningDials.values.sorted(by: { $0.id < $1.id }) { cancel(dial) }
        for handle in connecting.values { handle.close() }
        for link in links.values.sorted(by: { $0.id < $1.id }) { close(link, .local("this node is stopping")) }
        failAllSessions()
        while let (id, task) = tasks.first {
            await task.value
            tasks[id] = nil
        }
        await untilHandlesAreClosed()
        state = .stopped
        wantedDials = [:]
        heldCredit = []
        caps.pacedLinks = []
        caps.pausedLinks = []
        eventWaiter?.resume(returning: nil)
        eventWaiter = nil
    }

    private func untilHandlesAreClosed() async {
        await withCheckedContinuation { continuation in
            if openHandles == 0 { continuation.resume() } else { closeWaiters.append(continuation) }
        }
    }

    // MARK: Handles

    /// Connections that the system completes before `accept`; more are refused by it.
    private static let backlog: CInt = 128
    /// How often dials, stalled requests and retired connections are looked at.
    static let housekeepingInterval: Duration = .milliseconds(250)

    /// A TCP handle whose end this host waits for in `stop()`.
    func makeHandle() -> StreamHandle? {
        guard let handle = StreamHandle(.tcp, on: loop) else { return nil }
        openHandles += 1
        handle.onClosed = { self.handleClosed() }
        return handle
    }

    func handleClosed() {
        openHandles -= 1
        guard openHandles == 0 else { return }
        let waiters = closeWaiters
        closeWaiters = []
        for waiter in waiters { waiter.resume() }
    }

    /// Runs `body` in a task of the host, which inherits its isolation but does not prefer its executor: handlers of
    /// the application run on the default one.
    func startTask(_ body: @escaping @Sendable (isolated PeerHost) async -> Void) {
        guard state == .running else { return }
        let id = newID()
        // Awaited and cancelled by stop(); forgets itself at its end.
        tasks[id] = Task { [self] in
            await body(self)
            finishTask(id)
        }
    }

    private func finishTask(_ id: UInt64) { if state == .running { tasks[id] = nil } }

    private func keepHouse() {
        guard state == .running else { return }
        let now = Loop.now
        lookAtInterfaces(at: now)
        announceIfDue(at: now)
        startWantedDials(at: now)
        abandonStalledRequests(at: now)
        reopenGossip(at: now)
        abandonLateSessions(at: now)
        closeRetired(at: now)
        abandonLateParallelDials(at: now)
        tuneParallel(at: now)
        housekeeping?.set(now + Self.housekeepingInterval)
    }

    // MARK: Events

    /// The next event; nil after `stop()`. One consumer.
    package func next() async -> HostEvent? {
        if state != .stopped, let event = takeEvent() { return event }
        return await withCheckedContinuation { continuation in
            if state == .stopped {
                continuation.resume(returning: nil)
            } else if let event = takeEvent() {
                continuation.resume(returning: event)
            } else {
                precondition(eventWaiter == nil, "events have one consumer")
                eventWaiter = continuation
            }
        }
    }

    private func takeEvent() -> HostEvent? {
        guard eventsTaken < events.count else { return nil }
        var event = events[eventsTaken]
        eventsTaken += 1
        if case .identified(let peer, _) = event, let entry = entries[peer] {
            entry.identifyEventWaits = false
            if let newest = entry.identify { event = .identified(peer, newest) }
        }
        eventBytes -= event.byteCount
        if eventsTaken == events.count || eventsTaken > 1024 {
            events.removeFirst(eventsTaken)
            eventsTaken = 0
        }
        releaseCredit()
        return event
    }

    func emit(_ event: HostEvent) {
        gossipObserves(event)
        kademliaObserves(event)
        if let waiter = eventWaiter {
            eventWaiter = nil
            waiter.resume(returning: event)
            return
        }
        eventBytes += event.byteCount
        events.append(event)
    }

    /// Whether messages should not be read for now because `next()` lags.
    var isConsumerBehind: Bool {
        events.count - eventsTaken >= limits.waitingEventsMax || eventBytes >= limits.waitingEventBytesMax
    }

    private func releaseCredit() {
        guard !heldCredit.isEmpty, !isConsumerBehind else { return }
        let held = heldCredit
        heldCredit = []
        let now = Loop.now
        for (link, stream, count) in held {
            link.connection.consume(count, of: stream, at: now)
            scheduleFlush(link)
        }
    }
}
