package import PeerNet

/// One-way control messages, ping, and what the host reports about its peers.
extension PeerHost {
    /// Accepts one-way messages of at most `messageBytesMax` bytes on `name`. Peers that are connected are told.
    package func acceptMessages(on name: String, messageBytesMax: Int) {
        messageProtocols[name] = messageBytesMax
        isAnnouncementDue = true
    }

    /// Queues a message on the long-lived stream of (peer, protocol), opening it first if needed.
    /// A message has at least one byte; an empty one makes the receiver drop the connection.
    /// Messages to one peer on one protocol arrive in order. Returns false, and drops the message, if not connected.
    @discardableResult
    package func send(_ message: [UInt8], to peer: PeerID, on name: String) -> Bool {
        guard state == .running, let entry = entries[peer], !entry.refusedProtocols.contains(name) else { return false }
        let link = entry.link
        let stream: StreamID
        if let open = entry.messageStreams[name] {
            stream = open
        } else {
            guard let opened = link.connection.openStream(name, priority: .control, at: Loop.now) else { return false }
            stream = opened
            entry.messageStreams[name] = stream
            link.uses[stream] = .messagesOut(name)
        }
        link.connection.write(MessageFraming.prefix(count: message.count), to: stream)
        link.connection.write(message, to: stream)
        let waiting = entry.messageStreams.values.reduce(0) { $0 + link.connection.queuedBytes(of: $1) }
        guard waiting <= limits.messageQueueBytesMax else {
            close(link, .local("the peer does not take its messages: \(waiting) bytes wait"))
            return false
        }
        entry.use.add(message.count, at: Loop.now)
        scheduleFlush(link)
        return true
    }

    /// Drops the connections to a peer; `.disconnected` follows with this reason.
    package func disconnect(_ peer: PeerID, reason: String) {
        guard let entry = entries[peer] else { return }
        for link in entry.links { close(link, .local(reason)) }
    }

    /// Measures a round trip with libp2p's ping protocol.
    package func ping(_ peer: PeerID) async throws(TransportError) -> Duration {
        let answer: Duration? = await withCheckedContinuation { continuation in
            guard let link = entries[peer]?.link else { return continuation.resume(returning: nil) }
            link.pingWaiters.append(continuation)
            link.connection.ping(at: Loop.now)
            update(link)
        }
        guard let answer else { throw .notConnected(peer) }
        return answer
    }

    /// The connected peers, sorted by id.
    package func peers() -> [PeerStatus] {
        var traffic = pastTraffic
        for link in links.values {
            if let peer = link.peer { traffic[peer, default: Traffic()].add(link.traffic) }
        }
        return entries.values.sorted { $0.id < $1.id }.map { entry in
            PeerStatus(
                peerID: entry.id, remoteAddress: entry.link.remoteAddress, isOutbound: entry.link.isOutbound,
                roundTripTime: entry.link.connection.roundTrip, traffic: traffic[entry.id] ?? Traffic(),
                identify: entry.identify)
        }
    }

    /// Everything this host's sockets carried since `start()`, failed and unauthenticated connections included.
    package func traffic() -> Traffic { totalTraffic }

    /// Handles that are not yet freed; 0 after `stop()`.
    package var openHandleCount: Int { openHandles }

    /// Open connections, those that are being authenticated or closed included.
    package var connectionCount: Int { links.count }

    // MARK: Streams

    /// The peer opened a stream of a served protocol.
    func streamAccepted(_ stream: StreamID, _ name: String, on link: Link) {
        if PubsubProtocol(name: name) != nil, gossip != nil {
            acceptGossip(stream, name, on: link)
        } else if name == kademlia?.machine.configuration.protocolName {
            acceptKademlia(stream, on: link)
        } else if let bytesMax = messageProtocols[name] {
            // A new stream brings a new window: not while bytes of this peer wait for the consumer.
            guard !heldCredit.contains(where: { $0.link === link }) else { return link.connection.reset(stream) }
            // One stream per protocol: a newer one replaces an older one, which the peer has given up.
            for (old, use) in link.uses {
                if case .messagesIn(name, _) = use {
                    link.connection.reset(old)
                    link.uses[old] = nil
                }
            }
            link.uses[stream] = .messagesIn(name, MessageAssembler(bytesMax: bytesMax))
        } else if let served = requestProtocols[name] {
            acceptRequest(stream, name, bytesMax: served.bytesMax, on: link)
        } else if let served = sessionProtocols[name] {
            acceptSession(stream, bytesMax: served.bytesMax, handler: served.handler, on: link)
        } else {
            link.connection.reset(stream)
        }
    }

    func received(_ bytes: [UInt8], _ stream: StreamID, on link: Link) {
        let now = Loop.now
        switch link.uses[stream] {
        case .messagesIn(let name, var assembler)?:
            guard let peer = link.peer else { return }
            var messages: [[UInt8]] = []
            // Out of the table while it changes, so that its buffers are not copied.
            link.uses[stream] = nil
            guard assembler.receive(bytes, into: &messages) else {
                link.connection.reset(stream)
                close(link, .local("the peer broke the framing or size limit of \(name)"))
                return
            }
            link.uses[stream] = .messagesIn(name, assembler)
            for message in messages { emit(.message(from: peer, protocol: name, bytes: message)) }
            if isConsumerBehind {
                hold(bytes.count, of: stream, on: link)
            } else {
                link.connection.consume(bytes.count, of: stream, at: now)
            }
        case .requestOut(let call)?: receivedResponse(bytes, of: call, stream, on: link, at: now)
        case .requestIn(let name, let body, let bytesMax, let startedAt)?:
            link.uses[stream] = nil
            receivedRequest(bytes, body, name, bytesMax: bytesMax, startedAt: startedAt, stream, on: link, at: now)
        case .gossipIn(let reader)?: receivedGossip(bytes, reader, stream, on: link, at: now)
        case .kademliaIn(let assembler)?: receivedKademliaRequest(bytes, assembler, stream, on: link, at: now)
        case .kademliaOut(let token, let assembler, _)?:
            receivedKademliaAnswer(bytes, token, assembler, stream, on: link, at: now)
        case .session(let session)?: received(bytes, of: session, at: now)
        case .messagesOut?, .responding?, .gossipOut?, nil:
            // Nobody should send here; without credit it ends by itself.
            break
        }
    }

    private func hold(_ count: Int, of stream: StreamID, on link: Link) {
        if let last = heldCredit.indices.last, heldCredit[last].stream == stream, heldCredit[last].link === link {
            heldCredit[last].count += count
        } else {
            heldCredit.append((link, stream, count))
        }
    }

    func remoteFinished(_ stream: StreamID, on link: Link) {
        switch link.uses[stream] {
        case .messagesIn?, .gossipIn?, .kademliaIn?: link.connection.finish(stream)
        case .requestOut(let call)?: finish(call, .success(call.response))
        case .requestIn(let name, let body, _, _)?: serveRequest(body, name, stream, on: link)
        case .kademliaOut(let token, _, let awaitsAnswer)?:
            kademliaEnded(token, succeeded: !awaitsAnswer, stream, on: link)
        case .session(let session)?: remoteFinished(session)
        case .messagesOut?, .responding?, .gossipOut?, nil: break
        }
    }

    func streamClosed(_ stream: StreamID, on link: Link) {
        link.servedStreams.remove(stream)
        guard let use = link.uses.removeValue(forKey: stream) else { return }
        abandon(use, of: link, error: .reset)
    }

    func streamReset(_ stream: StreamID, _ failure: Connection.StreamFailure, on link: Link) {
        link.servedStreams.remove(stream)
        guard let use = link.uses.removeValue(forKey: stream) else { return }
        if case .messagesOut(let name) = use, let peer = link.peer, let entry = entries[peer], entry.link === link {
            entry.messageStreams[name] = nil
            if failure == .refused { entry.refusedProtocols.insert(name) }
        }
        abandon(use, of: link, error: failure == .refused ? .protocolRefused : .reset)
    }

    /// Tells whoever waits for a stream that it is gone.
    func abandon(_ use: Link.Use, of link: Link, error: RequestError) {
        switch use {
        case .requestOut(let call): finish(call, .failure(error))
        case .responding(let waiter, _, _): waiter?.resume(returning: false)
        case .gossipOut: gossipStreamEnded(on: link, isRefused: error == .protocolRefused)
        case .kademliaOut(let token, _, _): kademliaLost(token)
        case .session(let session): fail(session, error)
        case .messagesOut, .messagesIn, .requestIn, .gossipIn, .kademliaIn: break
        }
    }
}
