import Testing

@testable import PeerNet

/// Whole networks of the shipped state machine.
@Suite struct KademliaNetworkTests {
    /// Unoptimized code is some ten times slower.
    #if DEBUG
        static let nodeCount = 80
        static let lookupCount = 30
    #else
        static let nodeCount = 300
        static let lookupCount = 300
    #endif

    /// A network of `count` nodes that all joined by the first one, within a minute.
    static func network(count: Int, seed: UInt64, liarOneIn: Int? = nil) -> KademliaNetwork {
        var network = KademliaNetwork(seed: seed)
        for index in 0..<count {
            var lie: KademliaNetwork.Lie?
            if let liarOneIn, index % liarOneIn == liarOneIn - 1 {
                lie = KademliaNetwork.Lie(rawValue: index / liarOneIn % KademliaNetwork.Lie.allCases.count)
            }
            _ = network.join(by: index == 0 ? nil : 0, lie: lie)
            network.run(for: .milliseconds(60_000 / count))
        }
        network.run(for: .seconds(90))
        return network
    }

    /// Looks random keys up from random honest nodes, thirty at once: how many results were exact, and what they cost.
    static func measure(
        _ network: inout KademliaNetwork, lookups: Int
    ) -> (exact: Int, requestsMean: Double, requestsMax: Int) {
        var exact = 0
        var total = 0
        var most = 0
        for _ in 0..<lookups / 30 {
            let honest = network.live.filter { network.nodes[$0].lie == nil }
            var asked: [(node: Int, key: [UInt8], id: Kademlia.LookupID?, before: Int)] = []
            for node in honest.shuffled(using: &network.random).prefix(30) {
                let key = network.random.bytes(34)
                let before = network.nodes[node].requestCount
                asked.append((node, key, network.command(node) { $0.findClosest(to: key, at: $1) }, before))
            }
            for (node, key, id, before) in asked {
                guard let id, case .closest(let found)? = network.wait(for: id, of: node) else { continue }
                if found.map(\.peer) == network.closest(to: key, without: node) { exact += 1 }
                let cost = network.nodes[node].requestCount - before
                total += cost
                most = max(most, cost)
            }
        }
        return (exact, Double(total) / Double(lookups), most)
    }

    @Test func lookupsAreExactAfterChurn() {
        var network = Self.network(count: Self.nodeCount, seed: 1)
        // A fifth of the nodes leaves without a word, and as many come, in twelve minutes.
        let replaced = Self.nodeCount / 5
        for _ in 0..<replaced {
            let live = network.live
            network.kill(live[1 + Int(network.random.next() % UInt64(live.count - 1))])
            _ = network.join(by: 0)
            network.run(for: .milliseconds(720_000 / replaced))
        }
        network.run(for: .seconds(30))
        let result = Self.measure(&network, lookups: Self.lookupCount)
        #expect(result.exact * 100 >= Self.lookupCount * 99, "\(result)")
        #expect(result.requestsMean <= 60, "\(result)")
        #expect(result.requestsMax <= KademliaLimits.requestsPerLookupMax, "\(result)")
    }

    @Test func lookupsSucceedAmongLiars() {
        var network = Self.network(count: Self.nodeCount, seed: 3, liarOneIn: 10)
        let result = Self.measure(&network, lookups: Self.lookupCount)
        #expect(result.exact * 100 >= Self.lookupCount * 99, "\(result)")
        #expect(result.requestsMean <= 100, "\(result)")
        #expect(network.inventedPeersInTables == 0)
        for node in network.nodes {
            var groups: [IPGroup: Int] = [:]
            for contact in node.kademlia.contacts {
                for group in node.kademlia.policy.groups(of: contact.addresses) { groups[group, default: 0] += 1 }
            }
            #expect(groups.values.allSatisfy { $0 <= KademliaLimits.groupInTableMax })
        }
    }

    @Test func providersAndClientsAreFoundAmongLiars() {
        var network = Self.network(count: 80, seed: 5, liarOneIn: 10)
        let client = network.join(by: 0, mode: .client)
        network.run(for: .seconds(30))
        let key = Kademlia.rendezvousKey("run-1")
        let providers = [1, 2, 3, client]
        for index in providers {
            guard case .provided(let peers)? = network.outcome(index, { $0.provide(key, at: $1) }) else {
                Issue.record("not provided")
                continue
            }
            #expect(peers >= 18)
        }
        for asker in [20, 30, 40, client] {
            guard
                case .providers(let found)? = network.outcome(
                    asker, { $0.findProviders(of: key, wanted: 50, at: $1) })
            else {
                Issue.record("no outcome")
                continue
            }
            // Liars told of sixty-four others each; those come behind.
            let expected = Set(providers.filter { $0 != asker }.map { network.nodes[$0].contact })
            #expect(Set(found.prefix(expected.count)) == expected, "\(asker) found \(found.count)")
            guard case .providers(let few)? = network.outcome(asker, { $0.findProviders(of: key, wanted: 2, at: $1) })
            else {
                Issue.record("no outcome")
                continue
            }
            #expect(few.count == 2 && expected.isSuperset(of: few))
        }
        // A client is in no table, and is found through peers that it is connected to.
        #expect(network.nodes.allSatisfy { $0.kademlia.table[network.nodes[client].contact.peer] == nil })
        for (asker, index) in [(20, 7), (30, 7), (50, 7), (20, client), (50, client)] {
            let sought = network.nodes[index].contact
            guard case .peer(let found, let isConfirmed)? = network.outcome(asker, { $0.findPeer(sought.peer, at: $1) })
            else {
                Issue.record("no outcome")
                continue
            }
            #expect(found?.peer == sought.peer && found?.addresses.contains(sought.addresses[0]) == true)
            #expect(isConfirmed || index == client)
        }
    }

    @Test func valuesAreFoundAndStaleOnesReplaced() {
        var network = KademliaNetwork(seed: 6)
        for index in 0..<60 {
            _ = network.join(by: index == 0 ? nil : 0, validator: VersionValidator())
            network.run(for: .milliseconds(500))
        }
        network.run(for: .seconds(60))
        let key = Array("/v/a".utf8)
        #expect(network.command(3) { $0.putValue([1], for: Array("/w/a".utf8), at: $1) } == nil)
        #expect(network.outcome(3) { $0.putValue([1, 7], for: key, at: $1) } == .stored(peers: 20))
        #expect(network.outcome(40) { $0.getValue(of: key, at: $1) } == .value([1, 7]))
        // Twelve of the holders get a newer value, so that old ones make no quorum; a reader takes it to the others.
        var put = KademliaMessage(.putValue, key: key)
        put.record = .init(key: key, value: [2, 7])
        let holders = network.nodes.indices.filter {
            network.nodes[$0].kademlia.values.value(of: key, at: network.now) != nil
        }
        // The reader may have given it to one more: to itself, it is not one of the closest.
        #expect((20...21).contains(holders.count))
        for holder in holders.prefix(12) {
            let answer = network.nodes[holder].kademlia.answer(
                put.encoded(), from: network.nodes[5].contact.peer, remoteAddress: nil, at: network.now)
            #expect(answer == .message(put.encoded()))
        }
        for asker in 20..<40 { #expect(network.outcome(asker) { $0.getValue(of: key, at: $1) } == .value([2, 7])) }
        network.run(for: .seconds(1))
        for holder in holders {
            #expect(network.nodes[holder].kademlia.values.value(of: key, at: network.now) == [2, 7])
        }
        #expect(network.outcome(50) { $0.getValue(of: Array("/v/b".utf8), at: $1) } == .value(nil))
    }

    @Test func anIsolatedNodeKeepsItsTableAndTriesItsContactsAgain() {
        var network = Self.network(count: 30, seed: 7)
        let before = network.nodes[9].kademlia.peerCount
        #expect(before >= 25)
        // All others are gone, so to this node its uplink might as well be.
        for index in 0..<30 where index != 9 { network.kill(index) }
        network.run(for: .seconds(3 * 3600))
        #expect(network.nodes[9].kademlia.peerCount * 10 >= before * 9)
        #expect(network.nodes[9].kademlia.contacts.count <= before)
    }

    @Test(arguments: [(12, 120), (40, 1600)]) func anIdleHourCostsLittle(count: Int, requestsMax: Int) {
        var network = Self.network(count: count, seed: 9)
        let before = network.nodes.map(\.requestCount)
        network.run(for: .seconds(3600))
        for (node, before) in zip(network.nodes, before) {
            // It goes on, and stays within its bounds: each request and answer is some 1.5 KB.
            #expect((12...requestsMax).contains(node.requestCount - before), "\(node.requestCount - before)")
        }
    }

    @Test func sameSeedSameRun() {
        let first = Self.network(count: 30, seed: 8)
        let second = Self.network(count: 30, seed: 8)
        #expect(first.nodes.map(\.requestCount) == second.nodes.map(\.requestCount))
        #expect(first.nodes.map(\.kademlia.contacts) == second.nodes.map(\.kademlia.contacts))
    }
}

/// Values under `/v/` whose first byte is a version.
struct VersionValidator: RecordValidator {
    func accepts(_ value: [UInt8], for key: [UInt8]) -> Bool { key.starts(with: Array("/v/".utf8)) && !value.isEmpty }
    func prefers(_ value: [UInt8], to other: [UInt8], for key: [UInt8]) -> Bool {
        (value.first ?? 0) > (other.first ?? 0)
    }
}
