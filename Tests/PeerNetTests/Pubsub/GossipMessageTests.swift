import Testing

@testable import PeerNet

/// Rules of publishing, receiving, forwarding and of IHAVE, IWANT and IDONTWANT.
@Suite struct GossipMessageTests {
    private func following(_ count: Int, _ change: (inout Gossipsub.Configuration) -> Void = { _ in }) throws
        -> (harness: GossipHarness, peers: [PeerID])
    {
        var harness = GossipHarness(change)
        try harness.node.subscribe(trainingTopic, at: harness.now)
        let peers = (1...count).map { harness.connect($0) }
        for peer in peers.prefix(12) { harness.receive(controlRPC(PubsubRPC.Entry.graft(trainingTopic)), from: peer) }
        _ = harness.take()
        return (harness, peers)
    }

    // MARK: Publishing

    @Test func ownMessagesFloodToEveryTrustedPeer() throws {
        var (harness, peers) = try following(20)
        harness.node.setApplicationScore(peers[3], -49)
        harness.node.setApplicationScore(peers[4], -51)
        let id = try harness.node.publish([1], to: trainingTopic, at: harness.now)
        #expect(harness.take().receivers(of: id) == peers.filter { $0 != peers[4] }.sorted())
        #expect(id == MessageID(author: harness.identity.peerID, sequence: 1))
        let next = try harness.node.publish([1], to: trainingTopic, at: harness.now)
        #expect(next.sequence == 2)
    }

    @Test func withoutFloodingTheyGoToMeshDirectAndFloodsubPeers() throws {
        var (harness, peers) = try following(20) {
            $0.parameters.floodPublish = false
            $0.directPeers = [testIdentity(30).peerID]
        }
        let direct = harness.connect(30)
        let flood = harness.connect(31, version: .floodsub)
        let id = try harness.node.publish([1], to: trainingTopic, at: harness.now)
        #expect(harness.take().receivers(of: id) == (peers.prefix(12) + [direct, flood]).sorted())
    }

    @Test func topicsThatAreNotFollowedGetAFanout() throws {
        var harness = GossipHarness { $0.parameters.floodPublish = false }
        for index in 1...20 { harness.connect(index) }
        _ = harness.take()
        let id = try harness.node.publish([1], to: trainingTopic, at: harness.now)
        let first = harness.take().receivers(of: id)
        #expect(first.count == 6)
        let second = try harness.node.publish([2], to: trainingTopic, at: harness.now)
        #expect(harness.take().receivers(of: second) == first)
        // Its peers are the first of the mesh, should the topic be followed.
        var other = harness
        try other.node.subscribe(trainingTopic, at: other.now)
        #expect(other.node.meshPeers(of: trainingTopic) == first)
        harness.pass(.seconds(61))
        #expect(harness.node.fanout.isEmpty)
    }

    @Test func messagesThatAreTooLongAreRefused() {
        var harness = GossipHarness()
        let most = harness.node.parameters.dataBytesMax
        #expect(throws: Gossipsub.Refusal.dataTooLong(bytes: most + 1, bytesMax: most)) {
            try harness.node.publish([UInt8](repeating: 0, count: most + 1), to: trainingTopic, at: harness.now)
        }
        #expect(throws: Never.self) {
            try harness.node.publish([UInt8](repeating: 0, count: most), to: trainingTopic, at: harness.now)
        }
    }

    // MARK: Receiving

    @Test func aMessageIsDeliveredOnceAndPassedOnWhenAccepted() throws {
        var (harness, peers) = try following(6)
        let message = harness.message(by: 2)
        harness.receive(message.publishField, from: peers[0])
        harness.receive(message.publishField, from: peers[2])
        let delivered = harness.take()
        #expect(
            delivered.deliveries == [
                .init(id: message.id, topic: trainingTopic, data: message.data!, source: peers[0])
            ])
        #expect(delivered.rpcs.isEmpty)
        harness.node.validated(message.id, .accept, at: harness.now)
        harness.node.validated(message.id, .accept, at: harness.now)
        // Neither to its source and author, nor to whom it came from meanwhile.
        #expect(harness.take().receivers(of: message.id) == [peers[3], peers[4], peers[5]].sorted())
        harness.receive(message.publishField, from: peers[4])
        #expect(harness.take().deliveries.isEmpty)
        #expect(harness.node.score(of: peers[0]) == 0.5)
        #expect(harness.node.score(of: peers[2]) == 0)
    }

    @Test func messagesOfOurOwnAndOfOtherTopicsAreDropped() throws {
        var (harness, peers) = try following(3)
        harness.receive(harness.message(by: 0).publishField, from: peers[0])
        harness.receive(harness.message(by: 2, topic: Topic("other")!).publishField, from: peers[0])
        #expect(harness.take().deliveries.isEmpty)
        #expect(harness.node.score(of: peers[0]) == 0)
    }

    @Test func rejectionPunishesAllWhoPassedItOn() throws {
        var (harness, peers) = try following(4)
        let message = harness.message(by: 2)
        harness.receive(message.publishField, from: peers[0])
        harness.receive(message.publishField, from: peers[2])
        harness.node.validated(message.id, .reject, at: harness.now)
        harness.receive(message.publishField, from: peers[3])
        #expect([0, 2, 3].map { harness.node.score(of: peers[$0]) } == [-10, -10, -10])
        #expect(harness.node.score(of: peers[1]) == 0)
        #expect(harness.take().receivers(of: message.id).isEmpty)
    }

    @Test func ignoringPunishesNobody() throws {
        var (harness, peers) = try following(4)
        let message = harness.message(by: 2)
        harness.receive(message.publishField, from: peers[0])
        harness.node.validated(message.id, .ignore, at: harness.now)
        harness.receive(message.publishField, from: peers[3])
        let actions = harness.take()
        #expect(actions.deliveries.count == 1)
        #expect(actions.receivers(of: message.id).isEmpty)
        #expect(peers.allSatisfy { harness.node.score(of: $0) == 0 })
    }

    @Test func aForgedCopyDoesNotSuppressTheRealMessage() throws {
        var (harness, peers) = try following(4)
        let message = harness.message(by: 2, bytes: 2000)
        let forged = PubsubMessage(
            author: message.author, sequence: message.sequence, topic: trainingTopic, data: [9],
            signature: message.signature)
        harness.receive(forged.publishField, from: peers[0])
        let first = harness.take()
        #expect(first.deliveries.isEmpty && first.rpcs.isEmpty, "no IDONTWANT for what is not verified either")
        #expect(harness.node.score(of: peers[0]) == -10)
        harness.receive(message.publishField, from: peers[2])
        #expect(harness.take().deliveries.count == 1)
    }

    @Test func spamEndsBelowTheGraylistThreshold() throws {
        var (harness, peers) = try following(4)
        var rpc: [UInt8] = []
        for _ in 0..<100 {
            let message = harness.message(by: 2)
            rpc +=
                PubsubMessage(
                    author: message.author, sequence: message.sequence, topic: trainingTopic, data: [],
                    signature: message.signature
                ).publishField
        }
        harness.receive(rpc, from: peers[0])
        let actions = harness.take()
        #expect(actions.disconnected == [peers[0]])
        #expect(harness.node.score(of: peers[0]) == -90, "the rest was not looked at")
        #expect(!harness.node.meshPeers(of: trainingTopic).contains(peers[0]))
        // Nothing of it is read and nothing is sent to it; coming back does not help.
        harness.receive(harness.message(by: 1).publishField, from: peers[0])
        let id = try harness.node.publish([1], to: trainingTopic, at: harness.now)
        let after = harness.take()
        #expect(after.deliveries.isEmpty && !after.receivers(of: id).contains(peers[0]))
        harness.node.peerDisconnected(peers[0], at: harness.now)
        harness.connect(1)
        #expect(harness.take().disconnected == [peers[0]])
    }

    @Test func whatDoesNotDecodeCostsTheStreamAndSomeReputation() throws {
        var (harness, peers) = try following(2)
        harness.receive([0x0a, 0xff], from: peers[0])
        #expect(harness.take().others == [.resetStream(peers[0], .notProtobuf)])
        #expect(harness.node.scores.entries[peers[0]]?.behaviour == 1)
        for _ in 0..<10 { harness.receive([0x0a, 0xff], from: peers[0]) }
        #expect(harness.take().disconnected == [peers[0]])
    }

    @Test func uselessMessagesWithoutEndArePunished() throws {
        var (harness, peers) = try following(3)
        let message = harness.message(by: 2)
        harness.receive(message.publishField, from: peers[0])
        harness.node.validated(message.id, .accept, at: harness.now)
        var disconnected: [PeerID] = []
        let many = [[UInt8]](repeating: message.publishField, count: 2000).flatMap { $0 }
        for _ in 0..<10 {
            harness.receive(many, from: peers[0])
            disconnected += harness.heartbeat().disconnected
        }
        #expect(disconnected == [peers[0]])
    }

    @Test func messagesThatWaitForAVerdictAreBoundedPerPeer() throws {
        var (harness, peers) = try following(3)
        for _ in 0..<PubsubLimits.pendingPerPeerMax + 10 {
            harness.receive(harness.message(by: 5).publishField, from: peers[0])
        }
        let late = harness.message(by: 5)
        harness.receive(late.publishField, from: peers[0])
        #expect(harness.take().deliveries.count == PubsubLimits.pendingPerPeerMax)
        #expect(harness.node.seen.status(of: late.id) == nil, "it can still come from others")
        harness.receive(late.publishField, from: peers[1])
        #expect(harness.take().deliveries.map(\.id) == [late.id])
        #expect(harness.node.score(of: peers[0]) == 0)
        // Verdicts that never come are given up with the ids.
        harness.pass(.seconds(122))
        #expect(harness.node.pending.isEmpty && harness.node.pendingBytes == 0 && harness.node.seen.count == 0)
    }

    // MARK: IHAVE and IWANT

    @Test func gossipGoesToSomePeersOutsideTheMesh() throws {
        var (harness, peers) = try following(60)
        harness.node.setApplicationScore(peers[50], -11)
        let message = harness.message(by: 1)
        harness.receive(message.publishField, from: peers[0])
        harness.node.validated(message.id, .accept, at: harness.now)
        _ = harness.take()
        for window in 0..<3 {
            let told = harness.heartbeat().rpcs.filter { !$0.value.have.isEmpty }
            #expect(told.count == 11, "a quarter of 47 eligible ones, window \(window)")
            #expect(told.values.allSatisfy { $0.have == [.init(topic: trainingTopic, ids: [message.id])] })
            #expect(Set(told.keys).isDisjoint(with: peers.prefix(12) + [peers[50]]))
        }
        #expect(harness.heartbeat().rpcs.isEmpty)
    }

    @Test func moreIDsThanFitAreSharedOutAmongPeers() throws {
        var (harness, peers) = try following(18)
        let ids = (0..<5000).map { MessageID(author: testIdentity(90).peerID, sequence: UInt64($0)) }
        for id in ids { harness.node.cache.insert(id, topic: trainingTopic, publishField: [0x12, 0x00]) }
        let actions = harness.heartbeat()
        let told = actions.rpcs.mapValues { $0.have.flatMap(\.ids) }
        #expect(told.keys.sorted() == peers[12...].sorted())
        #expect(told.values.allSatisfy { Set($0).count == 2800 })
        #expect(Set(told.values.joined()).count > 4900)
        #expect(actions.sentBytes.values.allSatisfy { $0.count <= 10 }, "others accept ten IHAVE messages")
    }

    @Test func unseenIDsAreAskedForAndBrokenPromisesCharged() throws {
        var (harness, peers) = try following(4)
        let seen = harness.message(by: 2)
        harness.receive(seen.publishField, from: peers[1])
        let unseen = (0..<5).map { _ in harness.message(by: 3) }
        let own = MessageID(author: harness.identity.peerID, sequence: 99)
        let ids = [seen.id, own] + unseen.map(\.id) + unseen.map(\.id)
        harness.receive(controlRPC(PubsubRPC.Entry.have(trainingTopic, ids)), from: peers[0])
        harness.receive(controlRPC(PubsubRPC.Entry.have(Topic("other")!, [unseen[0].id])), from: peers[1])
        let asked = harness.take().rpcs
        #expect(asked.keys.sorted() == [peers[0]])
        #expect(asked[peers[0]]?.want.sorted() == unseen.map(\.id).sorted())
        #expect(harness.node.promises.count == 1)
        harness.pass(.seconds(4))
        #expect(harness.node.promises.count == 0)
        #expect((harness.node.scores.entries[peers[0]]?.behaviour ?? 0) > 0.9)
    }

    @Test func aPromiseEndsWhoeverBringsTheMessage() throws {
        var (harness, peers) = try following(4)
        let message = harness.message(by: 3)
        let have = controlRPC(PubsubRPC.Entry.have(trainingTopic, [message.id]))
        harness.receive(have, from: peers[0])
        harness.receive(have, from: peers[1])
        #expect(harness.node.promises.count == 2)
        harness.receive(message.publishField, from: peers[3])
        #expect(harness.node.promises.count == 0)
        harness.pass(.seconds(5))
        #expect(harness.node.scores.entries[peers[0]]?.behaviour == 0)
    }

    @Test func aNodeThatSleptBlamesNobody() throws {
        var (harness, peers) = try following(4)
        harness.receive(controlRPC(PubsubRPC.Entry.have(trainingTopic, [harness.message(by: 3).id])), from: peers[0])
        harness.now = harness.now + .seconds(10)
        harness.node.advance(to: harness.now)
        #expect(harness.node.promises.count == 0)
        #expect(harness.node.scores.entries[peers[0]]?.behaviour == 0)
    }

    @Test func advertisementsBeyondTheLimitsAreIgnored() throws {
        var (harness, peers) = try following(4)
        func have(_ ids: [MessageID]) -> [UInt8] { controlRPC(PubsubRPC.Entry.have(trainingTopic, ids)) }
        for _ in 0..<20 { harness.receive(have([harness.message(by: 3).id]), from: peers[0]) }
        #expect(harness.take().rpcs[peers[0]]?.want.count == 10)
        let author = testIdentity(8).peerID
        for part in 0..<3 {
            let ids = (0..<3000).map { MessageID(author: author, sequence: UInt64(part * 3000 + $0)) }
            harness.receive(have(ids), from: peers[1])
        }
        let asked = harness.take()
        #expect(asked.rpcs[peers[1]]?.want.count == 5000)
        #expect(asked.sentBytes[peers[1]]?.allSatisfy { $0 <= 16 << 10 } == true, "rust takes 16 KiB of control")
        harness.node.setApplicationScore(peers[2], -11)
        harness.receive(have([harness.message(by: 3).id]), from: peers[2])
        #expect(harness.take().rpcs.isEmpty)
        // A new heartbeat, new counts.
        harness.heartbeat()
        harness.receive(have([harness.message(by: 3).id]), from: peers[0])
        #expect(harness.take().rpcs[peers[0]]?.want.count == 1)
    }

    @Test func aMessageIsSentThreeTimesToOnePeerAndThenCharged() throws {
        var (harness, peers) = try following(4)
        let id = try harness.node.publish([1], to: trainingTopic, at: harness.now)
        _ = harness.take()
        let want = controlRPC(PubsubRPC.Entry.want([id, MessageID(author: peers[0], sequence: 1)]))
        for _ in 0..<3 {
            harness.receive(want, from: peers[0])
            #expect(harness.take().receivers(of: id) == [peers[0]])
        }
        #expect(harness.node.scores.entries[peers[0]]?.behaviour == 0)
        harness.receive(want, from: peers[0])
        #expect(harness.take().rpcs.isEmpty)
        #expect(harness.node.scores.entries[peers[0]]?.behaviour == 1)
        harness.receive(want, from: peers[1])
        #expect(harness.take().receivers(of: id) == [peers[1]])
        harness.node.setApplicationScore(peers[2], -11)
        harness.receive(want, from: peers[2])
        #expect(harness.take().rpcs.isEmpty)
        harness.pass(.seconds(5))
        harness.receive(want, from: peers[3])
        #expect(harness.take().rpcs.isEmpty, "five heartbeats later it is forgotten")
    }

    @Test func requestsWithoutEndForWhatIsNotThereEndThePeer() throws {
        var (harness, peers) = try following(4)
        let ids = (0..<5000).map { MessageID(author: peers[1], sequence: UInt64($0)) }
        let want = controlRPC(PubsubRPC.Entry.want(ids))
        harness.receive(want, from: peers[0])
        #expect(harness.node.scores.entries[peers[0]]?.behaviour == 0)
        for _ in 0..<10 { harness.receive(want, from: peers[0]) }
        #expect(harness.take().disconnected == [peers[0]])
    }

    // MARK: IDONTWANT

    @Test func largeMessagesAreAnnouncedToTheMeshAtOnce() throws {
        var (harness, peers) = try following(5)
        let old = harness.connect(40, version: .gossipsub11)
        harness.receive(controlRPC(PubsubRPC.Entry.graft(trainingTopic)), from: old)
        _ = harness.take()
        harness.receive(harness.message(by: 9, bytes: 1023).publishField, from: peers[0])
        #expect(harness.take().rpcs.isEmpty)
        let message = harness.message(by: 2, bytes: 1024)
        harness.receive(message.publishField, from: peers[0])
        let told = harness.take().rpcs
        #expect(told.keys.sorted() == [peers[2], peers[3], peers[4]].sorted())
        #expect(told.values.allSatisfy { $0.dontWant == [message.id] })
    }

    @Test func peersGetNothingThatTheyDoNotWant() throws {
        var (harness, peers) = try following(5)
        let message = harness.message(by: 2, bytes: 2000)
        harness.receive(message.publishField, from: peers[0])
        harness.receive(controlRPC(PubsubRPC.Entry.dontWant([message.id])), from: peers[2])
        _ = harness.take()
        harness.node.validated(message.id, .accept, at: harness.now)
        #expect(harness.take().receivers(of: message.id) == [peers[3], peers[4]].sorted())
        let want = controlRPC(PubsubRPC.Entry.want([message.id]))
        harness.receive(want, from: peers[2])
        #expect(harness.take().rpcs.isEmpty)
        // Forgotten after three heartbeats; ids are bounded meanwhile.
        harness.pass(.seconds(3))
        #expect(harness.node.peers[peers[2]]?.unwanted.isEmpty == true)
        let ids = (0..<5000).map { MessageID(author: peers[0], sequence: UInt64($0)) }
        harness.receive(controlRPC(PubsubRPC.Entry.dontWant(ids)), from: peers[2])
        #expect(harness.node.peers[peers[2]]?.unwanted.count == PubsubLimits.unwantedMax)
    }

    @Test func aQueuedCopyIsWithdrawnWhenThePeerHasTheMessage() throws {
        var (harness, peers) = try following(3)
        harness.writes = false
        // Fill what is in flight to the peer, so that the next message waits.
        for _ in 0..<3 {
            try harness.node.publish([UInt8](repeating: 1, count: 60_000), to: trainingTopic, at: harness.now)
        }
        _ = harness.take()
        let message = harness.message(by: 2, bytes: 2000)
        harness.receive(message.publishField, from: peers[0])
        harness.node.validated(message.id, .accept, at: harness.now)
        #expect(harness.node.peers[peers[2]]?.queue.count(in: .forwarded) == 1)
        harness.receive(controlRPC(PubsubRPC.Entry.dontWant([message.id])), from: peers[2])
        #expect(harness.node.peers[peers[2]]?.queue.count(in: .forwarded) == 0)
    }

    // MARK: Slow peers

    @Test func aPeerThatDoesNotReadHoldsABoundedQueue() throws {
        var (harness, peers) = try following(3)
        harness.writes = false
        for _ in 0..<100 {
            let message = harness.message(by: 9, bytes: 50_000)
            harness.receive(message.publishField, from: peers[0])
            harness.node.validated(message.id, .accept, at: harness.now)
            let state = try #require(harness.node.peers[peers[2]])
            #expect(state.queue.cost <= PubsubLimits.queueBytesMax)
            #expect(state.inFlightBytes <= PubsubLimits.inFlightBytesMax + 61_000)
        }
        let own = try harness.node.publish([UInt8](repeating: 1, count: 900_000), to: trainingTopic, at: harness.now)
        _ = harness.take()
        // Reading again, it gets our own message before the forwarded ones that are left.
        harness.writes = true
        harness.node.written(1 << 20, to: peers[2])
        let rpc = try #require(harness.take().rpcs[peers[2]])
        #expect(rpc.messages.first?.id == own)
        #expect(rpc.messages.count > 5 && rpc.messages.count < 40)
        // One that makes us answer without reading is given up.
        harness.writes = false
        harness.node.unsubscribe(trainingTopic, at: harness.now)
        try harness.node.subscribe(trainingTopic, at: harness.now)
        var gone: [PeerID] = []
        for _ in 0..<40_000 where gone.isEmpty {
            harness.node.unsubscribe(trainingTopic, at: harness.now)
            try harness.node.subscribe(trainingTopic, at: harness.now)
            gone = harness.take().disconnected
        }
        #expect(!gone.isEmpty)
    }
}
