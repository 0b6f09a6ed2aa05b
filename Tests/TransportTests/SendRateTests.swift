import PeerNet
import Testing
import Transport

@Suite struct SendRateTests {
    private let start = Moment(nanoseconds: 1_000_000_000)

    /// Feeds writes that a socket of this rate takes late.
    private func drain(_ rate: inout SendRate, at bytesPerSecond: Double, for duration: Duration, from: Moment)
        -> Moment
    {
        var now = from
        while now - from < duration {
            let bytes = rate.writeBytes
            rate.accepted(bytes)
            now = now + .seconds(Double(bytes) / bytesPerSecond)
            rate.unblocked(at: now)
        }
        return now
    }

    @Test func aSlowLinkHoldsLittleAndAFastOneEnough() {
        var rate = SendRate()
        var now = drain(&rate, at: 125_000, for: .seconds(1), from: start)
        #expect(abs(rate.bytesPerSecond / 125_000 - 1) < 0.1)
        #expect(rate.unsentBytes == 16 << 10 && rate.writeBytes == 16 << 10)
        now = drain(&rate, at: 2_500_000, for: .seconds(1), from: now)
        #expect(abs(rate.bytesPerSecond / 2_500_000 - 1) < 0.05)
        #expect(rate.unsentBytes == 16 << 10 && rate.writeBytes == 16 << 10)
        now = drain(&rate, at: 500_000_000, for: .seconds(1), from: now)
        #expect(rate.unsentBytes == 128 << 10 && rate.writeBytes == 128 << 10)
    }

    @Test func timeWithoutAnythingToSendIsNotMeasured() {
        var rate = SendRate()
        let now = drain(&rate, at: 2_500_000, for: .seconds(1), from: start)
        let before = rate.bytesPerSecond
        rate.idle()
        rate.accepted(100)
        rate.unblocked(at: now + .seconds(10))
        #expect(rate.bytesPerSecond == before)
        rate.unhindered()
        #expect(rate.bytesPerSecond == before * 1.25)
        for _ in 0..<1000 { rate.unhindered() }
        #expect(rate.bytesPerSecond.isFinite && rate.writeBytes == 128 << 10)
    }
}
