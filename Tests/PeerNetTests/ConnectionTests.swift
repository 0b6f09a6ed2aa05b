import Testing

@testable import PeerNet

/// Two connections joined in memory, with a virtual clock and a fixed delay.
struct Pair {
    var dialer: Connection
    var listener: Connection
    var now = Moment(nanoseconds: 1_000_000_000)
    var dialerEvents: [Connection.Event] = []
    var listenerEvents: [Connection.Event] = []
    /// Bytes of one piece that a side is given at a time; nil: everything at once.
    var chunk: Int?
    /// Everything either side sent.
    var sent: [UInt8] = []

    static let identityA = NoiseTests.identityA
    static let identityB = NoiseTests.identityB
    static let protocols: [String: StreamPriority] = ["/test/bulk": .bulk, "/test/control": .control]

    init(
        expectedPeer: PeerID? = identityB.peerID, dialerIdentity: Identity = identityA,
        listenerIdentity: Identity = identityB, chunk: Int? = nil
    ) {
        var record = IdentifyRecord()
        record.agentVersion = "atoll/test"
        record.listenAddresses = [try! Multiaddr("/ip4/192.0.2.1/tcp/4001")]
        dialer = Connection(
            configuration: .init(
                identity: dialerIdentity, isDialer: true, expectedPeer: expectedPeer, protocols: Self.protocols,
                ownRecord: record, remoteAddress: try! Multiaddr("/ip4/127.0.0.1/tcp/1")),
            secrets: .init(
                staticKey: [UInt8](repeating: 0x11, count: 32), ephemeralKey: [UInt8](repeating: 0x22, count: 32)),
            at: now)
        listener = Connection(
            configuration: .init(
                identity: listenerIdentity, isDialer: false, protocols: Self.protocols, ownRecord: record,
                remoteAddress: try! Multiaddr("/ip4/127.0.0.1/tcp/2")),
            secrets: .init(
                staticKey: [UInt8](repeating: 0x33, count: 32), ephemeralKey: [UInt8](repeating: 0x44, count: 32)),
            at: now)
        self.chunk = chunk
    }

    /// One exchange in both directions; false if nothing was to be sent.
    mutating func exchange() -> Bool {
        var toListener: [UInt8] = []
        var toDialer: [UInt8] = []
        dialer.produce(into: &toListener, bytesMax: 128 << 10, at: now)
        listener.produce(into: &toDialer, bytesMax: 128 << 10, at: now)
        now = now + .milliseconds(1)
        sent += toListener + toDialer
        for piece in pieces(toListener) { listener.receive(piece, at: now) }
        for piece in pieces(toDialer) { dialer.receive(piece, at: now) }
        dialerEvents += dialer.takeEvents()
        listenerEvents += listener.takeEvents()
        return !toListener.isEmpty || !toDialer.isEmpty
    }

    /// Exchanges until both sides have nothing to say.
    mutating func settle() { while exchange() {} }

    private func pieces(_ bytes: [UInt8]) -> [[UInt8]] {
        guard let chunk else { return bytes.isEmpty ? [] : [bytes] }
        return stride(from: 0, to: bytes.count, by: chunk).map { Array(bytes[$0..<min($0 + chunk, bytes.count)]) }
    }
}

@Suite struct ConnectionTests {
    @Test func twoConnectionsAuthenticateAndIdentifyEachOther() throws {
        var pair = Pair()
        pair.settle()
        #expect(pair.dialerEvents.first == .secured(Pair.identityB.peerID))
        #expect(pair.listenerEvents.first == .secured(Pair.identityA.peerID))
        for (events, observed) in [
            (pair.dialerEvents, "/ip4/127.0.0.1/tcp/2"), (pair.listenerEvents, "/ip4/127.0.0.1/tcp/1"),
        ] {
            guard case .identified(let record)? = events.last else {
                Issue.record("no identify in \(events)")
                continue
            }
            #expect(record.agentVersion == "atoll/test")
            #expect(record.listenAddresses.map(\.description) == ["/ip4/192.0.2.1/tcp/4001"])
            #expect(record.observedAddress?.description == observed)
            #expect(
                Set(record.protocols) == [
                    "/test/bulk", "/test/control", "/ipfs/id/1.0.0", "/ipfs/id/push/1.0.0", "/ipfs/ping/1.0.0",
                ])
        }
        #expect(pair.dialer.roundTrip == .milliseconds(2))
        #expect(pair.dialer.channels.isEmpty && pair.listener.channels.isEmpty)
        #expect(pair.dialer.muxer.streams.isEmpty && pair.listener.muxer.streams.isEmpty)
    }

    @Test(arguments: [1, 3, 1000])
    func chunkingDoesNotChangeWhatHappens(chunk: Int) throws {
        func run(_ chunk: Int?) -> (Pair, [UInt8]) {
            var pair = Pair(chunk: chunk)
            pair.settle()
            let stream = pair.dialer.openStream("/test/control", priority: .control, at: pair.now)!
            pair.dialer.write(Array(1...100), to: stream)
            pair.dialer.finish(stream)
            pair.settle()
            let received = pair.listenerEvents.flatMap { event -> [UInt8] in
                if case .streamData(_, let bytes) = event { bytes } else { [] }
            }
            return (pair, received)
        }
        func withoutData(_ events: [Connection.Event]) -> [Connection.Event] {
            events.filter { if case .streamData = $0 { false } else { true } }
        }
        let (whole, bytes) = run(nil)
        let (cut, cutBytes) = run(chunk)
        #expect(bytes == Array(1...100))
        #expect(cutBytes == bytes)
        #expect(withoutData(cut.dialerEvents) == withoutData(whole.dialerEvents))
        #expect(withoutData(cut.listenerEvents) == withoutData(whole.listenerEvents))
        #expect(cut.sent == whole.sent)
    }

    @Test func muxerIsNegotiatedByMultistreamIfNoiseDidNot() throws {
        var pair = Pair()
        pair.listener.offersMuxersEarly = false
        pair.settle()
        #expect(pair.dialerEvents.first == .secured(Pair.identityB.peerID))
        #expect(pair.listenerEvents.first == .secured(Pair.identityA.peerID))
        #expect(pair.dialerEvents.contains { if case .identified = $0 { true } else { false } })
        var cut = Pair(chunk: 1)
        cut.dialer.offersMuxersEarly = false
        cut.settle()
        #expect(cut.listenerEvents.first == .secured(Pair.identityA.peerID))
        #expect(cut.listenerEvents.contains { if case .identified = $0 { true } else { false } })
    }

    @Test func wrongPeerAndOwnIdentityAreRefused() throws {
        var wrong = Pair(expectedPeer: Pair.identityA.peerID)
        wrong.settle()
        let reason = CloseReason.wrongPeer(expected: Pair.identityA.peerID, found: Pair.identityB.peerID)
        #expect(wrong.dialerEvents == [.closed(reason)])
        #expect(wrong.listenerEvents.isEmpty, "the third message must not be sent to the wrong peer")
        var own = Pair(expectedPeer: nil, listenerIdentity: Pair.identityA)
        own.settle()
        #expect(own.dialerEvents == [.closed(.ownIdentity)])
    }

    @Test func pingIsAnsweredAndTimed() throws {
        var pair = Pair()
        pair.settle()
        pair.dialerEvents = []
        pair.dialer.ping(at: pair.now)
        pair.dialer.ping(at: pair.now)
        pair.settle()
        #expect(pair.dialerEvents == [.pinged(.milliseconds(2))])
        for _ in 0..<5 {
            pair.dialer.ping(at: pair.now)
            pair.settle()
        }
        #expect(pair.dialerEvents.count == 6)
        #expect(pair.listener.channels.isEmpty)
    }

    @Test func unknownProtocolsAreRefused() throws {
        var pair = Pair()
        pair.settle()
        let stream = pair.dialer.openStream("/test/none", priority: .control, at: pair.now)!
        pair.dialer.write([1, 2, 3], to: stream)
        pair.dialer.finish(stream)
        pair.settle()
        #expect(pair.dialerEvents.last == .streamReset(stream, .refused))
        #expect(!pair.listenerEvents.contains { if case .streamOpened = $0 { true } else { false } })
        #expect(pair.listener.channels.isEmpty && pair.dialer.channels.isEmpty)
    }

    /// Thirty streams in each direction, both halves used, with slow consumers and windows smaller than the bodies.
    @Test func megabytesOverManyStreamsArriveWholeAndInOrder() throws {
        var pair = Pair()
        pair.settle()
        var random = TestRandom(state: 3)
        let blob = random.bytes(300_000)
        var expected: [StreamID: Int] = [:]
        for index in 0..<30 {
            let fromDialer = pair.dialer.openStream("/test/bulk", priority: .bulk, windowBytes: 1 << 20, at: pair.now)!
            let fromListener = pair.listener.openStream("/test/bulk", priority: .bulk, at: pair.now)!
            let count = 1000 + index * 10_000
            for (side, stream) in [(true, fromDialer), (false, fromListener)] {
                expected[stream] = count
                if side {
                    pair.dialer.write(Array(blob.prefix(count)), to: stream)
                    pair.dialer.finish(stream)
                } else {
                    pair.listener.write(Array(blob.prefix(count)), to: stream)
                    pair.listener.finish(stream)
                }
            }
        }
        var received: [StreamID: [UInt8]] = [:]
        var replies: [StreamID: [UInt8]] = [:]
        var finished: Set<StreamID> = []
        var rounds = 0
        while pair.exchange() || !pair.dialerEvents.isEmpty || !pair.listenerEvents.isEmpty {
            rounds += 1
            try #require(rounds < 10_000)
            let happened = (pair.dialerEvents, pair.listenerEvents)
            pair.dialerEvents = []
            pair.listenerEvents = []
            for (atDialer, events) in [(true, happened.0), (false, happened.1)] {
                for event in events {
                    switch event {
                    case .streamData(let stream, let bytes):
                        let isOwn = stream.raw % 2 == (atDialer ? 1 : 0)
                        if isOwn {
                            replies[stream, default: []] += bytes
                        } else {
                            received[stream, default: []] += bytes
                        }
                        if atDialer {
                            pair.dialer.consume(bytes.count, of: stream, at: pair.now)
                        } else {
                            pair.listener.consume(bytes.count, of: stream, at: pair.now)
                        }
                    case .streamFinished(let stream):
                        let isOwn = stream.raw % 2 == (atDialer ? 1 : 0)
                        if isOwn {
                            finished.insert(stream)
                        } else {
                            // Answer with the reversed tail once everything is here.
                            let reply = Array(received[stream, default: []].suffix(500).reversed())
                            if atDialer {
                                pair.dialer.write(reply, to: stream)
                                pair.dialer.finish(stream)
                            } else {
                                pair.listener.write(reply, to: stream)
                                pair.listener.finish(stream)
                            }
                        }
                    case .streamReset(let stream, let failure): Issue.record("\(stream) \(failure)")
                    case .closed(let reason): Issue.record("\(reason)")
                    case .secured, .identified, .streamOpened, .streamClosed, .streamWritable, .pinged: break
                    }
                }
            }
        }
        #expect(finished.count == 60)
        for (stream, count) in expected {
            #expect(received[stream] == Array(blob.prefix(count)))
            #expect(replies[stream] == Array(blob.prefix(count).suffix(500).reversed()))
        }
        #expect(pair.dialer.channels.isEmpty && pair.listener.channels.isEmpty)
        #expect(pair.dialer.muxer.streams.isEmpty && pair.listener.muxer.streams.isEmpty)
    }

    @Test func aReaderThatDoesNotConsumeStopsTheSender() throws {
        var pair = Pair()
        pair.settle()
        let stream = pair.dialer.openStream("/test/bulk", priority: .bulk, at: pair.now)!
        pair.dialer.write([UInt8](repeating: 5, count: 1 << 20), to: stream)
        pair.listenerEvents = []
        pair.settle()
        let arrived = pair.listenerEvents.reduce(0) { sum, event in
            if case .streamData(_, let bytes) = event { sum + bytes.count } else { sum }
        }
        // The negotiation's bytes were consumed, too few for an update of credit.
        #expect(arrived <= 262_144 && arrived > 262_000)
        // Other streams still pass.
        pair.dialer.ping(at: pair.now)
        pair.settle()
        #expect(pair.dialerEvents.last == .pinged(.milliseconds(2)))
    }

    @Test func deadlinesEndSlowUpgradesSilentPeersAndSlowNegotiations() throws {
        var slow = Pair()
        #expect(slow.listener.nextDeadline == slow.now + .seconds(15))
        slow.listener.receive([0x13], at: slow.now + .seconds(14))
        #expect(slow.listener.nextDeadline == slow.now + .seconds(15))
        slow.listener.advance(to: slow.now + .seconds(15))
        #expect(slow.listener.takeEvents() == [.closed(.upgradeTimedOut)])
        #expect(slow.listener.nextDeadline == nil)

        var silent = Pair()
        silent.settle()
        silent.dialerEvents = []
        var now = silent.now
        for _ in 0..<10 {
            guard let deadline = silent.dialer.nextDeadline else { break }
            now = deadline
            silent.dialer.advance(to: now)
            var bytes: [UInt8] = []
            silent.dialer.produce(into: &bytes, bytesMax: 1 << 16, at: now)
        }
        #expect(silent.dialer.takeEvents() == [.closed(.silent)])
        #expect(now - silent.now <= ConnectionLimits.silenceTimeout)

        var stuck = Pair()
        stuck.settle()
        let stream = stuck.dialer.openStream("/test/bulk", priority: .bulk, at: stuck.now)!
        var bytes: [UInt8] = []
        stuck.dialer.produce(into: &bytes, bytesMax: 1 << 16, at: stuck.now)
        stuck.dialer.advance(to: stuck.now + .seconds(10))
        #expect(stuck.dialer.takeEvents() == [.streamReset(stream, .timedOut)])
        #expect(!stuck.dialer.isClosed)
    }

    @Test func closingSaysGoodbyeAfterControlMessages() throws {
        var pair = Pair()
        pair.settle()
        let stream = pair.dialer.openStream("/test/control", priority: .control, at: pair.now)!
        pair.dialer.write([9], to: stream)
        pair.dialer.close("done")
        pair.listenerEvents = []
        pair.settle()
        #expect(pair.dialerEvents.last == .closed(.local("done")))
        #expect(
            pair.listenerEvents.suffix(2) == [.streamData(StreamID(stream.raw), [9]), .closed(.goneAway(code: 0))])
        #expect(!pair.dialer.hasOutput() && !pair.listener.hasOutput())
        #expect(pair.dialer.openStream("/test/control", priority: .control, at: pair.now) == nil)
    }

    /// Every truncation of what a dialer sends first, and every changed byte: never a trap, never another peer.
    @Test func damagedUpgradesNeverTrapOrAuthenticate() throws {
        var reference = Pair()
        reference.settle()
        // What the dialer sends until it is secured, in one piece per turn.
        var pair = Pair()
        var turns: [[UInt8]] = []
        for _ in 0..<4 {
            var bytes: [UInt8] = []
            pair.dialer.produce(into: &bytes, bytesMax: 1 << 16, at: pair.now)
            turns.append(bytes)
            pair.listener.receive(bytes, at: pair.now)
            var answer: [UInt8] = []
            pair.listener.produce(into: &answer, bytesMax: 1 << 16, at: pair.now)
            pair.dialer.receive(answer, at: pair.now)
        }
        let whole = turns.flatMap { $0 }
        for index in whole.indices {
            var changed = whole
            changed[index] ^= 0x21
            for bytes in [changed, Array(whole.prefix(index))] {
                var listener = Pair().listener
                listener.receive(bytes, at: pair.now)
                var output: [UInt8] = []
                listener.produce(into: &output, bytesMax: 1 << 16, at: pair.now)
                for event in listener.takeEvents() {
                    if case .secured(let peer) = event { #expect(peer == Pair.identityA.peerID) }
                }
            }
        }
    }

    @Test func hostileFramesBehindTheHandshakeNeverTrap() throws {
        var random = TestRandom(state: 11)
        var secured = Pair()
        secured.settle()
        for _ in 0..<200 {
            var pair = secured
            // The dialer's own records carry random frames, so that they pass the encryption.
            for _ in 0..<10 {
                var frames: [UInt8] = []
                let kind = YamuxHeader.Kind(rawValue: UInt8.random(in: 0...3, using: &random))!
                let flags = YamuxHeader.Flags(rawValue: UInt16.random(in: 0...15, using: &random))
                let body = random.bytes(Int.random(in: 0...100, using: &random))
                let id = UInt32.random(in: 0...9, using: &random)
                YamuxHeader(kind, flags, streamID: id, length: UInt32(kind == .data ? body.count : 3)).append(
                    to: &frames)
                if kind == .data { frames += body }
                pair.dialer.sendRaw(frames)
                guard pair.exchange() else { break }
            }
        }
    }
}
