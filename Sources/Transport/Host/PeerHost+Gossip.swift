package import PeerNet

/// What gossip needs of a host: the state machine, its timer, and our stream to each peer.
struct GossipService {
    /// Our stream to a peer, and how much of it the muxer still holds.
    struct Stream {
        let link: Link
        let id: StreamID
        let openedAt: Moment
        var queuedBytes: Int
    }

    /// A connected peer to which there is no stream any more, or whose streams did not last.
    struct Loss {
        /// Streams in a row that ended soon.
        var count = 0
        /// When to try again; nil: not before the peer opens its own stream or says anew what it speaks.
        var retryAt: Moment?
    }

    var machine: Gossipsub
    var timer: TimerHandle?
    var streams: [PeerID: Stream] = [:]
    /// What became of earlier streams to connected peers.
    var losses: [PeerID: Loss] = [:]
    /// Connected peers that may take part; nil: all.
    var admitted: Set<PeerID>?
    /// Outputs are performed in one place, one after the other, whatever happens meanwhile.
    var isPerforming = false
}

/// Drives gossipsub: one stream to each peer that speaks it, one from each.
extension PeerHost {
    /// A stream that lived for so long was a good one: what came before it does not count.
    private static let gossipStreamLastsFrom: Duration = .seconds(60)
    /// The pause after a loss is two seconds, doubled by each further one in a row up to 32: a peer that takes its time to
    /// admit this node is then asked again soon enough.
    private static let gossipPauseDoublingsMax = 5

    /// Speaks gossipsub. Call before `start()`. `parameters` and `scores` as protocols/gossip.md gives them unless told.
    /// `isForMembers`: nothing goes to or comes from a peer before `admitToGossip`.
    package func enableGossip(
        parameters: GossipParameters = GossipParameters(), scores: ScoreParameters = ScoreParameters(),
        isForMembers: Bool = false, firstSequence: UInt64
    ) {
        precondition(state == .idle, "protocols are chosen before the start")
        var settings = Gossipsub.Configuration(
            identity: identity, firstSequence: firstSequence, seed: Entropy.number())
        settings.parameters = parameters
        settings.scores = scores
        gossip = GossipService(machine: Gossipsub(configuration: settings, at: Loop.now))
        if isForMembers { gossip?.admitted = [] }
    }

    /// Lets a connected peer take part in gossip that is for members; until it disconnects.
    package func admitToGossip(_ peer: PeerID) {
        guard let entry = entries[peer], gossip?.admitted?.insert(peer).inserted == true else { return }
        let spoken = entry.identify?.protocols.compactMap { PubsubProtocol(name: $0) } ?? []
        if let version = spoken.max() { openGossip(to: peer, version) }
    }

    /// Protocols that identify lists for gossip.
    var gossipProtocols: [String] { gossip == nil ? [] : PubsubProtocol.allCases.map(\.name) }

    // MARK: Commands

    /// Follows a topic; its messages come as `.gossip` events.
    package func subscribe(_ topic: Topic) throws(Gossipsub.Refusal) {
        guard state == .running else { return }
        try gossip?.machine.subscribe(topic, at: Loop.now)
        driveGossip()
    }

    /// Ceases to follow a topic.
    package func unsubscribe(_ topic: Topic) {
        guard state == .running else { return }
        gossip?.machine.unsubscribe(topic, at: Loop.now)
        driveGossip()
    }

    /// Signs and publishes a message; nil if gossip is not spoken or the host stops.
    @discardableResult
    package func publish(_ data: [UInt8], to topic: Topic) throws(Gossipsub.Refusal) -> MessageID? {
        guard state == .running else { return nil }
        let id = try gossip?.machine.publish(data, to: topic, at: Loop.now)
        driveGossip()
        return id
    }

    /// Says what a `.gossip` event's message is worth; only what is accepted is passed on.
    package func judge(_ id: MessageID, _ verdict: Gossipsub.Verdict) {
        guard state == .running else { return }
        gossip?.machine.validated(id, verdict, at: Loop.now)
        driveGossip()
    }

    /// What the application thinks of a peer, positive or negative (P5 of its score).
    package func setApplicationScore(_ peer: PeerID, _ value: Double) {
        gossip?.machine.setApplicationScore(peer, value)
        driveGossip()
    }

    /// Connected peers that follow a topic, and which of them are in its mesh.
    package func gossipPeers(of topic: Topic) -> (followers: [PeerID], mesh: [PeerID]) {
        (gossip?.machine.followers(of: topic) ?? [], gossip?.machine.meshPeers(of: topic) ?? [])
    }

    // MARK: Streams

    func gossipObserves(_ event: HostEvent) {
        guard gossip != nil else { return }
        switch event {
        case .identified(let peer, let record):
            let spoken = record.protocols.compactMap { PubsubProtocol(name: $0) }
            if let version = spoken.max() { openGossip(to: peer, version) }
            if let envelope = record.signedRecord, let signed = try? SignedPeerRecord(envelope: envelope) {
                gossip?.machine.setRecord(signed, of: peer)
            }
        case .disconnected(let peer, _):
            gossip?.losses[peer] = nil
            gossip?.admitted?.remove(peer)
        case .connected, .dialFailed, .message, .gossip, .discovered: break
        }
    }

    /// Opens our stream to a peer unless there is one.
    private func openGossip(to peer: PeerID, _ version: PubsubProtocol) {
        guard state == .running, let link = entries[peer]?.link, link.closeReason == nil,
            gossip?.streams[peer] == nil, gossip?.admitted?.contains(peer) ?? true,
            let stream = link.connection.openStream(version.name, priority: .control, at: Loop.now)
        else { return }
        link.uses[stream] = .gossipOut
        gossip?.streams[peer] = GossipService.Stream(link: link, id: stream, openedAt: Loop.now, queuedBytes: 0)
        let description = GossipPeerDescription(
            version: version, isOutbound: link.isOutbound, scoredAddress: link.remoteAddress.scoredAddress)
        gossip?.machine.peerConnected(peer, description, at: Loop.now)
        scheduleFlush(link)
        driveGossip()
    }

    /// The peer opened its stream. What it agreed on is the best that both speak, so ours can follow at once.
    func acceptGossip(_ stream: StreamID, _ name: String, on link: Link) {
        guard let peer = link.peer, let version = PubsubProtocol(name: name),
            gossip?.admitted?.contains(peer) ?? true
        else {
            return link.connection.reset(stream)
        }
        for (old, use) in link.uses {
            if case .gossipIn = use {
                link.connection.reset(old)
                link.uses[old] = nil
            }
        }
        link.uses[stream] = .gossipIn(PubsubStreamReader())
        gossip?.losses[peer] = nil
        openGossip(to: peer, version)
    }

    func receivedGossip(
        _ bytes: [UInt8], _ reader: PubsubStreamReader, _ stream: StreamID, on link: Link, at now: Moment
    ) {
        guard let peer = link.peer else { return }
        var reader = reader
        // Out of the table while it changes, so that its buffer is not copied.
        link.uses[stream] = .gossipIn(PubsubStreamReader())
        reader.append(bytes)
        do throws(RPCFault) {
            while let rpc = try reader.next() { gossip?.machine.receive(rpc, from: peer, at: now) }
            link.uses[stream] = .gossipIn(reader)
        } catch {
            gossip?.machine.streamBroken(peer, error)
        }
        // No credit is held back: a lagging consumer is the state machine's to bound, in `.deliver`.
        link.connection.consume(bytes.count, of: stream, at: now)
        driveGossip()
    }

    /// Our stream to a peer is gone, with or without its connection.
    func gossipStreamEnded(on link: Link, isRefused: Bool) {
        guard let peer = link.peer, let stream = gossip?.streams[peer], stream.link === link else { return }
        gossip?.streams[peer] = nil
        let now = Loop.now
        var loss = gossip?.losses[peer] ?? GossipService.Loss()
        if link.closeReason != nil {
            // Nobody's fault; if another connection is left, the stream goes on there.
            loss.retryAt = now
        } else if isRefused {
            loss.retryAt = nil
        } else {
            loss.count = now - stream.openedAt < Self.gossipStreamLastsFrom ? loss.count + 1 : 1
            loss.retryAt = now + .seconds(1 << min(loss.count, Self.gossipPauseDoublingsMax))
        }
        gossip?.losses[peer] = loss
        gossip?.machine.peerDisconnected(peer, at: Loop.now)
        driveGossip()
    }

    /// Another connection to the peer takes over, and our stream is opened there.
    func gossipLeaves(_ link: Link) {
        guard let peer = link.peer, let stream = gossip?.streams[peer], stream.link === link else { return }
        link.uses[stream.id] = nil
        link.connection.finish(stream.id)
        gossip?.streams[peer] = nil
        gossip?.losses[peer, default: GossipService.Loss()].retryAt = Loop.now
        gossip?.machine.peerDisconnected(peer, at: Loop.now)
        driveGossip()
    }

    /// Tries again to open streams that ended while their connections live.
    func reopenGossip(at now: Moment) {
        guard let losses = gossip?.losses, !losses.isEmpty else { return }
        for (peer, loss) in losses.sorted(by: { $0.key < $1.key }) where gossip?.streams[peer] == nil {
            guard let retryAt = loss.retryAt, retryAt <= now else { continue }
            let spoken = entries[peer]?.identify?.protocols.compactMap { PubsubProtocol(name: $0) } ?? []
            if let version = spoken.max() { openGossip(to: peer, version) }
        }
    }

    /// Tells the state machine how much of a peer's stream the socket took.
    func gossipFlushed(_ link: Link) {
        guard let peer = link.peer, let stream = gossip?.streams[peer], stream.link === link else { return }
        let queued = link.connection.queuedBytes(of: stream.id)
        guard queued < stream.queuedBytes else { return }
        gossip?.streams[peer]?.queuedBytes = queued
        gossip?.machine.written(stream.queuedBytes - queued, to: peer)
        driveGossip()
    }

    // MARK: Driving

    /// Performs what the state machine wants, until it wants nothing, and sets its timer.
    func driveGossip() {
        guard state == .running, gossip?.isPerforming == false else { return }
        gossip?.isPerforming = true
        while let outputs = gossip?.machine.takeOutputs(), !outputs.isEmpty {
            for output in outputs { perform(output) }
        }
        gossip?.isPerforming = false
        setGossipTimer()
    }

    private func setGossipTimer() {
        guard let deadline = gossip?.machine.nextDeadline else { return }
        if gossip?.timer == nil {
            openHandles += 1
            gossip?.timer = TimerHandle(on: loop) { self.gossipTimerFired() }
        }
        if gossip?.timer?.deadline != deadline { gossip?.timer?.set(deadline) }
    }

    private func gossipTimerFired() {
        gossip?.machine.advance(to: Loop.now)
        driveGossip()
    }

    private func perform(_ output: Gossipsub.Output) {
        switch output {
        case .send(let peer, let bytes):
            guard let stream = gossip?.streams[peer] else { return }
            stream.link.connection.write(bytes, to: stream.id)
            gossip?.streams[peer]?.queuedBytes = stream.link.connection.queuedBytes(of: stream.id)
            scheduleFlush(stream.link)
        case .deliver(let delivery):
            // What waits for a verdict is bounded by the state machine.
            emit(.gossip(delivery))
        case .suggestPeers(_, let suggested):
            for suggestion in suggested {
                guard let record = suggestion.record else { continue }
                dial(suggestion.peer, at: record.addresses.filter { isNetworkLocal || !$0.isLocal })
            }
        case .connect: break  // There are no direct peers.
        case .resetStream(let peer, _): resetGossipIn(of: peer)
        case .disconnect(let peer, .graylisted(let score)):
            disconnect(peer, reason: "it misbehaves in gossip: its score is \(Int(score.rounded()))")
        case .disconnect(let peer, .queueFull): disconnect(peer, reason: "it does not read its gossip")
        }
    }

    private func resetGossipIn(of peer: PeerID) {
        guard let entry = entries[peer] else { return }
        for link in entry.retiring + [entry.link] {
            for (stream, use) in link.uses {
                if case .gossipIn = use {
                    link.connection.reset(stream)
                    link.uses[stream] = nil
                }
            }
            scheduleFlush(link)
        }
    }

    func stopGossip() {
        gossip?.timer?.close { self.handleClosed() }
        gossip?.timer = nil
    }
}
