import Testing

@testable import PeerNet

@Suite struct LookupTests {
    /// Contacts by their distance to a target, the closest first.
    static func contacts(_ count: Int, seed: UInt64, to target: KademliaKey) -> [PeerContact] {
        var random = TestRandom(state: seed)
        let peers = (0..<count).map { _ in KademliaNetwork.peer(&random) }
        return peers.map { ($0, KademliaKey($0).distance(to: target)) }.sorted { $0.1 < $1.1 }
            .map { PeerContact(peer: $0.0, addresses: []) }
    }

    static let target = KademliaKey(hashing: [1])

    @Test func theClosestAreAskedFirstAndAFewAtOnce() {
        let all = Self.contacts(30, seed: 31, to: Self.target)
        var lookup = Lookup(target: Self.target, from: all.reversed(), concurrency: 3, size: 5)
        #expect(lookup.next() == Array(all[0..<3]))
        #expect(lookup.next().isEmpty)
        #expect(lookup.answered(all[1].peer, closer: [all[0], all[2]]) == false)
        #expect(lookup.next() == [all[3]])
        lookup.failed(all[0].peer)
        #expect(lookup.next() == [all[4]])
        #expect(!lookup.isFinished)
        for peer in [all[2], all[3], all[4]] { _ = lookup.answered(peer.peer, closer: []) }
        // One of the five closest failed, so the sixth is needed.
        #expect(lookup.next() == [all[5]])
        _ = lookup.answered(all[5].peer, closer: [])
        #expect(lookup.isFinished)
        #expect(lookup.closest == Array(all[1..<6]))
    }

    @Test func withoutContactsItIsOverAtOnce() {
        var lookup = Lookup(target: Self.target, from: [])
        #expect(lookup.next().isEmpty && lookup.isFinished && lookup.closest.isEmpty)
    }

    @Test func answersThatWereNotAskedForDoNothing() {
        let all = Self.contacts(4, seed: 32, to: Self.target)
        var lookup = Lookup(target: Self.target, from: [all[3]])
        #expect(lookup.answered(all[0].peer, closer: [all[1]]) == false)
        #expect(lookup.next() == [all[3]])
        #expect(lookup.answered(all[3].peer, closer: [all[1]]) == true)
        #expect(lookup.answered(all[3].peer, closer: [all[2]]) == false)
        #expect(lookup.candidates.count == 2)
    }

    @Test func peersToldByALiarAreAskedAFewAtATimeAndLast() {
        let all = Self.contacts(80, seed: 33, to: Self.target)
        // The liar tells of the twenty closest, none of which exists; thirty honest peers are farther away.
        let liar = all[20]
        let honest = Array(all[30..<60])
        var lookup = Lookup(target: Self.target, from: [liar] + honest)
        _ = lookup.next()
        _ = lookup.answered(liar.peer, closer: Array(all[0..<20]))
        #expect(lookup.next().count == 1)
        // The slots that come free go to three of the invented peers, and then to honest ones.
        for contact in honest.prefix(9) { _ = lookup.answered(contact.peer, closer: []) }
        let next = lookup.next()
        #expect(next == Array(all[1..<3]))
        for contact in all[0..<3] { lookup.failed(contact.peer) }
        var queue = lookup.next()
        #expect(queue.allSatisfy { honest.contains($0) } && queue.count == 10)
        while let contact = queue.popLast() {
            #expect(honest.contains(contact))
            _ = lookup.answered(contact.peer, closer: [])
            queue += lookup.next()
        }
        #expect(lookup.isFinished)
        #expect(lookup.closest == [liar] + honest.prefix(19))
        #expect(lookup.requestCount == 23)
    }

    @Test func doubtedPeersAreAskedIfNobodyElseIsLeft() {
        let all = Self.contacts(21, seed: 37, to: Self.target)
        var lookup = Lookup(target: Self.target, from: [all[20]])
        _ = lookup.next()
        _ = lookup.answered(all[20].peer, closer: Array(all[0..<20]))
        var queue = lookup.next()
        #expect(queue.count == KademliaLimits.unprovenMax)
        while let contact = queue.popLast() {
            // Only the last one is there.
            if contact == all[19] { _ = lookup.answered(contact.peer, closer: []) } else { lookup.failed(contact.peer) }
            queue += lookup.next()
        }
        #expect(lookup.isFinished)
        #expect(lookup.closest == [all[19], all[20]])
    }

    @Test func aPeerAtAWrongAddressIsSoughtAtTheNextOne() {
        let all = Self.contacts(40, seed: 38, to: Self.target)
        func at(_ numbers: [Int]) -> PeerContact {
            PeerContact(peer: all[0].peer, addresses: numbers.map { KademliaTests.address($0) })
        }
        var lookup = Lookup(target: Self.target, from: [all[30], all[31], all[32]])
        _ = lookup.next()
        _ = lookup.answered(all[30].peer, closer: [at(Array(1...8))])
        #expect(lookup.next() == [at(Array(1...8))])
        // Told while it is asked at the wrong addresses, and again after these failed.
        _ = lookup.answered(all[31].peer, closer: [at([9])])
        #expect(lookup.next().isEmpty)
        lookup.failed(all[0].peer)
        #expect(lookup.next() == [at([9])])
        lookup.failed(all[0].peer)
        #expect(lookup.next().isEmpty)
        _ = lookup.answered(all[32].peer, closer: [at([10])])
        #expect(lookup.next() == [at([10])])
        _ = lookup.answered(all[0].peer, closer: [])
        #expect(lookup.isFinished && lookup.closest.first == at([10]))
    }

    @Test func neitherOfTwoSourcesCrowdsTheOtherOut() {
        func contact(_ numbers: ClosedRange<Int>) -> PeerContact {
            PeerContact(peer: KademliaTests.peer(1), addresses: numbers.map { KademliaTests.address($0) })
        }
        var first = contact(1...8)
        first.addAddresses(contact(11...18).addresses)
        #expect(first.addresses == contact(1...4).addresses + contact(11...14).addresses)
        var second = contact(1...7)
        second.addAddresses(contact(7...8).addresses)
        #expect(second == contact(1...8))
    }

    @Test func aSecondSourceMakesADoubtedPeerGood() {
        let all = Self.contacts(60, seed: 34, to: Self.target)
        var lookup = Lookup(target: Self.target, from: [all[40], all[41]], concurrency: 4, size: 20)
        #expect(lookup.next() == [all[40], all[41]])
        _ = lookup.answered(all[40].peer, closer: Array(all[0..<10]))
        let first = lookup.next()
        #expect(first == Array(all[0..<3]))
        for contact in first { lookup.failed(contact.peer) }
        #expect(lookup[all[5].peer]?.standing == .doubted)
        #expect(lookup.next().isEmpty)
        #expect(!lookup.isFinished)
        _ = lookup.answered(all[41].peer, closer: [all[5]])
        #expect(lookup.next().first == all[5])
    }

    @Test func requestsAndCandidatesAreBounded() {
        // Everybody tells of twenty new peers that answer likewise, closer each time than all before.
        var random = TestRandom(state: 35)
        var lookup = Lookup(target: Self.target, from: Self.contacts(20, seed: 36, to: Self.target))
        var asked = 0
        while !lookup.isFinished {
            for contact in lookup.next() {
                asked += 1
                let invented = (0..<20).map { _ in
                    PeerContact(peer: KademliaNetwork.peer(&random), addresses: [])
                }
                _ = lookup.answered(contact.peer, closer: invented)
            }
            #expect(lookup.candidates.count <= KademliaLimits.candidatesMax)
        }
        #expect(asked <= KademliaLimits.requestsPerLookupMax)
        #expect(asked == lookup.requestCount)
    }
}
