import Testing

@testable import PeerNet
@testable import Swarm

@Suite("How often strangers are judged")
struct AdmissionRateTests {
    private func peer(_ number: Int) -> PeerID {
        PeerID(publicKey: (0..<32).map { $0 < 2 ? UInt8(truncatingIfNeeded: number >> (8 * $0)) : 0 })!
    }

    @Test func onePeerIsAnsweredAFewTimesPerWindow() {
        var rate = AdmissionRate()
        var now = Moment.zero + .seconds(1)
        let answers = (0..<6).map { rate.count(peer(1), isPresentation: $0 % 2 == 0, at: now) }
        #expect(answers == [true, true, true, true, false, false])
        let isOtherAnswered = rate.count(peer(2), isPresentation: true, at: now)
        #expect(isOtherAnswered)
        now = now + AdmissionRate.window
        let isAnsweredLater = rate.count(peer(1), isPresentation: true, at: now)
        #expect(isAnsweredLater)
    }

    @Test func manyIdentitiesGetNoMoreSignaturesChecked() {
        var rate = AdmissionRate()
        var now = Moment.zero + .seconds(1)
        var judged = 0
        // A thousand new identities per second, for a minute.
        for number in 0..<60_000 {
            if rate.count(peer(number), isPresentation: true, at: now) { judged += 1 }
            now = now + .milliseconds(1)
        }
        #expect(judged == 6 * AdmissionRate.presentationsMax)
        // Who shows nothing costs little, and is still answered.
        let isAnswered = rate.count(peer(60_001), isPresentation: false, at: now)
        #expect(isAnswered)
        let asked = (0..<1_000).count { rate.count(peer($0), isPresentation: false, at: now) }
        #expect(asked < AdmissionRate.requestsMax)
    }
}
