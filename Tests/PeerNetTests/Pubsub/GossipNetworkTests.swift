import Testing

@testable import PeerNet

@Suite struct GossipNetworkTests {
    private func checkBounds(_ network: GossipNetwork) {
        for node in network.nodes {
            #expect(node.seen.count <= PubsubLimits.seenMax)
            #expect(node.cache.bytes <= PubsubLimits.cachedBytesMax && node.cache.count <= PubsubLimits.cachedMax)
            #expect(node.pending.count <= PubsubLimits.pendingMax && node.pendingBytes <= PubsubLimits.pendingBytesMax)
            #expect(node.promises.count <= PubsubLimits.promisesMax)
            #expect(node.backoffs.count(in: trainingTopic) <= PubsubLimits.backoffsPerTopicMax)
            #expect(node.scores.retained <= PubsubLimits.retainedScoresMax)
            for peer in node.peers.values {
                #expect(peer.queue.cost <= PubsubLimits.queueBytesMax)
                #expect(peer.unwanted.count <= PubsubLimits.unwantedMax)
                #expect(peer.topics.count <= PubsubLimits.topicsPerPeerMax)
            }
        }
    }

    /// A hundred nodes, five of them hostile, each in its own way.
    @Test(arguments: [UInt64(11), 12]) func honestNodesGetEveryMessageOnceAmongAttackers(seed: UInt64) {
        let honest = 95
        var network = GossipNetwork(
            honest: honest, attacks: GossipNetwork.Attack.allCases, dialsPerNode: 10, seed: seed)
        var random = TestRandom(state: seed &+ 99)
        for number in 0..<60 {
            // Authors that the forger knows and others, in bursts.
            let author = number % 3 == 0 ? number % 4 : Int.random(in: 0..<honest, using: &random)
            network.schedule(.publish(author), after: 3000 + number / 10 * 4000 + number % 10 * 20)
        }
        let neighbours = (honest..<honest + 5).map { network.links[$0] }
        network.run(milliseconds: 45_000, check: checkBounds)

        #expect(network.published.count == 60)
        for number in 0..<honest {
            for id in network.published {
                let expected = id.author == network.identities[number].peerID ? 0 : 1
                #expect(
                    network.deliveries[number][id, default: 0] == expected, "node \(number), message \(id.sequence)")
            }
            let degree = network.nodes[number].meshPeers(of: trainingTopic).count
            #expect((5...12).contains(degree), "node \(number) has a mesh of \(degree)")
            #expect(network.condemned[number].allSatisfy { $0 >= honest }, "an honest peer was given up")
        }
        for (offset, known) in neighbours.enumerated() {
            for number in known where number < honest {
                #expect(
                    network.condemned[number].contains(honest + offset),
                    "\(GossipNetwork.Attack.allCases[offset]) got away with it at node \(number)")
                let score = network.nodes[number].score(of: network.identities[honest + offset].peerID)
                #expect(score < network.nodes[number].scores.parameters.graylistThreshold)
            }
        }
    }

    /// Links break and form all the time; messages lost with a link come by gossip.
    @Test func messagesArriveOnceWhileLinksComeAndGo() {
        var random = TestRandom(state: 21)
        var network = GossipNetwork(honest: 40, attacks: [], dialsPerNode: 6, seed: 21)
        network.run(milliseconds: 3000, check: checkBounds)
        for step in 0..<100 {
            let node = step % 40
            if let other = network.links[node].sorted().randomElement(using: &random), network.links[other].count > 8,
                network.links[node].count > 8
            {
                network.cut(node, other)
            }
            let stranger = Int.random(in: 0..<40, using: &random)
            if stranger != node, !network.links[node].contains(stranger) { network.connect(node, stranger) }
            if step % 2 == 0 { network.schedule(.publish(Int.random(in: 0..<40, using: &random)), after: 1) }
            network.run(milliseconds: 150, check: checkBounds)
        }
        network.run(milliseconds: 6000, check: checkBounds)
        #expect(network.published.count == 50)
        for number in 0..<40 {
            for id in network.published where id.author != network.identities[number].peerID {
                #expect(network.deliveries[number][id] == 1, "node \(number)")
            }
            #expect((5...12).contains(network.nodes[number].meshPeers(of: trainingTopic).count))
            #expect(network.condemned[number].isEmpty)
        }
    }

    /// Without attackers nobody loses reputation, and a message costs about D copies.
    @Test func aQuietNetworkIsCheapAndPeaceful() {
        var network = GossipNetwork(honest: 60, attacks: [], dialsPerNode: 8, seed: 3)
        network.run(milliseconds: 10_000, check: checkBounds)
        let before = network.bytesSent
        network.run(milliseconds: 10_000, check: checkBounds)
        #expect(network.bytesSent - before < 60 * 10 * 20, "an idle mesh says almost nothing")
        for number in 0..<20 { network.schedule(.publish(number * 3), after: 1 + number * 50) }
        network.run(milliseconds: 10_000, check: checkBounds)
        for node in network.nodes {
            for peer in node.peers.keys {
                #expect(node.score(of: peer) >= 0)
                #expect(node.scores.entries[peer]?.behaviour == 0)
            }
        }
        #expect(network.deliveries.map { $0.values.reduce(0, +) }.reduce(0, +) == 20 * 59)
    }
}
