import Testing

@testable import PeerNet

/// Random inputs in random order, hostile RPCs among them: nothing traps, and what the parts of the state say about each
/// other stays true.
@Suite struct GossipFuzzTests {
    private let topics = [trainingTopic, Topic("a")!, Topic("b")!]

    private func checkInvariants(_ node: Gossipsub) {
        var followers: [Topic: [PeerID]] = [:]
        for (peer, state) in node.peers {
            for topic in state.topics { followers[topic, default: []].append(peer) }
            #expect(state.unwanted.count <= PubsubLimits.unwantedMax && state.queue.cost <= PubsubLimits.queueBytesMax)
            #expect(!state.isScheduled && state.pendingCount >= 0 && state.pendingBytes >= 0)
        }
        #expect(node.topicPeers.mapValues { Array($0) } == followers.mapValues { $0.sorted() })
        for (topic, members) in node.mesh {
            for peer in members {
                let state = node.peers[peer]
                #expect(state != nil && state?.isDirect == false && state?.isCondemned == false)
                #expect(node.scores.entries[peer]?.topics.contains { $0.topic == topic && $0.graftedAt != nil } == true)
            }
        }
        for (peer, entry) in node.scores.entries {
            #expect((entry.expiry == nil) == (node.peers[peer] != nil))
            for counters in entry.topics where counters.graftedAt != nil {
                #expect(node.mesh[counters.topic]?.contains(peer) == true)
            }
        }
        #expect(node.scores.retained == node.scores.entries.count { $0.value.expiry != nil })
        #expect(node.pendingBytes == node.pending.values.reduce(0) { $0 + $1.bytes })
        #expect(node.pending.keys.allSatisfy { node.seen.status(of: $0) == .pending })
    }

    private func rpc(_ harness: inout GossipHarness, _ random: inout TestRandom) -> [UInt8] {
        let topic = topics[Int.random(in: 0..<3, using: &random)]
        let ids = (0..<Int.random(in: 0..<20, using: &random)).map { _ in
            MessageID(
                author: testIdentity(Int.random(in: 0..<4, using: &random)).peerID,
                sequence: UInt64.random(in: 0..<300, using: &random))
        }
        switch Int.random(in: 0..<9, using: &random) {
        case 0: return PubsubRPC.Entry.subscription(topic, isSubscribed: Bool.random(using: &random))
        case 1: return controlRPC(PubsubRPC.Entry.graft(topic))
        case 2:
            let peers = ids.map { PubsubRPC.SuggestedPeer(peer: $0.author, envelope: [1, 2]) }
            let seconds = random.next() >> UInt64.random(in: 1..<64, using: &random)
            return controlRPC(PubsubRPC.Entry.prune(topic, peers: peers, backoffSeconds: seconds))
        case 3: return controlRPC(PubsubRPC.Entry.have(topic, ids))
        case 4: return controlRPC(PubsubRPC.Entry.want(ids))
        case 5: return controlRPC(PubsubRPC.Entry.dontWant(ids))
        case 6:
            var bytes = harness.message(by: 2, topic: topic).publishField
            bytes[Int.random(in: 0..<bytes.count, using: &random)] ^= 1
            return bytes
        default:
            let author = Int.random(in: 0..<4, using: &random)
            return harness.message(by: author, topic: topic, bytes: author * 600).publishField
        }
    }

    @Test(arguments: [UInt64(1), 2, 3, 4]) func randomInputsKeepTheStateConsistent(seed: UInt64) throws {
        var random = TestRandom(state: seed)
        var harness = GossipHarness {
            $0.directPeers = [testIdentity(5).peerID]
            $0.seed = seed
            $0.parameters.floodPublish = seed % 2 == 0
            $0.scores.defaultTopic.meshDeliveriesWeight = seed == 3 ? -0.01 : 0
            $0.scores.defaultTopic.meshFailureWeight = seed == 3 ? -0.01 : 0
        }
        var waiting: [MessageID] = []
        for step in 0..<6000 {
            let index = Int.random(in: 1..<30, using: &random)
            let peer = testIdentity(index).peerID
            let topic = topics[Int.random(in: 0..<3, using: &random)]
            harness.writes = !Bool.random(using: &random)
            switch Int.random(in: 0..<40, using: &random) {
            case 0: try harness.node.subscribe(topic, at: harness.now)
            case 1: harness.node.unsubscribe(topic, at: harness.now)
            case 2...3: try harness.node.publish([1], to: topic, at: harness.now)
            case 4: harness.node.peerDisconnected(peer, at: harness.now)
            case 5...8:
                harness.connect(
                    index, version: PubsubProtocol(rawValue: index % 4)!, isOutbound: index % 3 == 0,
                    group: "g\(index % 2)")
            case 9: harness.node.setApplicationScore(peer, Double.random(in: -20...15, using: &random))
            case 10: harness.node.written(1 << 16, to: peer)
            case 11...14: harness.pass(.seconds(Int.random(in: 0...2, using: &random)))
            case 15...20:
                let verdicts: [Gossipsub.Verdict] = [.accept, .accept, .accept, .ignore, .reject]
                if let id = waiting.popLast() {
                    harness.node.validated(id, verdicts[Int.random(in: 0..<5, using: &random)], at: harness.now)
                }
            default: harness.receive(rpc(&harness, &random), from: peer)
            }
            let actions = harness.take()
            waiting += actions.deliveries.map(\.id)
            for gone in actions.disconnected where Bool.random(using: &random) {
                harness.node.peerDisconnected(gone, at: harness.now)
            }
            if step % 10 == 0 { checkInvariants(harness.node) }
        }
        #expect(harness.node.heartbeats > 500)
    }
}
