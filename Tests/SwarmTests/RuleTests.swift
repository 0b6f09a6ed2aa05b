import Compression
import OuterSync
import PeerNet
import Testing

@testable import Swarm

@Suite("Pure rules")
struct RuleTests {
    let peers = (1...7).map { testIdentity($0).peerID }.sorted()

    private func subset(_ mask: Int, of voters: [PeerID]) -> [PeerID] {
        voters.indices.filter { mask >> $0 & 1 == 1 }.map { voters[$0] }
    }

    @Test(arguments: 1...7) func anyTwoQuorumsShareAVoter(count: Int) {
        let voters = Array(peers.prefix(count))
        let quorum = Quorum(voters)
        let quorums = (0..<1 << count).filter { quorum.isReached(by: subset($0, of: voters)) }
        #expect(quorums.contains((1 << count) - 1))
        for left in quorums {
            for right in quorums { #expect(left & right != 0) }
            for voter in 0..<count { #expect(quorums.contains(left | 1 << voter)) }
        }
    }

    @Test func exactlyHalfIsAQuorumOnlyWithTheLowestPeerID() {
        let quorum = Quorum(Array(peers.prefix(4)).reversed())
        #expect(quorum.isReached(by: [peers[0], peers[3]]))
        #expect(!quorum.isReached(by: [peers[1], peers[3]]))
        #expect(!quorum.isReached(by: [peers[0], peers[5], peers[6]]))
        #expect(!Quorum([]).isReached(by: peers))
    }

    @Test func rankIsAPermutationThatMovesWithTheCommit() {
        var firsts: Set<PeerID> = []
        for commit in 0..<40 {
            let rank = Rank(voters: peers, after: Digest(hashing: [UInt8(commit)]))
            #expect(Set((0..<7).map { rank.coordinator(of: $0) }) == Set(peers))
            #expect(rank.coordinator(of: 3) == rank.coordinator(of: 10))
            firsts.insert(rank.coordinator(of: 0))
            for peer in peers {
                let attempt = rank.attempt(of: peer, after: 4)
                #expect(attempt.map { rank.coordinator(of: $0) == peer && (5...11).contains($0) } == true)
            }
        }
        #expect(firsts.count == 7)
        #expect(Rank(voters: [peers[0]], after: Digest(hashing: [])).attempt(of: peers[1], after: nil) == nil)
    }

    @Test func everyTileHasOneOwnerAndWeightCounts() {
        let members = peers.prefix(3).map { (peer: $0, rateClass: UInt32($0 == peers[0] ? 8 : 2)) }
        let ownership = Ownership(members: members, fragment: FragmentIndex(1), tileCount: 1_200)
        let counts = (0..<3).map { ownership.tiles(of: $0).count }
        #expect(counts.reduce(0, +) == 1_200)
        #expect((700...900).contains(counts[0]))
        #expect(ownership.positions == [0, 1, 2])
    }

    @Test func aMemberThatLeavesMovesOnlyItsOwnTiles() {
        let all = peers.map { (peer: $0, rateClass: UInt32(4)) }
        let before = Ownership(members: all, fragment: FragmentIndex(0), tileCount: 300)
        let after = Ownership(members: Array(all.dropLast()), fragment: FragmentIndex(0), tileCount: 300)
        for tile in 0..<300 where before.owners[tile] != 6 { #expect(after.owners[tile] == before.owners[tile]) }
    }

    @Test func aDeadlineFollowsTheFastestHalf() {
        let limits = Limits()
        var deadline = LearntDeadline()
        #expect(deadline.value(bytes: 1_000_000, limits: limits) == limits.firstDeadline + .seconds(3))
        for seconds in [1, 1, 100, 100] { deadline.learn(.seconds(seconds)) }
        #expect(deadline.value(bytes: 0, limits: limits) == .seconds(3) + limits.deadlineGrace)
        for _ in 0..<40 { deadline.learn(.seconds(2)) }
        #expect(deadline.value(bytes: 0, limits: limits) == .seconds(6) + limits.deadlineGrace)
        for _ in 0..<40 { deadline.learn(.seconds(100_000)) }
        #expect(deadline.value(bytes: 0, limits: limits) == limits.deadlineMax)
    }

    @Test func aMemberSetHasOneEncoding() throws {
        for positions in [[], [0], [7], [8], [0, 9, 127]] {
            #expect(try MemberSet(bytes: MemberSet(positions).bytes).positions == positions)
        }
        #expect(throws: Refusal.self) { try MemberSet(bytes: [UInt8](repeating: 1, count: 17)) }
    }

    @Test func scalarsTellTheirRound() {
        let bytes = HeadScalars.bytes(
            fragment: FragmentIndex(3), round: RoundIndex(0x1_0203), tokens: 9, closed: true, voters: peers)
        #expect(NodeCore.round(ofScalars: bytes) == RoundIndex(0x1_0203))
        #expect(NodeCore.round(ofScalars: Array(bytes.prefix(20))) == nil)
        #expect(NodeCore.round(ofScalars: [1, 2, 3]) == nil)
    }
}

@Suite("A blob shelf")
struct BlobShelfTests {
    let peers = (1...3).map { testIdentity($0).peerID }
    let first = BlobReference(digest: Digest(hashing: [1]), byteCount: 10)
    let holder = BlobShelf.Holder.payload(FragmentIndex(0), RoundIndex(1))
    let other = BlobShelf.Holder.contribution(FragmentIndex(0), RoundIndex(1))

    @Test func aBlobIsDroppedWhenNobodyNeedsItAnyMore() {
        var shelf = BlobShelf()
        shelf.hold(first, for: holder)
        shelf.need(first, for: other, from: peers)
        #expect(shelf.nextFetch() == nil)
        #expect(shelf.release(other).isEmpty)
        #expect(shelf.release(holder) == [first.digest])
        #expect(!shelf.isHeld(first))
    }

    @Test func everySourceIsNamedOnceAndThenTheBlobRests() {
        var shelf = BlobShelf()
        shelf.need(first, for: holder, from: [peers[0], peers[1]])
        #expect(shelf.nextFetch()?.sources == [peers[0], peers[1]])
        #expect(shelf.nextFetch() == nil)
        // Somebody else turns out to hold it while it is on its way.
        shelf.need(first, for: other, from: [peers[1], peers[2]])
        #expect(shelf.nextFetch()?.sources == [peers[2]])
        #expect(shelf.nextFetch() == nil && shelf.inFlight == 1)
        #expect(shelf.failed(first) == [holder, other])
        #expect(shelf.nextFetch() == nil && shelf.inFlight == 0 && shelf.hasResting)
        #expect(shelf.hasFailed(first, sweeps: 1) && !shelf.hasFailed(first, sweeps: 2))
        shelf.wake()
        #expect(shelf.nextFetch()?.sources == peers)
        #expect(shelf.fetched(first) == [holder, other])
        #expect(shelf.isHeld(first))
    }

    @Test func aSourceThatComesTooLateForAFetchStartsTheNext() {
        var shelf = BlobShelf()
        shelf.need(first, for: holder, from: [peers[0]])
        #expect(shelf.nextFetch()?.sources == [peers[0]])
        shelf.need(first, for: holder, from: [peers[1]])
        // The failure is on its way before the new source was told.
        #expect(shelf.failed(first) == [holder])
        #expect(shelf.nextFetch()?.sources == [peers[1]] && shelf.inFlight == 1)
        _ = shelf.failed(first)
        #expect(shelf.nextFetch() == nil && shelf.hasFailed(first, sweeps: 1))
        // What a fetch has begun goes with the need.
        #expect(shelf.release(holder) == [first.digest])
    }

    @Test func aFetchThatNobodyWaitsForEndsInADrop() {
        var shelf = BlobShelf()
        shelf.need(first, for: holder, from: peers)
        #expect(shelf.nextFetch() != nil)
        #expect(shelf.release(holder).isEmpty)
        #expect(shelf.fetched(first) == [])
        #expect(shelf.inFlight == 0)
        #expect(shelf.fetched(first) == nil)
    }

    @Test func aFalseSizeIsAnotherBlobAndItsSignersAreNamed() {
        let wrong = BlobReference(digest: first.digest, byteCount: 9)
        var shelf = BlobShelf()
        shelf.need(wrong, for: other, from: [peers[0], peers[1]], namedBy: peers[0])
        shelf.need(first, for: holder, from: [peers[1]], namedBy: peers[1])
        #expect(shelf.nextFetch() == .init(blob: wrong, sources: [peers[0], peers[1]]))
        #expect(shelf.nextFetch() == .init(blob: first, sources: [peers[1]]))
        #expect(shelf.fetched(first) == [holder])
        #expect(shelf.isHeld(first) && !shelf.isHeld(wrong))
        let refuted = shelf.refuted(wrong)
        #expect(refuted.holders == [other] && refuted.signers == [peers[0]])
        #expect(shelf.hasFailed(wrong, sweeps: 100) && !shelf.hasResting && shelf.inFlight == 0)
        shelf.wake()
        shelf.need(wrong, for: other, from: peers)
        #expect(shelf.nextFetch() == nil)
        // The file has the digest's name: it goes when no size of it is needed any more.
        #expect(shelf.release(other).isEmpty && shelf.isNeeded(first.digest))
        #expect(shelf.release(holder) == [first.digest] && shelf.all.isEmpty)
    }

    @Test func fetchesInFlightAreBounded() {
        var shelf = BlobShelf()
        for number in 0..<100 {
            shelf.need(BlobReference(digest: Digest(hashing: [UInt8(number)]), byteCount: 1), for: holder, from: peers)
        }
        var fetches = 0
        while shelf.nextFetch() != nil { fetches += 1 }
        #expect(fetches == Limits.fetchesInFlightMax)
    }
}
