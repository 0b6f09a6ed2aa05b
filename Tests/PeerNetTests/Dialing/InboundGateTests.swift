import Testing

@testable import PeerNet

@Suite struct InboundGateTests {
    let start = Moment(nanoseconds: 5_000_000_000)

    private func address(_ text: String) -> Multiaddr { try! Multiaddr("/ip4/\(text)/tcp/9") }

    @Test func oneGroupCannotTakeEveryPlace() {
        var limits = InboundGate.Limits()
        limits.groupAcceptsAtOnce = 1000
        var gate = InboundGate(limits: limits)
        for id in 0..<UInt64(limits.groupConnectionsMax) {
            #expect(gate.admit(id, from: address("8.8.8.\(id)"), at: start) == .admitted)
            gate.authenticated(id)
        }
        #expect(gate.admit(900, from: address("8.8.8.200"), at: start) == .refused(.group))
        #expect(gate.admit(901, from: address("8.8.9.200"), at: start) == .admitted)
        #expect(gate.admit(902, from: address("8.8.8.201"), isExempt: true, at: start) == .admitted)
        gate.closed(3)
        gate.closed(3)
        #expect(gate.admit(903, from: address("8.8.8.202"), at: start) == .admitted)
        #expect(gate.count == limits.groupConnectionsMax + 2)
    }

    @Test func ownNetworksHaveALimitOfTheirOwnAndLoopbackNone() {
        var limits = InboundGate.Limits()
        limits.groupAcceptsAtOnce = 1000
        var gate = InboundGate(limits: limits)
        for id in 0..<UInt64(limits.localGroupConnectionsMax) {
            #expect(gate.admit(id, from: address("10.0.0.\(id)"), at: start) == .admitted)
            gate.authenticated(id)
        }
        #expect(gate.admit(900, from: address("10.0.0.200"), at: start) == .refused(.group))
        for id in 1000..<1096 {
            #expect(gate.admit(UInt64(id), from: address("127.0.0.1"), at: start) == .admitted)
            gate.authenticated(UInt64(id))
        }
        #expect(gate.count == limits.connectionsMax)
        #expect(gate.admit(2000, from: address("127.0.0.1"), at: start) == .refused(.connections))
    }

    @Test func aFloodOfSilentConnectionsGivesWayToNewcomers() {
        var limits = InboundGate.Limits()
        limits.groupAcceptsAtOnce = 10_000
        var gate = InboundGate(limits: limits)
        // One group fills its own half-open places, and is then refused for a second.
        for id in 0..<UInt64(limits.groupHalfOpenMax) {
            #expect(gate.admit(id, from: address("8.8.8.1"), at: start) == .admitted)
        }
        #expect(gate.admit(500, from: address("8.8.8.2"), at: start) == .refused(.halfOpen))
        let later = start + .seconds(1)
        #expect(gate.admit(501, from: address("8.8.8.2"), at: later) == .admittedInPlace(of: 0))
        // Many groups fill all places: the most crowded one pays.
        for id in 0..<UInt64(limits.halfOpenMax - limits.groupHalfOpenMax) {
            #expect(gate.admit(1000 + id, from: address("9.9.\(id).1"), at: later) == .admitted)
        }
        #expect(gate.admit(2000, from: address("7.7.7.7"), at: later) == .admittedInPlace(of: 1))
        #expect(gate.admit(2001, from: address("7.7.6.7"), at: later) == .admittedInPlace(of: 2))
        #expect(gate.count == limits.halfOpenMax)
    }

    @Test func oneGroupIsLetInSoManyTimesPerSecond() {
        var limits = InboundGate.Limits()
        limits.groupAcceptsPerSecond = 10
        limits.groupAcceptsAtOnce = 20
        var gate = InboundGate(limits: limits)
        var admitted = 0
        // A thousand attempts per second for ten seconds, each closed at once.
        for step in 0..<10_000 {
            let now = start + .milliseconds(step)
            guard gate.admit(UInt64(step), from: address("8.8.8.8"), at: now) == .admitted else { continue }
            admitted += 1
            gate.closed(UInt64(step))
        }
        #expect((118...120).contains(admitted))
        #expect(gate.count == 0)
    }

    /// Random arrivals and ends: the counts always match what is open, and no limit is ever passed.
    @Test func countsMatchWhateverHappens() {
        var random = TestRandom(state: 4)
        var limits = InboundGate.Limits()
        limits.connectionsMax = 40
        limits.groupConnectionsMax = 8
        limits.halfOpenMax = 12
        limits.groupHalfOpenMax = 4
        limits.countsLoopback = true
        var gate = InboundGate(limits: limits)
        var open: [UInt64: (group: Int, isAuthenticated: Bool)] = [:]
        for step in 0..<20_000 {
            let now = start + .milliseconds(step * 20)
            let id = UInt64(step)
            switch Int.random(in: 0..<4, using: &random) {
            case 0, 1:
                let group = Int.random(in: 0..<6, using: &random)
                switch gate.admit(id, from: address("8.8.\(group).1"), at: now) {
                case .admitted: open[id] = (group, false)
                case .admittedInPlace(let victim):
                    #expect(open.removeValue(forKey: victim)?.isAuthenticated == false)
                    open[id] = (group, false)
                case .refused: break
                }
            case 2:
                guard let some = open.keys.sorted().randomElement(using: &random) else { continue }
                gate.authenticated(some)
                open[some]?.isAuthenticated = true
            default:
                guard let some = open.keys.sorted().randomElement(using: &random) else { continue }
                gate.closed(some)
                open[some] = nil
            }
            #expect(gate.count == open.count && open.count <= limits.connectionsMax)
            #expect(open.values.count { !$0.isAuthenticated } <= limits.halfOpenMax)
            for group in 0..<6 {
                #expect(open.values.count { $0.group == group } <= limits.groupConnectionsMax)
                #expect(
                    open.values.count { $0.group == group && !$0.isAuthenticated } <= limits.groupHalfOpenMax)
            }
        }
    }

    @Test func groupsThatAreGoneAreForgotten() {
        var gate = InboundGate(limits: InboundGate.Limits())
        for id in 0..<UInt64(20_000) {
            _ = gate.admit(id, from: address("\(1 + id % 200).\(id / 200 % 250).\(id / 5000).1"), at: start)
            gate.closed(id)
        }
        #expect(gate.groupCount <= 1025)
    }
}

@Suite struct ConnectionTrimmingTests {
    let now = Moment(nanoseconds: 1_000_000_000_000)

    private func candidate(
        _ id: UInt64, ageSeconds: Int = 100, bytes: Double = 0, group: UInt32? = nil, isProtected: Bool = false
    ) -> ConnectionTrimming.Candidate {
        ConnectionTrimming.Candidate(
            id: id, isProtected: isProtected, since: now + .seconds(-ageSeconds), usefulBytes: bytes,
            group: group.map { .ip4($0) })
    }

    @Test func protectedAndNewConnectionsStay() {
        let all = [
            candidate(1, isProtected: true), candidate(2, ageSeconds: 29), candidate(3, ageSeconds: 30),
            candidate(4, ageSeconds: 500),
        ]
        #expect(ConnectionTrimming.victims(among: all, count: 4, at: now) == [3, 4])
    }

    @Test func theLeastUsefulGoFirstThenTheCrowdThenTheYoungest() {
        let all = [
            candidate(1, ageSeconds: 400, bytes: 1e6, group: 1), candidate(2, ageSeconds: 400, bytes: 10, group: 2),
            candidate(3, ageSeconds: 300, bytes: 0, group: 3), candidate(4, ageSeconds: 90, bytes: 0, group: 3),
            candidate(5, ageSeconds: 50, bytes: 0, group: 4), candidate(6, ageSeconds: 60, bytes: 1e9, group: 5),
        ]
        // 3 and 4 share a group; then 5, 3 and 2 are alone and of no use, the youngest first; then by use.
        #expect(ConnectionTrimming.victims(among: all, count: 9, at: now) == [4, 5, 3, 2, 1, 6])
        #expect(ConnectionTrimming.victims(among: all, count: 2, at: now) == [4, 5])
        #expect(ConnectionTrimming.victims(among: [], count: 2, at: now) == [])
    }

    @Test func aSybilSwarmPaysForItself() {
        let sybils = (0..<100).map { candidate(UInt64($0), ageSeconds: 1000 + $0, bytes: 100, group: 7) }
        let honest = (0..<50).map { candidate(UInt64(500 + $0), ageSeconds: 40, bytes: 100, group: UInt32(100 + $0)) }
        let victims = ConnectionTrimming.victims(among: sybils + honest, count: 90, at: now)
        #expect(victims.count == 90 && victims.allSatisfy { $0 < 100 })
    }
}
