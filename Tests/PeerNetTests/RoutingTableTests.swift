import Testing

@testable import PeerNet

@Suite struct RoutingTableTests {
    static let now = Moment(nanoseconds: 1_000_000_000)

    static func contact(_ random: inout TestRandom, group: Int) -> (PeerContact, [IPGroup]) {
        let address = Multiaddr(ipBytes: [20, UInt8(group >> 8 & 255), UInt8(group & 255), 1], tcpPort: 4001)!
        return (PeerContact(peer: KademliaNetwork.peer(&random), addresses: [address]), [address.ipGroup!])
    }

    @Test func closestAgreesWithSortingEverything() {
        var random = TestRandom(state: 21)
        var table = RoutingTable(own: KademliaKey(KademliaNetwork.peer(&random)))
        for group in 0..<2000 {
            let (contact, groups) = Self.contact(&random, group: group)
            _ = table.insert(contact, groups: groups, at: Self.now)
            if random.next() % 8 == 0 { table.failed(contact.peer, mayEvict: true) }
        }
        for _ in 0..<200 {
            let target = KademliaKey(hashing: random.bytes(32))
            for count in [1, 20, 1000] {
                let sorted = table.entries.filter { $0.failures == 0 }
                    .sorted { $0.key.distance(to: target) < $1.key.distance(to: target) }
                #expect(table.closest(to: target, count: count) == Array(sorted.prefix(count)))
            }
        }
        let own = table.entries[0].key
        #expect(table.closest(to: own, count: 1).first?.key == own || table.entries[0].failures > 0)
    }

    @Test func bucketsAndGroupsAreBounded() {
        var random = TestRandom(state: 22)
        let own = KademliaKey(KademliaNetwork.peer(&random))
        var table = RoutingTable(own: own)
        var members: Set<PeerID> = []
        for round in 0..<5000 {
            let (contact, groups) = Self.contact(&random, group: Int(random.next() % 150))
            switch table.insert(contact, groups: groups, at: Self.now) {
            case .added: members.insert(contact.peer)
            case .updated, .bucketFull, .groupFull, .own: break
            }
            if round % 7 == 0, let victim = members.sorted().first {
                table.remove(victim)
                members.remove(victim)
            }
            #expect(table.count == members.count)
        }
        #expect(Set(table.entries.map(\.peer)) == members)
        var inTable: [IPGroup: Int] = [:]
        for bucket in table.nonEmptyBuckets {
            let entries = table.entries.filter { own.commonPrefixLength(with: $0.key) == bucket }
            #expect(entries.count <= 20)
            var inBucket: [IPGroup: Int] = [:]
            for entry in entries {
                for group in entry.groups {
                    inBucket[group, default: 0] += 1
                    inTable[group, default: 0] += 1
                }
            }
            #expect(inBucket.values.allSatisfy { $0 <= 2 })
        }
        #expect(inTable.values.allSatisfy { $0 <= 3 })
        #expect(inTable.values.contains(3))
        #expect(table.count > 60)
    }

    @Test func onlyFailuresMakeRoom() {
        var random = TestRandom(state: 23)
        let own = KademliaKey(KademliaNetwork.peer(&random))
        var table = RoutingTable(own: own)
        var group = 0
        func fill() -> RoutingTable.Verdict {
            while true {
                let (contact, groups) = Self.contact(&random, group: group)
                group += 1
                guard own.commonPrefixLength(with: KademliaKey(contact.peer)) == 0 else { continue }
                return table.insert(contact, groups: groups, at: Self.now)
            }
        }
        for _ in 0..<20 { #expect(fill() == .added) }
        #expect(fill() == .bucketFull)
        let victim = table.entries[5].peer
        table.failed(victim, mayEvict: true)
        #expect(fill() == .bucketFull)
        #expect(!table.closest(to: own, count: 20).contains { $0.peer == victim })
        table.failed(victim, mayEvict: false)
        #expect(table[victim]?.failures == 1)
        table.answered(victim, isUseful: true, at: Self.now)
        #expect(table[victim]?.failures == 0)
        table.failed(victim, mayEvict: true)
        table.failed(victim, mayEvict: true)
        #expect(table[victim] == nil)
        #expect(fill() == .added)
    }

    @Test func aMemberThatMovesIntoAFullGroupGoes() {
        var random = TestRandom(state: 24)
        var table = RoutingTable(own: KademliaKey(KademliaNetwork.peer(&random)))
        var added = 0
        while added < 3 {
            let (contact, groups) = Self.contact(&random, group: 7)
            if table.insert(contact, groups: groups, at: Self.now) == .added { added += 1 }
        }
        let (mover, groups) = Self.contact(&random, group: 8)
        #expect(table.insert(mover, groups: groups, at: Self.now) == .added)
        let full = table.entries.first { $0.peer != mover.peer }?.groups ?? []
        #expect(table.insert(mover, groups: full, at: Self.now) == .groupFull)
        #expect(table[mover.peer] == nil && table.count == 3)
        // Its old group is free again.
        let (other, otherGroups) = Self.contact(&random, group: 8)
        #expect(table.insert(other, groups: otherGroups, at: Self.now) == .added)
    }

    @Test func randomKeysFallIntoTheirBucket() {
        var random = TestRandom(state: 25)
        let own = KademliaKey(KademliaNetwork.peer(&random))
        let table = RoutingTable(own: own)
        var generator = SplitMix64(seed: 26)
        for bucket in 0...8 {
            let key = table.randomKey(inBucket: bucket, using: &generator)
            #expect(key.map { own.commonPrefixLength(with: KademliaKey(hashing: $0)) } == bucket)
        }
        // A deeper one would take thousands of hashes while every socket waits.
        #expect(table.randomKey(inBucket: 9, using: &generator) == nil)
    }

    @Test(arguments: [
        ("/ip4/127.0.0.1/tcp/1", true), ("/ip4/10.1.2.3/tcp/1", true), ("/ip4/172.31.0.1/tcp/1", true),
        ("/ip4/172.32.0.1/tcp/1", false), ("/ip4/192.168.9.9/tcp/1", true), ("/ip4/169.254.1.1/tcp/1", true),
        ("/ip4/100.127.0.1/tcp/1", true), ("/ip4/100.128.0.1/tcp/1", false), ("/ip4/8.8.8.8/tcp/1", false),
        ("/ip6/::1/tcp/1", true), ("/ip6/fe80::1/tcp/1", true), ("/ip6/fd00::1/tcp/1", true),
        ("/ip6/2001:db8::1/tcp/1", false), ("/ip6/::ffff:127.0.0.1/tcp/1", true), ("/dns4/localhost/tcp/1", true),
        ("/dns4/a.local/tcp/1", true), ("/dns4/example.org/tcp/1", false),
    ])
    func localAddressesAreTold(text: String, isLocal: Bool) throws {
        let address = try Multiaddr(text)
        #expect(address.isLocal == isLocal)
        #expect(AddressPolicy(isLocalNetwork: false).accepts(address) == !isLocal)
        #expect(AddressPolicy(isLocalNetwork: true).accepts(address))
    }

    @Test func groupsAreTheUpperBits() throws {
        func group(_ text: String) throws -> IPGroup? { try Multiaddr(text).ipGroup }
        #expect(try group("/ip4/1.2.3.4/tcp/1") == group("/ip4/1.2.3.200/tcp/2"))
        #expect(try group("/ip4/1.2.3.4/tcp/1") == group("/ip6/::ffff:1.2.3.4/tcp/2"))
        #expect(try group("/ip4/1.2.3.4/tcp/1") != group("/ip4/1.2.4.4/tcp/1"))
        #expect(try group("/ip6/2001:db8:1:2::1/tcp/1") == group("/ip6/2001:db8:1:3::9/tcp/1"))
        #expect(try group("/ip6/2001:db8:1::1/tcp/1") != group("/ip6/2001:db8:2::1/tcp/1"))
        #expect(try group("/dns4/a.Example.org/tcp/1") == group("/dns4/b.example.org/tcp/1"))
        #expect(try group("/ip4/1.2.3.4/udp/1/quic-v1") == nil)
        for text in ["/ip4/0.0.0.0/tcp/1", "/ip4/224.0.0.1/tcp/1", "/ip6/::ffff:0.0.0.0/tcp/1", "/ip4/1.2.3.4/tcp/0"] {
            #expect(try !Multiaddr(text).isDialable, "\(text)")
        }
    }
}
