import PeerNet
import Testing

@testable import Swarm

/// Takers that ask for one piece after the other, as fast as they are allowed to.
private struct Takers {
    var serving: FairServing
    let piece: Int
    var now: Moment
    var owners: [FairServing.Ticket: PeerID] = [:]
    var bytes: [PeerID: Int] = [:]
    /// Who takes only so many pieces per second.
    var slow: [PeerID: Duration] = [:]
    var asksAt: [FairServing.Ticket: Moment] = [:]

    init(_ caps: FairServing.Caps) {
        now = .zero + .seconds(1)
        serving = FairServing(caps, at: now)
        piece = caps.pieceByteCount
    }

    mutating func add(_ peer: PeerID, requests: Int = 1) {
        for _ in 0..<requests { owners[serving.begin(peer, at: now)] = peer }
    }

    mutating func remove(_ peer: PeerID) {
        for (ticket, owner) in owners where owner == peer {
            serving.end(ticket, at: now)
            owners[ticket] = nil
            asksAt[ticket] = nil
        }
    }

    private mutating func ask(_ asked: inout Set<FairServing.Ticket>) {
        for (ticket, at) in asksAt.sorted(by: { $0.key < $1.key }) where at <= now && owners[ticket] != nil {
            asksAt[ticket] = nil
            asked.insert(ticket)
            serving.ask(ticket, byteCount: piece, at: now)
        }
    }

    /// Runs for a while; wake-ups come late by up to `lateness`.
    mutating func run(_ duration: Duration, lateness: Duration = .zero) {
        let end = now + duration
        var asked: Set<FairServing.Ticket> = []
        while now < end {
            var granted = serving.takeGranted()
            while !granted.isEmpty {
                for ticket in granted {
                    if asked.remove(ticket) != nil, let peer = owners[ticket] { bytes[peer, default: 0] += piece }
                    asksAt[ticket] = now + (owners[ticket].flatMap { slow[$0] } ?? .zero)
                }
                ask(&asked)
                granted = serving.takeGranted()
            }
            ask(&asked)
            let next = [serving.nextDeadline, asksAt.values.min()].compactMap { $0 }.min() ?? end
            now = min(end, max(now + .microseconds(1), next + lateness))
            serving.advance(to: now)
        }
        for ticket in asked { asksAt[ticket] = now }
    }
}

@Suite("Fair serving")
struct FairServingTests {
    let peers = (1...4).map { testIdentity($0).peerID }

    @Test(arguments: [20_000.0, 250_000, 2_500_000, 100_000_000], [0, 30])
    func theCapForAllIsMetWithin1Percent(rate: Double, lateMilliseconds: Int) {
        var takers = Takers(.init(bytesPerSecond: rate))
        for peer in peers { takers.add(peer, requests: 3) }
        takers.run(.seconds(30), lateness: .milliseconds(lateMilliseconds))
        let sent = Double(takers.bytes.values.reduce(0, +)) / 30
        #expect(abs(sent / rate - 1) < 0.01, "\(sent) of \(rate)")
    }

    @Test func theCapOfEachIsMetWithin1Percent() {
        var takers = Takers(.init(bytesPerSecond: 10_000_000, bytesPerSecondEach: 500_000))
        for peer in peers { takers.add(peer, requests: 3) }
        takers.run(.seconds(20))
        for peer in peers { #expect(abs(Double(takers.bytes[peer]!) / 20 / 500_000 - 1) < 0.01) }
    }

    @Test func manyRequestsGiveNoLargerShare() {
        var takers = Takers(.init(bytesPerSecond: 1_000_000))
        for (peer, count) in zip(peers, [1, 2, 10, 60]) { takers.add(peer, requests: count) }
        takers.run(.seconds(20))
        for peer in peers { #expect(abs(Double(takers.bytes[peer]!) / 20 / 250_000 - 1) < 0.03) }
    }

    @Test func whatOneDoesNotTakeTheOthersGet() {
        var takers = Takers(.init(bytesPerSecond: 1_000_000))
        for peer in peers { takers.add(peer) }
        // 20,000 bytes per piece, five pieces per second: 100,000 bytes per second.
        takers.slow[peers[0]] = .milliseconds(200)
        takers.run(.seconds(20))
        let slow = Double(takers.bytes[peers[0]]!) / 20
        #expect(slow > 70_000 && slow <= 100_000)
        let rest = (1_000_000 - slow) / 3
        for peer in peers.dropFirst() { #expect(abs(Double(takers.bytes[peer]!) / 20 / rest - 1) < 0.03) }
    }

    @Test func aPauseEarnsNoCredit() {
        var takers = Takers(.init(bytesPerSecond: 1_000_000))
        takers.add(peers[0])
        takers.add(peers[1])
        takers.run(.seconds(5))
        takers.remove(peers[1])
        takers.run(.seconds(60))
        takers.bytes = [:]
        takers.add(peers[1])
        takers.run(.seconds(4))
        #expect(abs(Double(takers.bytes[peers[0]]!) / 4 / 500_000 - 1) < 0.05)
        // Nor does coming back as a stranger pay a debt off.
        for _ in 0..<40 {
            takers.remove(peers[1])
            takers.add(peers[1])
            takers.run(.milliseconds(100))
        }
        #expect(Double(takers.bytes.values.reduce(0, +)) / 8 < 1_020_000)
    }

    @Test func fewRunAtOnceAndEveryTakerGetsATurn() {
        var caps = FairServing.Caps()
        caps.responsesMax = 4
        caps.responsesEachMax = 3
        let now = Moment.zero
        var serving = FairServing(caps, at: now)
        let first = (0..<10).map { _ in serving.begin(peers[0], at: now) }
        #expect(serving.takeGranted() == Array(first.prefix(3)))
        let second = (0..<2).map { _ in serving.begin(peers[1], at: now) }
        #expect(serving.takeGranted() == [second[0]])
        // The place that is free goes to the taker with fewer, though it came later.
        serving.end(first[0], at: now)
        #expect(serving.takeGranted() == [second[1]])
        // One that gives up while it waits takes no place.
        serving.end(first[3], at: now)
        serving.end(first[1], at: now)
        #expect(serving.takeGranted() == [first[4]])
        for ticket in first + second { serving.end(ticket, at: now) }
        #expect(serving.nextDeadline == nil)
    }

    @Test func withoutCapsNothingWaits() {
        var serving = FairServing(.init(), at: .zero)
        let ticket = serving.begin(peers[0], at: .zero)
        #expect(serving.takeGranted() == [ticket])
        for _ in 0..<100 {
            serving.ask(ticket, byteCount: 128 << 10, at: .zero)
            #expect(serving.takeGranted() == [ticket] && serving.nextDeadline == nil)
        }
    }
}
