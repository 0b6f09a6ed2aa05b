import Testing

@testable import PeerNet

@Suite struct ReachabilityJudgeTests {
    private static let address = try! Multiaddr("/ip4/198.51.100.1/tcp/4001")

    private static func peer(_ seed: UInt8) -> PeerID { Identity(seed: [UInt8](repeating: seed, count: 32))!.peerID }

    @Test func oneProofIsEnoughAndSeveralDenialsTakeItBack() {
        var judge = ReachabilityJudge()
        #expect(!judge.isReachable)
        judge.take(.undecided(.noAnswer), from: Self.peer(1))
        judge.take(.unreachable(Self.address), from: Self.peer(1))
        judge.take(.reachable(Self.address), from: Self.peer(2))
        #expect(judge.isReachable)
        // One peer, however often, may be the one that is cut off.
        for _ in 0..<9 { judge.take(.unreachable(Self.address), from: Self.peer(1)) }
        judge.take(.unreachable(Self.address), from: Self.peer(2))
        #expect(judge.isReachable)
        judge.take(.unreachable(Self.address), from: Self.peer(3))
        #expect(!judge.isReachable)
    }

    @Test func roundsBecomeRarer() {
        var judge = ReachabilityJudge()
        let first = judge.roundEnded(hasAsked: false)
        #expect(first == .seconds(30))
        for seconds in [30, 60, 120, 240, 480, 600] {
            let wait = judge.roundEnded(hasAsked: true)
            #expect(wait == .seconds(seconds))
        }
        var known = ReachabilityJudge()
        known.take(.reachable(Self.address), from: Self.peer(1))
        let wait = known.roundEnded(hasAsked: true)
        #expect(wait == .seconds(600))
    }

    @Test func whatPeersSeeIsCheckedAfterWhatIsToldAndNothingLocalIs() throws {
        let seen = try Multiaddr("/ip4/198.51.100.2/tcp/4001")
        let local = try Multiaddr("/ip4/192.168.1.2/tcp/4001")
        let found = ReachabilityJudge.candidates(told: [local, Self.address], seen: [Self.address, seen, local, seen])
        #expect(found == [Self.address, seen])
    }
}
