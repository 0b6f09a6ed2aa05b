import Testing

@testable import PeerNet

@Suite struct TokenBucketTests {
    private let start = Moment(nanoseconds: 5_000_000_000)

    @Test func theLevelRisesToTheBurstAndNoFurther() {
        var bucket = TokenBucket(bytesPerSecond: 100_000, burst: .milliseconds(50), at: start)
        #expect(bucket.level(at: start) == 5000)
        bucket.take(15_000)
        #expect(bucket.level(at: start) == -10_000)
        #expect(bucket.wait(at: start) == .milliseconds(100))
        #expect(bucket.wait(forLevel: -5000, at: start + .milliseconds(20)) == .milliseconds(30))
        #expect(bucket.level(at: start + .milliseconds(40)) == -6000)
        // Time that stands still or goes back pays nothing.
        #expect(bucket.level(at: start) == -6000)
        #expect(bucket.level(at: start + .seconds(9)) == 5000)
        #expect(bucket.wait(at: start + .seconds(9)) == .zero)
    }

    @Test func whatIsGivenBackIsKept() {
        var bucket = TokenBucket(bytesPerSecond: 100_000, burst: .milliseconds(50), at: start)
        bucket.take(80_000)
        _ = bucket.level(at: start + .milliseconds(750))
        bucket.take(-80_000)
        #expect(bucket.level(at: start + .seconds(1)) == 80_000)
        bucket.take(80_000)
        #expect(bucket.level(at: start + .milliseconds(1020)) == 2000)
    }

    @Test(arguments: [Int.min, -1, 0, 7999]) func aCapIsNeverBelowTheLeast(rate: Int) {
        let bucket = TokenBucket(bytesPerSecond: rate, burst: .milliseconds(50), at: start)
        #expect(bucket.bytesPerSecond == TokenBucket.bytesPerSecondMin)
    }

    @Test func whatIsTakenStaysWithinTheRate() {
        var random = TestRandom(state: 3)
        for _ in 0..<50 {
            let rate = Int.random(in: 8000...200_000_000, using: &random)
            var bucket = TokenBucket(bytesPerSecond: rate, burst: .milliseconds(50), at: start)
            var now = start
            var taken = 0
            for _ in 0..<5000 {
                now = now + .microseconds(Int.random(in: 0...5000, using: &random))
                while bucket.level(at: now) >= 0 {
                    let count = Int.random(in: 1...max(1, rate / 100), using: &random)
                    bucket.take(count)
                    taken += count
                }
            }
            let allowed = Double(rate) * (now - start).inSeconds
            // The burst at the start and the last debt are all that may be above the rate; nothing is lost.
            #expect(Double(taken) >= allowed && Double(taken) <= allowed + Double(rate) * 0.061)
        }
    }
}
