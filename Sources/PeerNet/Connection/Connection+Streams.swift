extension Connection {
    /// One stream of the muxer with what this layer still does on it.
    struct Channel: Sendable {
        /// Who deals with the stream's bytes.
        enum Owner: Sendable {
            /// Proposed by this side; the bytes behind the agreement belong to `Purpose`.
            case proposing(MultistreamDialer, Purpose)
            /// Proposed by the peer.
            case answering(MultistreamListener)
            case agreed(Purpose)
        }

        /// What an agreed stream is for.
        enum Purpose: Sendable {
            case application
            /// We asked who the peer is, or the peer pushed it.
            case identify(IdentifyCollector)
            /// We answered identify, or pushed it.
            case identifyAnswer
            /// We ping: what must come back, what came, and when we sent it.
            case ping(expected: [UInt8], received: [UInt8], sentAt: Moment)
            /// The peer pings.
            case pingAnswer(ByteQueue)
            /// Nothing the peer proposed is served, and it has been told; what it sends meanwhile is ignored.
            case refused
        }

        var owner: Owner
        let isInbound: Bool
        /// Bytes behind an unfinished negotiation.
        var input = ByteQueue()
        /// By when the negotiation or exchange must be done.
        var deadline: Moment?
    }

    // MARK: Commands of the driver

    /// Opens a stream for `name`, which is proposed at once, so that bytes may be written before the peer agrees;
    /// `windowBytes` is the receive window to start with. Nil if too many streams are open, or none can be.
    package mutating func openStream(
        _ name: String, priority: StreamPriority, windowBytes: Int = 0, at now: Moment
    ) -> StreamID? {
        openChannel(name, purpose: .application, priority: priority, windowBytes: windowBytes, at: now)
    }

    /// Queues bytes on a stream; nothing happens if the stream is gone or finished.
    package mutating func write(_ bytes: [UInt8], to stream: StreamID) {
        guard channels[stream] != nil else { return }
        muxer.write(bytes, to: stream)
    }

    /// Ends this side of a stream after what is queued.
    package mutating func finish(_ stream: StreamID) {
        guard channels[stream] != nil else { return }
        muxer.finish(stream)
    }

    /// Drops a stream at once; no further events of it follow.
    package mutating func reset(_ stream: StreamID) {
        guard channels.removeValue(forKey: stream) != nil else { return }
        muxer.reset(stream)
    }

    /// Says that `count` bytes of `.streamData` are dealt with, so that the peer may send more.
    package mutating func consume(_ count: Int, of stream: StreamID, at now: Moment) {
        muxer.consume(count, of: stream, at: now)
    }

    /// Bytes that wait to be sent on a stream; 0 if it is gone.
    package func queuedBytes(of stream: StreamID) -> Int { muxer.queuedBytes(of: stream) ?? 0 }

    /// Starts a libp2p ping unless one is under way; `.pinged` follows.
    package mutating func ping(at now: Moment) {
        guard isRunning, pingStream == nil else { return }
        let payload = nextPingPayload()
        let purpose = Channel.Purpose.ping(expected: payload, received: [], sentAt: now)
        guard let stream = openChannel(Self.pingProtocol, purpose: purpose, priority: .control, at: now) else {
            events.append(.pinged(nil))
            return
        }
        pingStream = stream
        muxer.write(payload, to: stream)
    }

    /// Changes what this side says of itself and serves, and pushes that to the peer (`/ipfs/id/push/1.0.0`); a peer that
    /// is not authenticated yet will ask anyway.
    package mutating func announce(
        _ record: IdentifyRecord, protocols: [String: StreamPriority], at now: Moment
    ) {
        configuration.ownRecord = record
        configuration.protocols = protocols
        guard
            let stream = openChannel(Self.identifyPushProtocol, purpose: .identifyAnswer, priority: .control, at: now)
        else { return }
        muxer.write(ownIdentify(), to: stream)
        muxer.finish(stream)
    }

    // MARK: Channels

    mutating func startIdentify(at now: Moment) {
        let purpose = Channel.Purpose.identify(IdentifyCollector())
        _ = openChannel(Self.identifyProtocol, purpose: purpose, priority: .control, at: now)
    }

    private mutating func openChannel(
        _ name: String, purpose: Channel.Purpose, priority: StreamPriority, windowBytes: Int = 0, at now: Moment
    ) -> StreamID? {
        guard isRunning, let stream = muxer.open(priority: priority, windowBytes: windowBytes, at: now)
        else { return nil }
        let dialer = MultistreamDialer(candidates: [name])
        channels[stream] = Channel(owner: .proposing(dialer, purpose), isInbound: false)
        muxer.write(dialer.opening, to: stream)
        setDeadline(now + ConnectionLimits.negotiationTimeout, of: stream)
        return stream
    }

    private mutating func setDeadline(_ deadline: Moment?, of stream: StreamID) {
        channels[stream]?.deadline = deadline
        if let deadline { channelDeadline = channelDeadline.map { min($0, deadline) } ?? deadline }
    }

    /// Resets every stream whose negotiation or exchange took too long, in the order of their ids.
    mutating func expireChannels(at now: Moment) {
        let due = channels.filter { ($0.value.deadline ?? now + .seconds(1)) <= now }.keys.sorted()
        for stream in due { fail(stream, .timedOut) }
        channelDeadline = channels.values.compactMap(\.deadline).min()
    }

    /// Resets a stream and tells whoever waits for it.
    private mutating func fail(_ stream: StreamID, _ failure: StreamFailure) {
        muxer.reset(stream)
        forget(stream, failure)
    }

    private mutating func forget(_ stream: StreamID, _ failure: StreamFailure) {
        guard let channel = channels.removeValue(forKey: stream) else { return }
        switch channel.owner {
        case .proposing(_, .application), .agreed(.application): events.append(.streamReset(stream, failure))
        case .proposing(_, .ping), .agreed(.ping):
            pingStream = nil
            events.append(.pinged(nil))
        case .proposing, .agreed, .answering: break
        }
    }

    // MARK: Events of the muxer

    mutating func handleMuxerEvents(at now: Moment) {
        let happened = muxer.events
        muxer.events.removeAll()
        for event in happened {
            guard !isClosed else { return }
            switch event {
            case .opened(let stream): acceptChannel(stream, at: now)
            case .data(let stream, let bytes): received(bytes, on: stream, at: now)
            case .finished(let stream): remoteFinished(stream)
            case .reset(let stream, let code): forget(stream, .reset(code: code))
            case .writable(let stream):
                if case .agreed(.application)? = channels[stream]?.owner {
                    events.append(.streamWritable(stream))
                } else if case .proposing(_, .application)? = channels[stream]?.owner {
                    events.append(.streamWritable(stream))
                }
            case .closed(let stream):
                if case .agreed(.application)? = channels.removeValue(forKey: stream)?.owner {
                    events.append(.streamClosed(stream))
                }
            case .goneAway(let code): end(.goneAway(code: code))
            }
        }
    }

    private mutating func acceptChannel(_ stream: StreamID, at now: Moment) {
        let negotiating = channels.values.count { if case .answering = $0.owner { true } else { false } }
        guard negotiating < ConnectionLimits.negotiatingInboundMax else {
            muxer.reset(stream)
            do throws(Violation) { try muxer.countRefusal(at: now) } catch { end(.violation(error)) }
            return
        }
        channels[stream] = Channel(owner: .answering(MultistreamListener()), isInbound: true)
        setDeadline(now + ConnectionLimits.negotiationTimeout, of: stream)
    }

    private mutating func received(_ bytes: [UInt8], on stream: StreamID, at now: Moment) {
        guard let owner = channels[stream]?.owner else { return }
        switch owner {
        case .agreed(.application): events.append(.streamData(stream, bytes))
        case .agreed:
            muxer.consume(bytes.count, of: stream, at: now)
            receivedInternal(bytes, on: stream, at: now)
        case .proposing, .answering:
            channels[stream]?.input.append(bytes)
            negotiate(stream, at: now)
        }
    }

    /// Goes on with a stream's negotiation, and hands on the bytes behind its end.
    private mutating func negotiate(_ stream: StreamID, at now: Moment) {
        guard var channel = channels[stream] else { return }
        let before = channel.input.count
        var answer: [UInt8] = []
        var agreed: String?
        do throws(Violation) {
            switch channel.owner {
            case .proposing(var dialer, let purpose):
                let outcome = try dialer.receive(from: &channel.input, into: &answer)
                channel.owner = .proposing(dialer, purpose)
                switch outcome {
                case nil: break
                case .refused: return fail(stream, .refused)
                case .agreed(let name):
                    agreed = name
                    channel.owner = .agreed(purpose)
                }
            case .answering(var listener):
                agreed = try listener.receive(from: &channel.input, into: &answer) { isServed($0) }
                channel.owner = .answering(listener)
            case .agreed: return
            }
        } catch {
            if !channel.isInbound { return fail(stream, .violation(error)) }
            // Often application bytes sent behind a proposal that got `na`: let that answer reach the peer.
            if !answer.isEmpty { muxer.write(answer, to: stream) }
            muxer.finish(stream)
            channels[stream]?.owner = .agreed(.refused)
            return
        }
        muxer.consume(before - channel.input.count, of: stream, at: now)
        let rest = agreed == nil ? [] : channel.input.take(channel.input.count)
        channels[stream] = channel
        if !answer.isEmpty { muxer.write(answer, to: stream) }
        guard let agreed else { return }
        settle(stream, on: agreed, at: now)
        if !rest.isEmpty { received(rest, on: stream, at: now) }
    }

    private func isServed(_ name: String) -> Bool {
        switch name {
        case Self.identifyProtocol, Self.identifyPushProtocol, Self.pingProtocol: true
        default: configuration.protocols[name] != nil
        }
    }

    /// Starts what an agreed stream is for.
    private mutating func settle(_ stream: StreamID, on name: String, at now: Moment) {
        guard let channel = channels[stream] else { return }
        setDeadline(nil, of: stream)
        if case .agreed(let purpose) = channel.owner {
            switch purpose {
            case .application: events.append(.streamOpened(stream, protocol: name, isInbound: false))
            case .identify, .identifyAnswer, .ping:
                setDeadline(now + ConnectionLimits.exchangeTimeout, of: stream)
            case .pingAnswer, .refused: break
            }
            return
        }
        switch name {
        case Self.identifyProtocol:
            guard
                countInbound({ if case .identifyAnswer = $0 { true } else { false } })
                    < ConnectionLimits.identifyInboundMax
            else { return fail(stream, .refused) }
            channels[stream]?.owner = .agreed(.identifyAnswer)
            setDeadline(now + ConnectionLimits.exchangeTimeout, of: stream)
            muxer.write(ownIdentify(), to: stream)
            muxer.finish(stream)
        case Self.identifyPushProtocol:
            guard
                countInbound({ if case .identify = $0 { true } else { false } })
                    < ConnectionLimits.identifyInboundMax
            else { return fail(stream, .refused) }
            channels[stream]?.owner = .agreed(.identify(IdentifyCollector()))
            setDeadline(now + ConnectionLimits.exchangeTimeout, of: stream)
        case Self.pingProtocol:
            guard countInbound({ if case .pingAnswer = $0 { true } else { false } }) < ConnectionLimits.pingInboundMax
            else { return fail(stream, .refused) }
            channels[stream]?.owner = .agreed(.pingAnswer(ByteQueue()))
        default:
            channels[stream]?.owner = .agreed(.application)
            muxer.setPriority(configuration.protocols[name] ?? .control, of: stream)
            events.append(.streamOpened(stream, protocol: name, isInbound: true))
        }
    }

    private func countInbound(_ matches: (Channel.Purpose) -> Bool) -> Int {
        channels.values.count {
            if $0.isInbound, case .agreed(let purpose) = $0.owner { matches(purpose) } else { false }
        }
    }

    private func ownIdentify() -> [UInt8] {
        var record = configuration.ownRecord
        record.protocols =
            configuration.protocols.keys.sorted()
            + [Self.identifyProtocol, Self.identifyPushProtocol, Self.pingProtocol]
        record.observedAddress = configuration.remoteAddress
        return record.delimitedMessage(of: configuration.identity.peerID)
    }

    /// Bytes of identify and ping.
    private mutating func receivedInternal(_ bytes: [UInt8], on stream: StreamID, at now: Moment) {
        guard let peer, case .agreed(let purpose)? = channels[stream]?.owner else { return }
        switch purpose {
        case .application, .refused: break
        case .identifyAnswer: fail(stream, .refused)  // The asker of identify sends nothing.
        case .identify(var collector):
            guard collector.receive(bytes, from: peer) else { return fail(stream, .refused) }
            channels[stream]?.owner = .agreed(.identify(collector))
        case .ping(let expected, let received, let sentAt):
            let received = received + bytes
            guard expected.starts(with: received) else { return fail(stream, .refused) }
            guard received.count == expected.count else {
                channels[stream]?.owner = .agreed(.ping(expected: expected, received: received, sentAt: sentAt))
                return
            }
            // Half-close is enough for go; the reset frees the stream with peers that keep their half open.
            channels[stream] = nil
            muxer.reset(stream)
            pingStream = nil
            events.append(.pinged(now - sentAt))
        case .pingAnswer(var queue):
            queue.append(bytes)
            while queue.count >= ConnectionLimits.pingPayloadBytes {
                muxer.write(queue.take(ConnectionLimits.pingPayloadBytes), to: stream)
            }
            guard queuedBytes(of: stream) <= ConnectionLimits.pingQueueBytesMax else { return fail(stream, .refused) }
            channels[stream]?.owner = .agreed(.pingAnswer(queue))
        }
    }

    private mutating func remoteFinished(_ stream: StreamID) {
        guard let owner = channels[stream]?.owner else { return }
        switch owner {
        case .proposing: return fail(stream, .reset(code: 0))  // Before it agreed on the protocol.
        case .answering: muxer.finish(stream)
        case .agreed(.application): events.append(.streamFinished(stream))
        case .agreed(.identify(let collector)):
            events.append(.identified(collector.record))
            muxer.finish(stream)
            channels[stream]?.owner = .agreed(.identifyAnswer)
        case .agreed(.identifyAnswer), .agreed(.refused): break
        case .agreed(.ping): return fail(stream, .reset(code: 0))
        case .agreed(.pingAnswer): muxer.finish(stream)
        }
    }
}
