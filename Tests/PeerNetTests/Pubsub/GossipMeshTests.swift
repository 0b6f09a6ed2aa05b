import Testing

@testable import PeerNet

/// Rules of GRAFT, PRUNE, subscriptions and the heartbeat's care for the mesh.
@Suite struct GossipMeshTests {
    private let graft = controlRPC(PubsubRPC.Entry.graft(trainingTopic))

    private func prune(_ seconds: UInt64?, peers: [PubsubRPC.SuggestedPeer] = []) -> [UInt8] {
        controlRPC(PubsubRPC.Entry.prune(trainingTopic, peers: peers, backoffSeconds: seconds))
    }

    // MARK: Subscriptions

    @Test func subscribingTellsEveryoneAndGraftsUpToD() throws {
        var harness = GossipHarness { $0.directPeers = [testIdentity(20).peerID] }
        for index in 1...12 { harness.connect(index) }
        let direct = harness.connect(20)
        let stranger = harness.connect(21, follows: false)
        let flood = harness.connect(22, version: .floodsub)
        let bad = harness.connect(23)
        harness.node.setApplicationScore(bad, -1)
        try harness.node.subscribe(trainingTopic, at: harness.now)
        let actions = harness.take()
        #expect(actions.grafted.count == 6)
        #expect(actions.grafted == harness.node.meshPeers(of: trainingTopic))
        #expect(Set(actions.grafted).isDisjoint(with: [direct, stranger, flood, bad]))
        #expect(actions.rpcs.count == 16)
        #expect(
            actions.rpcs.values.allSatisfy { $0.subscriptions == [.init(topic: trainingTopic, isSubscribed: true)] })
        // A newcomer hears it at once.
        let late = harness.connect(24)
        #expect(harness.take().rpcs[late]?.subscriptions.count == 1)
    }

    @Test func unsubscribingPrunesWithTheShortBackoffAndKeepsToIt() throws {
        var harness = GossipHarness()
        for index in 1...4 { harness.connect(index) }
        try harness.node.subscribe(trainingTopic, at: harness.now)
        #expect(harness.take().grafted.count == 4)
        harness.node.unsubscribe(trainingTopic, at: harness.now)
        let left = harness.take()
        #expect(left.pruned.count == 4)
        for rpc in left.rpcs.values {
            #expect(rpc.subscriptions == [.init(topic: trainingTopic, isSubscribed: false)])
            #expect(rpc.prune == [.init(topic: trainingTopic, peers: [], backoffSeconds: 10)])
        }
        // Coming back early grafts nobody until the backoff and its slack are over.
        try harness.node.subscribe(trainingTopic, at: harness.now)
        #expect(harness.take().grafted.isEmpty)
        let start = harness.now
        while harness.now < start + .seconds(10) { #expect(harness.heartbeat().grafted.isEmpty) }
        harness.pass(.seconds(2))
        #expect(harness.node.meshPeers(of: trainingTopic).count == 4)
    }

    @Test func topicsOfAPeerAreBoundedAndForgottenWithIt() {
        var harness = GossipHarness()
        let peer = harness.connect(1, follows: false)
        for number in 0..<1000 {
            harness.receive(PubsubRPC.Entry.subscription(Topic("t\(number)")!, isSubscribed: true), from: peer)
        }
        #expect(harness.node.topicPeers.count == PubsubLimits.topicsPerPeerMax)
        harness.receive(PubsubRPC.Entry.subscription(Topic("t5")!, isSubscribed: false), from: peer)
        #expect(harness.node.topicPeers.count == PubsubLimits.topicsPerPeerMax - 1)
        harness.node.peerDisconnected(peer, at: harness.now)
        #expect(harness.node.topicPeers.isEmpty)
    }

    @Test func peersThatUnsubscribeOrLeaveAreOutOfTheMesh() throws {
        var harness = GossipHarness()
        let peers = (1...6).map { harness.connect($0) }
        try harness.node.subscribe(trainingTopic, at: harness.now)
        harness.receive(PubsubRPC.Entry.subscription(trainingTopic, isSubscribed: false), from: peers[0])
        harness.node.peerDisconnected(peers[1], at: harness.now)
        #expect(harness.node.meshPeers(of: trainingTopic) == peers[2...].sorted())
        #expect(harness.node.followers(of: trainingTopic) == peers[2...].sorted())
    }

    // MARK: GRAFT

    @Test func graftOfATopicThatIsNotFollowedIsIgnored() {
        var harness = GossipHarness()
        let peer = harness.connect(1)
        harness.receive(graft, from: peer)
        #expect(harness.take().rpcs.isEmpty)
    }

    @Test func graftIsAcceptedSilentlyAndOnce() throws {
        var harness = GossipHarness()
        try harness.node.subscribe(trainingTopic, at: harness.now)
        let peer = harness.connect(1)
        _ = harness.take()
        harness.receive(graft, from: peer)
        harness.receive(graft, from: peer)
        #expect(harness.take().rpcs.isEmpty)
        #expect(harness.node.meshPeers(of: trainingTopic) == [peer])
    }

    @Test func graftOfADirectPeerIsAnsweredByPrune() throws {
        var harness = GossipHarness { $0.directPeers = [testIdentity(1).peerID] }
        try harness.node.subscribe(trainingTopic, at: harness.now)
        let peer = harness.connect(1)
        harness.receive(graft, from: peer)
        #expect(harness.take().pruned == [peer])
        #expect(harness.node.meshPeers(of: trainingTopic).isEmpty)
    }

    @Test func graftInBackoffIsPunishedAndDoublyIfEarly() throws {
        var harness = GossipHarness()
        try harness.node.subscribe(trainingTopic, at: harness.now)
        let peer = harness.connect(1)
        harness.receive(graft, from: peer)
        harness.receive(prune(60), from: peer)
        _ = harness.take()
        harness.receive(graft, from: peer)
        #expect(harness.node.scores.entries[peer]?.behaviour == 2)
        let answer = harness.take()
        #expect(answer.rpcs[peer]?.prune == [.init(topic: trainingTopic, peers: [], backoffSeconds: 60)])
        harness.now = harness.now + .seconds(11)
        harness.receive(graft, from: peer)
        #expect(harness.node.scores.entries[peer]?.behaviour == 3)
        // The backoff began anew, so another 50 seconds are not enough.
        harness.now = harness.now + .seconds(50)
        harness.receive(graft, from: peer)
        #expect(harness.node.scores.entries[peer]?.behaviour == 4)
        harness.now = harness.now + .seconds(60)
        harness.receive(graft, from: peer)
        #expect(harness.node.meshPeers(of: trainingTopic) == [peer])
    }

    @Test func graftOfAPeerBelowZeroIsRefusedWithoutSuggestions() throws {
        var harness = GossipHarness()
        try harness.node.subscribe(trainingTopic, at: harness.now)
        let peer = harness.connect(1)
        harness.connect(2)
        harness.node.setApplicationScore(peer, -1)
        harness.receive(graft, from: peer)
        #expect(harness.take().rpcs[peer]?.prune == [.init(topic: trainingTopic, peers: [], backoffSeconds: 60)])
        #expect(harness.node.backoffs.active(peer, trainingTopic, at: harness.now) != nil)
    }

    @Test func aFullMeshTakesOnlyPeersThatWeDialed() throws {
        var harness = GossipHarness()
        try harness.node.subscribe(trainingTopic, at: harness.now)
        for index in 1...12 { harness.receive(graft, from: harness.connect(index)) }
        _ = harness.take()
        let inbound = harness.connect(13)
        let record = SignedPeerRecord(signedBy: testIdentity(2), sequence: 1, addresses: [])
        harness.node.setRecord(record, of: testIdentity(2).peerID)
        harness.node.setRecord(record, of: testIdentity(3).peerID)
        harness.node.setApplicationScore(testIdentity(4).peerID, -1)
        harness.receive(graft, from: inbound)
        // Too many peers: the one that is refused hears of others in good standing, with their own records.
        let answer = try #require(harness.take().rpcs[inbound]?.prune.first)
        #expect(answer.backoffSeconds == 60)
        #expect(Set(answer.peers.map(\.peer)) == Set((1...12).filter { $0 != 4 }.map { testIdentity($0).peerID }))
        #expect(answer.peers.filter { $0.envelope != nil }.map(\.peer) == [testIdentity(2).peerID])
        let outbound = [14, 15].map { harness.connect($0, isOutbound: true) }
        for peer in outbound { harness.receive(graft, from: peer) }
        #expect(harness.node.meshPeers(of: trainingTopic).count == 14)
        // The heartbeat prunes the one below zero and cuts the mesh to D, outbound peers among those kept.
        let cut = harness.heartbeat()
        #expect(harness.node.meshPeers(of: trainingTopic).count == 6)
        #expect(Set(outbound).isSubset(of: harness.node.meshPeers(of: trainingTopic)))
        #expect(cut.pruned.count == 8)
        #expect(cut.rpcs.values.flatMap(\.prune).filter { !$0.peers.isEmpty }.count == 7)
    }

    // MARK: PRUNE

    @Test(arguments: [(UInt64(5), 5), (0, 60), (3601, 3600), (UInt64.max >> 1, 3600)])
    func backoffsThatPeersImposeAreCapped(seconds: UInt64, expected: Int) throws {
        var harness = GossipHarness()
        try harness.node.subscribe(trainingTopic, at: harness.now)
        let peer = harness.connect(1)
        harness.receive(prune(seconds), from: peer)
        let end = harness.now + .seconds(expected)
        #expect(harness.node.backoffs.active(peer, trainingTopic, at: end + .nanoseconds(-1)) != nil)
        #expect(harness.node.backoffs.active(peer, trainingTopic, at: end) == nil)
        #expect(harness.node.backoffs.mustWait(peer, trainingTopic, slack: .seconds(1), at: end))
    }

    @Test func suggestedPeersNeedAGoodScoreAndTheirOwnRecords() throws {
        var harness = GossipHarness()
        try harness.node.subscribe(trainingTopic, at: harness.now)
        let peer = harness.connect(1)
        harness.connect(2)
        let good = SignedPeerRecord(
            signedBy: testIdentity(50), sequence: 1, addresses: [try Multiaddr("/ip4/192.0.2.1/tcp/1")])
        var forged = good.envelope
        forged[forged.count - 1] ^= 1
        let suggested = [
            PubsubRPC.SuggestedPeer(peer: good.peer, envelope: good.envelope),
            PubsubRPC.SuggestedPeer(peer: testIdentity(51).peerID, envelope: nil),
            PubsubRPC.SuggestedPeer(peer: testIdentity(52).peerID, envelope: good.envelope),
            PubsubRPC.SuggestedPeer(peer: testIdentity(53).peerID, envelope: forged),
            PubsubRPC.SuggestedPeer(peer: testIdentity(2).peerID, envelope: nil),
            PubsubRPC.SuggestedPeer(peer: harness.identity.peerID, envelope: nil),
        ]
        harness.receive(prune(60, peers: suggested), from: peer)
        #expect(harness.take().others.isEmpty)
        harness.node.setApplicationScore(peer, 10)
        harness.receive(prune(60, peers: suggested), from: peer)
        let expected = [
            Gossipsub.SuggestedPeer(peer: good.peer, record: good),
            Gossipsub.SuggestedPeer(peer: testIdentity(51).peerID, record: nil),
        ]
        #expect(harness.take().others == [.suggestPeers(trainingTopic, expected)])
        // Records cost signature checks: sixteen peers per heartbeat are looked at.
        let many = (0..<16).map { PubsubRPC.SuggestedPeer(peer: testIdentity(60 + $0).peerID, envelope: nil) }
        harness.receive(prune(60, peers: many), from: peer)
        guard case .suggestPeers(_, let taken)? = harness.take().others.first else {
            Issue.record("nobody suggested")
            return
        }
        #expect(taken.count == 10)
    }

    @Test func backoffsHoldInTheHeartbeatToo() throws {
        var harness = GossipHarness()
        let peer = harness.connect(1)
        try harness.node.subscribe(trainingTopic, at: harness.now)
        harness.receive(prune(30), from: peer)
        _ = harness.take()
        let start = harness.now
        while harness.now < start + .seconds(30) { #expect(harness.heartbeat().grafted.isEmpty) }
        harness.pass(.seconds(2))
        #expect(harness.node.meshPeers(of: trainingTopic) == [peer])
    }

    @Test func oldPeersGetPruneWithoutBackoff() throws {
        var harness = GossipHarness()
        harness.connect(1, version: .gossipsub10)
        try harness.node.subscribe(trainingTopic, at: harness.now)
        _ = harness.take()
        harness.node.unsubscribe(trainingTopic, at: harness.now)
        #expect(harness.take().rpcs.values.first?.prune.first?.backoffSeconds == 0)
    }

    // MARK: Heartbeat

    @Test func peersBelowZeroLeaveTheMesh() throws {
        var harness = GossipHarness()
        let peers = (1...6).map { harness.connect($0) }
        try harness.node.subscribe(trainingTopic, at: harness.now)
        _ = harness.take()
        harness.node.setApplicationScore(peers[2], -1)
        #expect(harness.heartbeat().pruned == [peers[2]])
    }

    @Test func aSmallMeshIsFilledToD() throws {
        var harness = GossipHarness()
        try harness.node.subscribe(trainingTopic, at: harness.now)
        for index in 1...20 { harness.connect(index) }
        #expect(harness.heartbeat().grafted.count == 6)
        // Five are enough to be left alone.
        harness.node.peerDisconnected(harness.node.meshPeers(of: trainingTopic)[0], at: harness.now)
        #expect(harness.heartbeat().grafted.isEmpty)
    }

    @Test func enoughOutboundPeersAreKept() throws {
        var harness = GossipHarness()
        for index in 1...6 { harness.connect(index) }
        try harness.node.subscribe(trainingTopic, at: harness.now)
        _ = harness.take()
        let outbound = [30, 31, 32].map { harness.connect($0, isOutbound: true) }
        #expect(harness.heartbeat().grafted.count == 2)
        #expect(Set(harness.node.meshPeers(of: trainingTopic)).intersection(outbound).count == 2)
    }

    @Test func theBestPeersSurviveACut() throws {
        var harness = GossipHarness()
        try harness.node.subscribe(trainingTopic, at: harness.now)
        var peers: [PeerID] = []
        for index in 1...16 {
            peers.append(harness.connect(index, isOutbound: true))
            harness.receive(graft, from: peers[index - 1])
        }
        for (index, peer) in peers.enumerated() { harness.node.setApplicationScore(peer, Double(index)) }
        harness.heartbeat()
        let kept = harness.node.meshPeers(of: trainingTopic)
        #expect(kept.count == 6)
        #expect(Set(peers[12...]).isSubset(of: kept))
    }

    @Test func aPoorMeshLooksForBetterPeers() throws {
        var harness = GossipHarness()
        for index in 1...6 { harness.connect(index) }
        try harness.node.subscribe(trainingTopic, at: harness.now)
        let better = (10...15).map { harness.connect($0) }
        for peer in better { harness.node.setApplicationScore(peer, 5) }
        harness.pass(.seconds(58))
        #expect(harness.node.meshPeers(of: trainingTopic).count == 6)
        harness.pass(.seconds(3))
        let members = harness.node.meshPeers(of: trainingTopic)
        #expect(members.count == 8)
        #expect(Set(members).intersection(better).count == 2)
    }

    @Test func directPeersAreReconnected() {
        let direct = testIdentity(9).peerID
        var harness = GossipHarness { $0.directPeers = [direct] }
        #expect(harness.heartbeat().others == [.connect(direct)])
        for _ in 0..<299 { #expect(harness.heartbeat().others.isEmpty) }
        #expect(harness.heartbeat().others == [.connect(direct)])
    }
}
