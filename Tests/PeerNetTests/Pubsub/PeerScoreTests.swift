import Testing

@testable import PeerNet

@Suite struct PeerScoreTests {
    private let peer = testIdentity(1).peerID
    private let start = Moment(nanoseconds: 1_000_000_000)

    private func scores(_ change: (inout ScoreParameters) -> Void = { _ in }) -> PeerScores {
        var parameters = ScoreParameters()
        change(&parameters)
        var scores = PeerScores(parameters: parameters)
        scores.connected(peer, group: nil)
        scores.advance(to: start)
        return scores
    }

    private func pass(_ scores: inout PeerScores, seconds: Int, from moment: Moment? = nil) -> Moment {
        var now = moment ?? start
        for _ in 0..<seconds {
            now = now + .seconds(1)
            scores.advance(to: now)
        }
        return now
    }

    @Test func timeInTheMeshCountsLittleAndIsCapped() {
        var scores = scores()
        scores.grafted(peer, trainingTopic, at: start)
        let now = pass(&scores, seconds: 100)
        #expect(abs(scores.score(of: peer) - 1) < 1e-9)
        _ = pass(&scores, seconds: 2000, from: now)
        #expect(abs(scores.score(of: peer) - 9) < 1e-9)
        scores.pruned(peer, trainingTopic)
        #expect(scores.score(of: peer) == 0)
    }

    @Test func firstDeliveriesAreCappedAndHalveInTwoMinutes() {
        var scores = scores()
        for _ in 0..<100 { scores.deliveredFirst(peer, trainingTopic) }
        #expect(scores.score(of: peer) == 20)
        _ = pass(&scores, seconds: 120)
        #expect(abs(scores.score(of: peer) - 10) < 0.01)
    }

    @Test func theSumOfTopicsIsCapped() {
        var scores = scores()
        for number in 0..<10 {
            let topic = Topic("t\(number)")!
            for _ in 0..<40 { scores.deliveredFirst(peer, topic) }
        }
        #expect(scores.score(of: peer) == 30)
    }

    @Test func invalidMessagesCountSquaredAndOutweighAllMerit() {
        var scores = scores()
        for number in 0..<10 {
            for _ in 0..<40 { scores.deliveredFirst(peer, Topic("t\(number)")!) }
        }
        var single = self.scores()
        single.deliveredInvalid(peer, trainingTopic)
        #expect(single.score(of: peer) == -10)
        single.deliveredInvalid(peer, trainingTopic)
        #expect(single.score(of: peer) == -40)
        _ = pass(&single, seconds: 600)
        #expect(abs(single.score(of: peer) + 10) < 0.1)
    }

    @Test func misbehaviourIsFreeUpToTheThreshold() {
        var scores = scores()
        scores.misbehaved(peer, by: 6)
        #expect(scores.score(of: peer) == 0)
        scores.misbehaved(peer, by: 3)
        #expect(scores.score(of: peer) == -90)
        _ = pass(&scores, seconds: 60)
        #expect(scores.score(of: peer) == 0)
    }

    @Test func deficitsOfDeliveriesCountOnlyWithTheirWeights() {
        var silent = scores()
        silent.grafted(peer, trainingTopic, at: start)
        _ = pass(&silent, seconds: 10)
        #expect(silent.score(of: peer) > 0, "bursty topics are the default")
        var strict = scores {
            $0.defaultTopic.meshDeliveriesWeight = -1
            $0.defaultTopic.meshFailureWeight = -1
        }
        strict.grafted(peer, trainingTopic, at: start)
        let now = pass(&strict, seconds: 5)
        #expect(strict.score(of: peer) > 0, "not yet due")
        for _ in 0..<15 { strict.deliveredFirst(peer, trainingTopic) }
        for _ in 0..<5 { strict.deliveredAgain(peer, trainingTopic) }
        _ = pass(&strict, seconds: 1, from: now)
        let score = strict.score(of: peer)
        #expect(score > 0 && score < 8)
        // The counter fades within minutes; who leaves in deficit takes it along.
        _ = pass(&strict, seconds: 600, from: now + .seconds(1))
        #expect(strict.score(of: peer) < -300)
        strict.pruned(peer, trainingTopic)
        #expect(strict.score(of: peer) < -300)
    }

    @Test func peersOfOneAddressBeyondTheThresholdCountSquared() {
        var scores = scores { $0.groupsExempt = ["198.51.100.1"] }
        for index in 10..<22 {
            for (number, group) in ["192.0.2.1", "127.0.0.1", "::1", "198.51.100.1"].enumerated() {
                scores.connected(testIdentity(index + number * 100).peerID, group: group)
            }
        }
        #expect(scores.score(of: testIdentity(10).peerID) == -20)
        for number in 1...3 { #expect(scores.score(of: testIdentity(10 + number * 100).peerID) == 0) }
        for index in 10..<12 { scores.disconnected(testIdentity(index).peerID, at: start) }
        #expect(scores.score(of: testIdentity(12).peerID) == 0)
    }

    @Test func groupsOfAddressesAreHostsOrHouseholds() throws {
        #expect(try Multiaddr("/ip4/192.0.2.1/tcp/1").scoredAddress == "192.0.2.1")
        #expect(try Multiaddr("/ip6/2001:db8:1:2:3::4/tcp/1").scoredAddress == "2001:db8:1:2::/64")
        #expect(try Multiaddr("/ip6/::ffff:192.0.2.1/tcp/1").scoredAddress == "192.0.2.1")
        #expect(try Multiaddr("/ip6/::ffff:127.0.0.1/tcp/1").scoredAddress == nil)
        #expect(try Multiaddr("/ip6/::1/tcp/1").scoredAddress == nil)
        #expect(try Multiaddr("/ip4/127.0.0.1/tcp/1").scoredAddress == nil)
        #expect(try Multiaddr("/dns4/example.com/tcp/1").scoredAddress == nil)
    }

    @Test func badScoresSurviveReconnectingAndGoodOnesDoNot() {
        var scores = scores()
        scores.deliveredFirst(peer, trainingTopic)
        scores.disconnected(peer, at: start)
        #expect(scores.retained == 0)
        scores.connected(peer, group: nil)
        #expect(scores.score(of: peer) == 0)
        scores.deliveredInvalid(peer, trainingTopic)
        scores.disconnected(peer, at: start)
        #expect(scores.retained == 1)
        let now = pass(&scores, seconds: 1000)
        #expect(scores.score(of: peer) == -10, "nothing fades meanwhile")
        scores.connected(peer, group: nil)
        #expect(scores.retained == 0 && scores.score(of: peer) == -10)
        scores.disconnected(peer, at: now)
        _ = pass(&scores, seconds: 3601, from: now)
        #expect(scores.retained == 0 && scores.score(of: peer) == 0)
    }

    @Test func retainedScoresAreBoundedAndTheWorstStay() {
        var scores = scores()
        for _ in 0..<5 { scores.deliveredInvalid(peer, trainingTopic) }
        scores.disconnected(peer, at: start)
        for index in 0..<PubsubLimits.retainedScoresMax + 50 {
            let other = testIdentity(index + 100).peerID
            scores.connected(other, group: nil)
            scores.deliveredInvalid(other, trainingTopic)
            scores.disconnected(other, at: start)
        }
        #expect(scores.retained == PubsubLimits.retainedScoresMax)
        #expect(scores.entries.count == PubsubLimits.retainedScoresMax)
        #expect(scores.score(of: peer) == -250)
    }
}
