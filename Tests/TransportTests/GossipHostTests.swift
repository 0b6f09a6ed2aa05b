import PeerNet
import Testing
import Transport

@testable import Transport

@Suite("Gossip over sockets", .timeLimit(.minutes(1)))
struct GossipHostTests {
    private func gossiping(_ seed: UInt8) async -> PeerHost {
        let host = makeHost(seed)
        await host.enableGossip(firstSequence: 1)
        return host
    }

    @Test func messagesOfAFollowedTopicArriveOnceAndInOrder() async throws {
        let (left, right) = (await gossiping(1), await gossiping(2))
        try await join(left, right)
        let topic = try #require(Topic("reef"))
        try await right.subscribe(topic)
        while await left.gossipPeers(of: topic).followers != [right.peerID] { await Task.yield() }
        // The second is larger than one RPC of small things may be.
        let messages = [[UInt8](repeating: 1, count: 1024), [UInt8](repeating: 2, count: 900 << 10), [3]]
        for message in messages { try await left.publish(message, to: topic) }
        for message in messages {
            let delivery = try #require(await right.delivery())
            #expect(delivery.data == message)
            #expect(delivery.topic == topic)
            #expect(delivery.id.author == left.peerID)
            await right.judge(delivery.id, .accept)
        }
        #expect(await stop(left, right))
    }

    @Test func aMessageCrossesAPeerOnlyAfterItsVerdict() async throws {
        let (left, middle, right) = (await gossiping(1), await gossiping(2), await gossiping(3))
        try await join(left, middle)
        let address = try #require(await middle.boundAddresses.first)
        _ = try await right.start()
        _ = try await right.connect(to: [address.encapsulating(p2p: middle.peerID)])
        let topic = try #require(Topic("reef"))
        for host in [left, middle, right] { try await host.subscribe(topic) }
        while await middle.gossipPeers(of: topic).mesh.count < 2 { await Task.yield() }
        while await right.gossipPeers(of: topic).mesh.isEmpty { await Task.yield() }
        try await left.publish([1], to: topic)
        let bad = try #require(await middle.delivery())
        await middle.judge(bad.id, .reject)
        #expect(await middle.gossipScore(of: left.peerID) < 0)
        try await left.publish([2], to: topic)
        let good = try #require(await middle.delivery())
        await middle.judge(good.id, .accept)
        let arrived = try #require(await right.delivery())
        #expect(arrived.data == [2])
        #expect(arrived.source == middle.peerID)
        #expect(arrived.id.author == left.peerID)
        #expect(await stop(left, middle, right))
    }

    @Test func aPeerWhoseMessagesAreInvalidIsDisconnected() async throws {
        let (left, right) = (await gossiping(1), await gossiping(2))
        try await join(left, right)
        let topic = try #require(Topic("reef"))
        try await right.subscribe(topic)
        while await left.gossipPeers(of: topic).followers.isEmpty { await Task.yield() }
        for index in 0..<8 { try await left.publish([UInt8(index)], to: topic) }
        var reason: String?
        while let event = await right.next() {
            if case .gossip(let delivery) = event { await right.judge(delivery.id, .reject) }
            if case .disconnected(let peer, let text) = event, peer == left.peerID {
                reason = text
                break
            }
        }
        #expect(reason?.contains("misbehaves in gossip") == true)
        #expect(await stop(left, right))
    }

    @Test func streamsThatEndAreOpenedAgainHoweverOften() async throws {
        let (left, right) = (await gossiping(1), await gossiping(2))
        try await join(left, right)
        while await !left.hasGossip(with: right.peerID) { await Task.yield() }
        while await !right.hasGossip(with: left.peerID) { await Task.yield() }
        for count in 1...8 {
            let step = await left.loseAndReopenGossip(with: right.peerID)
            #expect(step.losses == count)
            #expect(!step.isBackSoon && step.isBackLater)
        }
        // One that lasted counts for itself alone.
        #expect(await left.loseAndReopenGossip(with: right.peerID, afterLifeOf: .seconds(61)).losses == 1)
        // The peer's own stream shows that it wants gossip.
        await right.loseAndReopenGossip(with: left.peerID)
        while await left.gossipLosses(of: right.peerID) != nil { await Task.yield() }
        #expect(await stop(left, right))
    }

    @Test func aStreamGoesOnWhereItsConnectionEnded() async throws {
        let (left, right) = (await gossiping(1), await gossiping(2))
        try await join(left, right)
        while await !left.hasGossip(with: right.peerID) { await Task.yield() }
        let address = try #require(await left.peers().first?.remoteAddress)
        #expect(await left.dialAgain(address, of: right.peerID, asParallel: true))
        await left.dropFirstLink(of: right.peerID)
        #expect((await left.gossipLosses(of: right.peerID) ?? 0) == 0, "the connection's end is not the stream's fault")
        while await !left.hasGossip(with: right.peerID) { await Task.yield() }
        #expect(await stop(left, right))
    }

    @Test func identifyCarriesASignedRecordOfTheAddresses() async throws {
        let (left, right) = (makeHost(1), makeHost(2))
        try await join(left, right)
        let record = await left.first { if case .identified(_, let record) = $0 { record } else { nil } }
        let signed = try SignedPeerRecord(envelope: #require(record?.signedRecord))
        #expect(signed.peer == right.peerID)
        #expect(signed.addresses == record?.listenAddresses)
        #expect(await stop(left, right))
    }
}

extension PeerHost {
    /// A peer's gossip score.
    func gossipScore(of peer: PeerID) -> Double { gossip?.machine.score(of: peer) ?? 0 }

    /// Whether there is a stream in each direction.
    func hasGossip(with peer: PeerID) -> Bool {
        let isInbound = entries[peer]?.links.contains { link in
            link.uses.values.contains { if case .gossipIn = $0 { true } else { false } }
        }
        return gossip?.streams[peer] != nil && isInbound == true
    }

    /// Streams in a row that were lost; nil if there is nothing to remember.
    func gossipLosses(of peer: PeerID) -> Int? { gossip?.losses[peer]?.count }

    /// Ends this host's stream to a peer as a reset would after a life of `age`, and opens it again when it may be.
    @discardableResult
    func loseAndReopenGossip(
        with peer: PeerID, afterLifeOf age: Duration = .zero
    ) -> (losses: Int, isBackSoon: Bool, isBackLater: Bool) {
        guard let stream = gossip?.streams[peer] else { return (0, false, false) }
        gossip?.streams[peer] = GossipService.Stream(
            link: stream.link, id: stream.id, openedAt: Loop.now + (.zero - age), queuedBytes: 0)
        stream.link.uses[stream.id] = nil
        stream.link.connection.reset(stream.id)
        scheduleFlush(stream.link)
        gossipStreamEnded(on: stream.link, isRefused: false)
        let losses = gossipLosses(of: peer) ?? 0
        reopenGossip(at: Loop.now + .seconds(1))
        let isBackSoon = gossip?.streams[peer] != nil
        reopenGossip(at: Loop.now + .seconds(33))
        return (losses, isBackSoon, gossip?.streams[peer] != nil)
    }

    /// The next gossip message.
    func delivery() async -> Gossipsub.Delivery? {
        await first { if case .gossip(let delivery) = $0 { delivery } else { nil } }
    }
}
