package import PeerNet

/// What the hash table needs of a host: the state machine, its timer, and who waits for what.
struct KademliaService {
    /// A request whose message is not yet on a stream, because its peer is being dialed.
    var waiting: [PeerID: [Kademlia.Request]] = [:]
    /// Streams of requests under way.
    var streams: [Kademlia.RequestToken: (link: Link, stream: StreamID)] = [:]
    /// Peers that the user or an invite named.
    var invited: Set<PeerID> = []
    /// Who waits for a command's outcome.
    var callers: [Kademlia.LookupID: CheckedContinuation<Kademlia.Outcome?, Never>] = [:]

    var machine: Kademlia
    var timer: TimerHandle?
    var isPerforming = false

    init(machine: Kademlia) { self.machine = machine }

    /// Starts a command where the machine lies: an optional's value can be changed in place by its own method alone.
    mutating func begin(_ start: (inout Kademlia) -> Kademlia.LookupID?) -> Kademlia.LookupID? { start(&machine) }
}

/// Drives the distributed hash table: a stream for each request of ours, streams of requests from peers.
extension PeerHost {
    /// Longest message read.
    private static let kademliaMessageBytesMax = KademliaLimits.messageBytesMax
    /// Streams of one peer's requests at once.
    private static let kademliaStreamsMax = 16
    /// Bytes of answers that may wait for a peer on one stream.
    private static let kademliaAnswersMax = 64 << 10

    /// Takes part in a hash table. Call before `start()`. `isLocalNetwork`: loopback and private addresses count.
    package func enableKademlia(
        protocolName: String = Kademlia.atollProtocol, mode: Kademlia.Mode, isLocalNetwork: Bool
    ) {
        precondition(state == .idle, "protocols are chosen before the start")
        let settings = Kademlia.Configuration(
            peer: peerID, mode: mode, protocolName: protocolName, isLocalNetwork: isLocalNetwork,
            seed: Entropy.number())
        kademlia = KademliaService(machine: Kademlia(configuration: settings, at: Loop.now))
    }

    /// Protocols that identify lists for the table: none for a client.
    var kademliaProtocols: [String] {
        guard let settings = kademlia?.machine.configuration, settings.mode == .server else { return [] }
        return [settings.protocolName]
    }

    /// Answers others in the table from now on, or no more. Peers that are connected are told.
    package func setTableMode(_ mode: Kademlia.Mode) {
        guard let present = kademlia?.machine.configuration.mode, present != mode else { return }
        kademlia?.machine.setMode(mode)
        isAnnouncementDue = true
    }

    // MARK: Commands

    /// Joins by some contacts and looks this node up; the closest peers that answered. `invited`: those of the contacts that
    /// the user or an invite named, so that their names may lead to this node's own network.
    package func bootstrapTable(_ contacts: [PeerContact], invited: Set<PeerID> = []) async -> [PeerContact] {
        kademlia?.invited = invited
        guard case .closest(let peers)? = await command({ $0.bootstrap(contacts, at: Loop.now) }) else { return [] }
        return peers
    }

    /// Seeks a peer's addresses; nil if nobody knows the peer.
    package func findPeer(_ peer: PeerID) async -> PeerContact? {
        guard case .peer(let contact, _)? = await command({ $0.findPeer(peer, at: Loop.now) }) else { return nil }
        return contact
    }

    /// Seeks up to `wanted` peers that provide a key; hearsay until connected to.
    package func findProviders(of key: [UInt8], wanted: Int) async -> [PeerContact] {
        guard
            case .providers(let found)? = await command({
                $0.findProviders(of: key, wanted: wanted, at: Loop.now)
            })
        else { return [] }
        return found
    }

    /// Tells the closest peers that this node provides a key, now and again; how many keep that now.
    @discardableResult
    package func provide(_ key: [UInt8]) async -> Int {
        guard case .provided(let count)? = await command({ $0.provide(key, at: Loop.now) }) else { return 0 }
        return count
    }

    private func command(_ start: (inout Kademlia) -> Kademlia.LookupID?) async -> Kademlia.Outcome? {
        await withCheckedContinuation { continuation in
            guard state == .running, let lookup = kademlia?.begin(start) else {
                return continuation.resume(returning: nil)
            }
            kademlia?.callers[lookup] = continuation
            driveKademlia()
        }
    }

    // MARK: Peers

    func kademliaObserves(_ event: HostEvent) {
        guard kademlia != nil else { return }
        switch event {
        case .identified(let peer, let record):
            kademlia?.machine.identified(
                peer, record: record, remoteAddress: entries[peer]?.link.remoteAddress, at: Loop.now)
        case .connected(let peer, _):
            for request in kademlia?.waiting.removeValue(forKey: peer) ?? [] { startKademliaRequest(request) }
        case .dialFailed(let peer, _):
            for request in kademlia?.waiting.removeValue(forKey: peer) ?? [] {
                kademlia?.machine.failed(request.token, at: Loop.now)
            }
        case .disconnected(let peer, _): kademlia?.machine.disconnected(peer)
        case .message, .gossip, .discovered: return
        }
        driveKademlia()
    }

    // MARK: Asking

    private func startKademliaRequest(_ request: Kademlia.Request) {
        let peer = request.contact.peer
        guard let link = entries[peer]?.link, link.closeReason == nil else {
            kademlia?.waiting[peer, default: []].append(request)
            return dial(peer, at: request.contact.addresses, mayBeLocal: kademlia?.invited.contains(peer) == true)
        }
        guard let name = kademlia?.machine.configuration.protocolName,
            let stream = link.connection.openStream(name, priority: .control, at: Loop.now)
        else {
            kademlia?.machine.failed(request.token, blamesPeer: false, at: Loop.now)
            return
        }
        link.uses[stream] = .kademliaOut(
            request.token, MessageAssembler(bytesMax: Self.kademliaMessageBytesMax),
            awaitsAnswer: request.awaitsAnswer)
        kademlia?.streams[request.token] = (link, stream)
        link.connection.write(MessageFraming.prefix(count: request.bytes.count), to: stream)
        link.connection.write(request.bytes, to: stream)
        link.connection.finish(stream)
        scheduleFlush(link)
    }

    func receivedKademliaAnswer(
        _ bytes: [UInt8], _ token: Kademlia.RequestToken, _ assembler: MessageAssembler, _ stream: StreamID,
        on link: Link, at now: Moment
    ) {
        var assembler = assembler
        var messages: [[UInt8]] = []
        // Out of the table while it changes, so that its buffers are not copied.
        link.uses[stream] = .kademliaOut(
            token, MessageAssembler(bytesMax: Self.kademliaMessageBytesMax), awaitsAnswer: true)
        let isFramed = assembler.receive(bytes, into: &messages)
        link.connection.consume(bytes.count, of: stream, at: now)
        guard isFramed, messages.isEmpty else {
            if isFramed, let answer = messages.first {
                kademlia?.machine.receive(answer, for: token, at: now)
            } else {
                kademlia?.machine.failed(token, at: now)
            }
            endKademliaStream(token)
            return driveKademlia()
        }
        link.uses[stream] = .kademliaOut(token, assembler, awaitsAnswer: true)
    }

    /// The peer ended a request's stream: the end of one that has no answer, else a failure.
    func kademliaEnded(_ token: Kademlia.RequestToken, succeeded: Bool, _ stream: StreamID, on link: Link) {
        if succeeded {
            kademlia?.machine.delivered(token, at: Loop.now)
        } else {
            kademlia?.machine.failed(token, at: Loop.now)
        }
        endKademliaStream(token)
        driveKademlia()
    }

    /// A request's stream is gone.
    func kademliaLost(_ token: Kademlia.RequestToken) {
        kademlia?.streams[token] = nil
        kademlia?.machine.failed(token, at: Loop.now)
        driveKademlia()
    }

    private func endKademliaStream(_ token: Kademlia.RequestToken) {
        guard let (link, stream) = kademlia?.streams.removeValue(forKey: token) else { return }
        link.uses[stream] = nil
        link.connection.reset(stream)
        scheduleFlush(link)
    }

    // MARK: Answering

    func acceptKademlia(_ stream: StreamID, on link: Link) {
        let open = link.uses.values.count { if case .kademliaIn = $0 { true } else { false } }
        guard open < Self.kademliaStreamsMax else { return link.connection.reset(stream) }
        link.uses[stream] = .kademliaIn(MessageAssembler(bytesMax: Self.kademliaMessageBytesMax))
    }

    func receivedKademliaRequest(
        _ bytes: [UInt8], _ assembler: MessageAssembler, _ stream: StreamID, on link: Link, at now: Moment
    ) {
        guard let peer = link.peer else { return }
        var assembler = assembler
        var messages: [[UInt8]] = []
        // Out of the table while it changes, so that its buffers are not copied.
        link.uses[stream] = .kademliaIn(MessageAssembler(bytesMax: Self.kademliaMessageBytesMax))
        var isGood = assembler.receive(bytes, into: &messages)
        for message in messages where isGood {
            switch kademlia?.machine.answer(message, from: peer, remoteAddress: link.remoteAddress, at: now) {
            case .message(let answer)?:
                link.connection.write(MessageFraming.prefix(count: answer.count), to: stream)
                link.connection.write(answer, to: stream)
                isGood = link.connection.queuedBytes(of: stream) <= Self.kademliaAnswersMax
            case Kademlia.Answer.none?: break
            case .refused?, nil: isGood = false
            }
        }
        if isGood {
            link.uses[stream] = .kademliaIn(assembler)
            link.connection.consume(bytes.count, of: stream, at: now)
        } else {
            link.uses[stream] = nil
            link.connection.reset(stream)
        }
        scheduleFlush(link)
        driveKademlia()
    }

    // MARK: Driving

    /// Performs what the state machine wants, until it wants nothing, and sets its timer.
    func driveKademlia() {
        guard state == .running, kademlia?.isPerforming == false else { return }
        kademlia?.isPerforming = true
        while let outputs = kademlia?.machine.takeOutputs(), !outputs.isEmpty {
            for output in outputs { perform(output) }
        }
        kademlia?.isPerforming = false
        setKademliaTimer()
    }

    private func setKademliaTimer() {
        guard let deadline = kademlia?.machine.nextDeadline else { return }
        if kademlia?.timer == nil {
            openHandles += 1
            kademlia?.timer = TimerHandle(on: loop) { self.kademliaTimerFired() }
        }
        if kademlia?.timer?.deadline != deadline { kademlia?.timer?.set(deadline) }
    }

    private func kademliaTimerFired() {
        kademlia?.machine.advance(at: Loop.now)
        driveKademlia()
    }

    private func perform(_ output: Kademlia.Output) {
        switch output {
        case .send(let request): startKademliaRequest(request)
        case .abandon(let token):
            for (peer, requests) in kademlia?.waiting ?? [:] {
                let kept = requests.filter { $0.token != token }
                if kept.count < requests.count { kademlia?.waiting[peer] = kept.isEmpty ? nil : kept }
            }
            endKademliaStream(token)
        case .providersFound: break  // `.finished` repeats them.
        case .finished(let lookup, let outcome):
            kademlia?.callers.removeValue(forKey: lookup)?.resume(returning: outcome)
        }
    }

    func stopKademlia() {
        kademlia?.timer?.close { self.handleClosed() }
        kademlia?.timer = nil
        for caller in kademlia?.callers.values ?? [:].values { caller.resume(returning: nil) }
        kademlia?.callers = [:]
    }
}
