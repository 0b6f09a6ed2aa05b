import Testing

@testable import PeerNet

@Suite struct DialRaceTests {
    let a = try! Multiaddr("/ip4/1.1.1.1/tcp/1")
    let b = try! Multiaddr("/ip4/2.2.2.2/tcp/1")
    let c = try! Multiaddr("/ip4/3.3.3.3/tcp/1")
    let name = try! Multiaddr("/dns4/example.org/tcp/1")
    let start = Moment(nanoseconds: 5_000_000_000)

    private func race(_ addresses: [Multiaddr]) -> DialRace {
        DialRace(addresses, resolveTimeout: .seconds(5), connectTimeout: .seconds(15))
    }

    @Test func eachAddressHasAHeadStartOfAQuarterSecond() {
        var race = race([a, b, c])
        #expect(race.nextDeadline == .zero)
        #expect(race.advance(to: start) == [.connect(0, a)])
        #expect(race.advance(to: start + .milliseconds(249)) == [])
        #expect(race.nextDeadline == start + .milliseconds(250))
        #expect(race.advance(to: start + .milliseconds(250)) == [.connect(1, b)])
        #expect(race.advance(to: start + .milliseconds(499)) == [])
        #expect(race.advance(to: start + .milliseconds(500)) == [.connect(2, c)])
        #expect(race.nextDeadline == start + .seconds(15), "nothing is left but the sockets")
        #expect(race.address(of: 1) == b)
        #expect(race.succeeded(1) == [.abandon(0), .abandon(2)])
        #expect(race.isOver && race.nextDeadline == nil)
        #expect(race.failed(0, at: start) == [] && race.succeeded(2) == [])
    }

    @Test func aFailureStartsTheNextAtOnce() {
        var race = race([a, b])
        _ = race.advance(to: start)
        #expect(race.failed(0, at: start + .milliseconds(10)) == [.exhausted(a), .connect(1, b)])
        #expect(!race.isOver)
        #expect(race.failed(1, at: start + .milliseconds(20)) == [.exhausted(b)])
        #expect(race.isOver)
        #expect(race.failed(1, at: start + .milliseconds(30)) == [])
    }

    @Test func socketsAndNamesThatDoNotAnswerAreGivenUpInTime() {
        var race = race([a, name])
        _ = race.advance(to: start)
        #expect(race.advance(to: start + .milliseconds(250)) == [.resolve(1, name)])
        #expect(race.nextDeadline == start + .milliseconds(5250))
        #expect(race.advance(to: start + .milliseconds(5250)) == [.abandon(1), .exhausted(name)])
        #expect(race.advance(to: start + .seconds(15)) == [.abandon(0), .exhausted(a)])
        #expect(race.isOver)
        var late = self.race([name])
        _ = late.advance(to: start)
        _ = late.advance(to: start + .seconds(5))
        #expect(late.isOver)
        #expect(late.resolved(0, to: [a], at: start + .seconds(6)) == [], "the answer came too late")
        var authenticating = self.race([a])
        _ = authenticating.advance(to: start)
        authenticating.connected(0)
        #expect(authenticating.advance(to: start + .seconds(60)) == [] && !authenticating.isOver)
    }

    @Test func whatANameLeadsToGoesNext() {
        var race = race([name, c])
        #expect(race.advance(to: start) == [.resolve(0, name)])
        #expect(race.resolved(0, to: [a, b], at: start + .milliseconds(5)) == [.connect(1, a)])
        #expect(race.failed(1, at: start + .milliseconds(6)) == [.connect(2, b)], "the name is not exhausted yet")
        #expect(race.address(of: 2) == name)
        #expect(race.failed(2, at: start + .milliseconds(7)) == [.exhausted(name), .connect(3, c)])
        #expect(race.succeeded(3) == [])
        var unknown = self.race([name])
        _ = unknown.advance(to: start)
        #expect(unknown.resolved(0, to: [], at: start) == [.exhausted(name)])
        #expect(unknown.isOver)
    }

    @Test func aResolverCannotMakeTheRaceEndless() {
        var race = race([name, a])
        _ = race.advance(to: start)
        let many = (1...200).map { try! Multiaddr("/ip4/9.9.9.9/tcp/\($0)") }
        var actions = race.resolved(0, to: many, at: start)
        var attempts = 1
        while case .connect(let id, _)? = actions.first {
            attempts += 1
            actions = race.failed(id, at: start)
        }
        #expect(attempts == DialRace.attemptsMax)
        #expect(actions == [.exhausted(name), .exhausted(a)])
        #expect(race.isOver)
    }

    @Test func cancellingGivesEverythingUp() {
        var race = race([a, b])
        _ = race.advance(to: start)
        _ = race.advance(to: start + .seconds(1))
        #expect(race.cancel() == [.abandon(0), .abandon(1)])
        #expect(race.isOver && race.failed(0, at: start) == [])
        var empty = self.race([])
        #expect(empty.isOver && empty.advance(to: start) == [] && empty.nextDeadline == nil)
    }
}
