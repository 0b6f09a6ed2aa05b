import Compression
import OuterSync
import PeerNet
import Testing

@testable import Swarm

@Suite("Claims of tokens") struct CommittedTokensTests {
    @Test func noContributorCountsForMoreThanTheOthersAndTheWindowAllow() {
        #expect(CommittedTokens.counted([], most: 100) == 0)
        #expect(CommittedTokens.counted([7], most: 100) == 7)
        #expect(CommittedTokens.counted([700], most: 100) == 100)
        #expect(CommittedTokens.counted([1, 2, 3], most: 100) == 6)
        #expect(CommittedTokens.counted([10, 12, 1 << 40], most: 1 << 48) == 22 + 16 * 12)
        // Of two the smaller claim is the median.
        #expect(CommittedTokens.counted([1 << 40, 10], most: 1 << 48) == 10 + 160)
        let all = [UInt64](repeating: Limits.shareMax, count: Limits.roundMembersMax)
        #expect(CommittedTokens.counted(all, most: Limits.shareMax) == Limits.shareMax << 7)
    }

    @Test func theCharterBoundsWhatOneContributionCounts() {
        var charter = testCharter(founder: testIdentity(1).peerID)
        #expect(CommittedTokens.most(charter) == 16 * 20 * 8 * 128)
        charter.innerStepsPerRound = 1_000_000
        charter.inner.batchSequences = 1 << 4
        charter.model.contextLength = 1 << 20
        #expect(CommittedTokens.most(charter) < Limits.shareMax)
    }

    @Test(arguments: [1, 3]) func oneJoinDoesNotEndTheTraining(nodes: Int) {
        let swarm = TestSwarm(nodes: nodes, budget: 10_000_000)
        for number in 0..<nodes { swarm.start(number) }
        swarm.at(6) { $0.nodes[nodes - 1].progress.tokens += 1 << 40 }
        #expect(swarm.run(until: 60) { $0.nodes.allSatisfy { $0.heads.allSatisfy { $0.round >= 8 } } })
        #expect(swarm.headsAreEqual)
        for node in swarm.nodes {
            #expect(!node.stopped && node.committedTokens > 0)
            #expect(node.committedTokens < 2 * CommittedTokens.most(swarm.charter))
        }
        #expect(swarm.violations.isEmpty)
    }
}

@Suite("Messages before their roster") struct StashTests {
    private let peers = (1...40).map { testIdentity(UInt8($0)).peerID }

    private func offer(_ number: Int) -> Message {
        .offer(
            Offer(
                id: AttemptID(FragmentIndex(0), RoundIndex(1), 0),
                blob: BlobReference(digest: Digest(hashing: [UInt8(number & 255), UInt8(number >> 8)]), byteCount: 9)))
    }

    @Test func oneSenderPushesOutNobody() {
        var round = Round(after: RoundFixture().ledger().tip, at: .zero)
        for number in 0..<2_000 { round.stash(offer(number), attempt: 0, from: peers[0]) }
        #expect(round.early.count == Round.earlyMax)
        for peer in peers.dropFirst() { for number in 0..<3 { round.stash(offer(number), attempt: 0, from: peer) } }
        for number in 0..<2_000 { round.stash(offer(5_000 + number), attempt: 0, from: peers[0]) }
        #expect(round.early.count == Round.earlyMax)
        for peer in peers.dropFirst() { #expect(round.early.filter { $0.from == peer }.count == 3) }
    }

    @Test func theSameMessageIsKeptOnce() {
        var round = Round(after: RoundFixture().ledger().tip, at: .zero)
        for _ in 0..<5 { round.stash(offer(1), attempt: 0, from: peers[0]) }
        round.stash(offer(1), attempt: 0, from: peers[1])
        #expect(round.early.count == 2 && round.takeEarly(attempt: 0).count == 2 && round.early.isEmpty)
    }
}

@Suite("Who is remembered of links") struct LinkMemoryTests {
    private func peer(_ number: Int) -> PeerID {
        PeerID(publicKey: [UInt8(number >> 8), UInt8(number & 255)] + [UInt8](repeating: 9, count: 30))!
    }

    @Test func theOldestThatIsNotConnectedMakesRoom() {
        var book = LinkBook()
        // Of ids that ascend, so that an order by id would be seen.
        for number in 0..<Limits.membersMax {
            book.update(peer(number)) { $0.roundTrip = .milliseconds(1) }
            if number < 8 { book.connected(peer(number)) }
        }
        book.measured(.milliseconds(3), to: peer(8))
        book.measured(.milliseconds(3), to: peer(5_000))
        #expect(book[peer(9)] == nil && book[peer(8)] != nil && book[peer(5_000)] != nil)
        for number in 0..<8 { #expect(book[peer(number)] != nil) }
        book.disconnected(peer(3))
        for number in 0..<Limits.membersMax { book.measured(.milliseconds(2), to: peer(10_000 + number)) }
        #expect(book.links.count == Limits.membersMax && book[peer(3)] == nil)
        for number in [0, 1, 2, 4, 5, 6, 7] { #expect(book[peer(number)]?.isConnected == true) }
    }

    @Test func aBookOfConnectedPeersTakesNobodyNew() {
        var book = LinkBook()
        for number in 0..<Limits.membersMax { book.connected(peer(number)) }
        book.measured(.milliseconds(3), to: peer(5_000))
        #expect(book[peer(5_000)] == nil && book.links.count == Limits.membersMax)
    }

    /// Of two that meet one lets the other in before it is let in itself: its greeting comes too early and is not heard.
    @Test(arguments: 1...4) func everybodyIsGreetedWhereSomebodyWasLetInLater(seed: UInt64) throws {
        let swarm = TestSwarm(nodes: 4, seed: seed, admission: .invite)
        swarm.start(0)
        let shared = try swarm.issue(uses: 3)
        for number in 1...3 { swarm.nodes[number].credential = shared }
        for number in 1..<4 { swarm.start(number) }
        swarm.run(until: 60)
        for node in swarm.nodes {
            for other in swarm.nodes where other.number != node.number {
                guard node.core?.peers.isMember(other.peerID) == true else { continue }
                #expect(node.core?.links[other.peerID]?.hello != nil, "\(node.number) of \(other.number)")
            }
        }
        #expect(swarm.violations.isEmpty)
    }
}
