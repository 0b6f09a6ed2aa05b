import Testing

@testable import PeerNet

/// A tuner in front of a link, in virtual time.
private struct TunedLink {
    var tuner = ParallelTuner()
    var now = Moment(nanoseconds: 1_000_000_000)
    var connections = 1
    var opened = 0
    var closed = 0
    var canOpen = true
    var roundTrip: Duration = .milliseconds(100)

    /// Lets time pass with responses under way all the time; the link carries `rate` of its number of connections.
    mutating func run(_ seconds: Int, isBusy: Bool = true, rate: (Int) -> Double) {
        for _ in 0..<(seconds * 4) {
            now = now + .milliseconds(250)
            let bytes = isBusy ? Int(rate(connections) / 4) : 0
            switch tuner.sample(bytes: bytes, isBusy: isBusy, roundTrip: roundTrip, at: now) {
            case .nothing: break
            case .open where canOpen:
                opened += 1
                connections += 1
                tuner.opened()
            case .open: tuner.failed(at: now)
            case .close:
                closed += 1
                connections -= 1
            }
            #expect(connections == tuner.additional + 1)
        }
    }
}

@Suite struct ParallelTunerTests {
    @Test func connectionsAreAddedWhileEachBringsMore() {
        var link = TunedLink()
        link.run(120) { Double($0) * 1e6 }
        #expect(link.connections == 4 && link.closed == 0)
    }

    @Test func oneThatBringsNothingIsClosedAndNotTriedForAWhile() {
        var link = TunedLink()
        link.run(300) { _ in 5e6 }
        #expect(link.connections == 1 && link.opened == 1 && link.closed == 1)
        link.run(600) { _ in 5e6 }
        #expect(link.connections == 1 && link.opened == 2)
    }

    @Test func twoStayWhereTwoFillTheLink() {
        var link = TunedLink()
        link.run(200) { min(Double($0), 2) * 1e6 }
        #expect(link.connections == 2 && link.opened == 2 && link.closed == 1)
    }

    @Test func nothingIsTriedOnAShortPathOrWithoutNeed() {
        var near = TunedLink()
        near.roundTrip = .milliseconds(1)
        near.run(100) { Double($0) * 1e8 }
        #expect(near.opened == 0)
        var idle = TunedLink()
        idle.run(100, isBusy: false) { _ in 0 }
        #expect(idle.opened == 0)
    }

    @Test func additionalConnectionsGoWhenTheyAreNotNeeded() {
        var link = TunedLink()
        link.run(60) { Double($0) * 1e6 }
        #expect(link.connections > 1)
        link.run(400, isBusy: false) { _ in 0 }
        #expect(link.connections == 1)
        link.run(60) { Double($0) * 1e6 }
        #expect(link.connections > 1)
    }

    @Test func aConnectionThatCannotBeHadIsNotAskedForAgainAtOnce() {
        var link = TunedLink()
        link.canOpen = false
        link.run(500) { Double($0) * 1e6 }
        #expect(link.connections == 1)
        link.canOpen = true
        link.tuner.lost()
        #expect(link.tuner.additional == 0)
    }
}
