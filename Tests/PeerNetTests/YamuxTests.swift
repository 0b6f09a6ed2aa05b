import Testing

@testable import PeerNet

@Suite struct YamuxTests {
    private let now = Moment(nanoseconds: 1_000_000_000)

    private func feed(_ session: inout YamuxSession, _ bytes: [UInt8], at moment: Moment? = nil) throws {
        try bytes.withUnsafeBytes { try session.receive($0, at: moment ?? now) }
    }

    private func output(_ session: inout YamuxSession, bytesMax: Int = 1 << 20) -> [UInt8] {
        var bytes: [UInt8] = []
        session.produce(into: &bytes, bytesMax: bytesMax)
        return bytes
    }

    private func events(_ session: inout YamuxSession) -> [YamuxSession.Event] {
        defer { session.events = [] }
        return session.events
    }

    private func frame(
        _ kind: YamuxHeader.Kind, _ flags: YamuxHeader.Flags = [], _ id: UInt32, _ length: Int, _ body: [UInt8] = []
    ) -> [UInt8] {
        var bytes: [UInt8] = []
        YamuxHeader(kind, flags, streamID: id, length: UInt32(length)).append(to: &bytes)
        return bytes + body
    }

    @Test func framesMatchTheVectors() throws {
        var dialer = YamuxSession(isDialer: true, limits: YamuxLimits())
        let stream = dialer.open(priority: .control, windowBytes: 0, at: now)!
        #expect(output(&dialer) == hex("000100010000000100000000"))
        dialer.write(Array("hello".utf8), to: stream)
        #expect(output(&dialer) == hex("00000000000000010000000568656c6c6f"))
        dialer.finish(stream)
        #expect(output(&dialer) == hex("000100040000000100000000"))
        dialer.reset(stream)
        #expect(output(&dialer) == hex("000100080000000100000000"))

        var listener = YamuxSession(isDialer: false, limits: YamuxLimits())
        try feed(&listener, hex("000100010000000100000000"))
        #expect(output(&listener) == hex("000100020000000100000000"))
        try feed(&listener, hex("00000000000000010000000568656c6c6f"))
        try feed(&listener, hex("000100040000000100000000"))
        try feed(&listener, hex("000200010000000000000007"))
        #expect(output(&listener) == hex("000200020000000000000007"))
        let id = StreamID(1)
        #expect(events(&listener) == [.opened(id), .data(id, Array("hello".utf8)), .finished(id)])
        listener.goAway(code: 1)
        #expect(output(&listener) == hex("000300000000000000000001"))
        #expect(!listener.hasOutput())
    }

    @Test func pingMeasuresTheRoundTrip() throws {
        var session = YamuxSession(isDialer: true, limits: YamuxLimits())
        session.ping(at: now)
        #expect(output(&session) == hex("000200010000000000000001"))
        try feed(&session, hex("000200020000000000000009"))
        #expect(session.roundTrip == nil)
        try feed(&session, hex("000200020000000000000001"), at: now + .milliseconds(20))
        #expect(session.roundTrip == .milliseconds(20))
        try feed(&session, hex("000200020000000000000001"), at: now + .milliseconds(90))
        #expect(session.roundTrip == .milliseconds(20))
    }

    @Test func pongsThatWaitAreBounded() throws {
        var session = YamuxSession(isDialer: true, limits: YamuxLimits())
        for value in 0..<10_000 { try feed(&session, frame(.ping, .syn, 0, value)) }
        #expect(output(&session).count == session.limits.waitingPongsMax * 12)
    }

    @Test func dataBeyondTheCreditIsRefusedByItsHeader() throws {
        var session = YamuxSession(isDialer: false, limits: YamuxLimits())
        try feed(&session, frame(.data, .syn, 1, 262_144))
        try feed(&session, [UInt8](repeating: 0, count: 262_144))
        #expect(throws: Violation.yamuxWindowExceeded(stream: 1, bytes: 1, credit: 0)) {
            try feed(&session, frame(.data, [], 1, 1))
        }
        var other = YamuxSession(isDialer: false, limits: YamuxLimits())
        #expect(throws: Violation.yamuxWindowExceeded(stream: 1, bytes: 262_145, credit: 262_144)) {
            try feed(&other, frame(.data, .syn, 1, 262_145))
        }
        #expect(other.streams.isEmpty)
    }

    @Test func creditThatOverflowsEndsTheSession() throws {
        var session = YamuxSession(isDialer: false, limits: YamuxLimits())
        try feed(&session, frame(.windowUpdate, .syn, 1, 0))
        #expect(throws: Violation.yamuxCreditOverflow(stream: 1)) {
            try feed(&session, frame(.windowUpdate, [], 1, Int(UInt32.max)))
        }
    }

    @Test(arguments: [
        (hex("010000000000000100000000"), Violation.yamuxVersionUnknown(1)),
        (hex("000400000000000100000000"), .yamuxTypeUnknown(4)),
        (hex("000000100000000100000000"), .yamuxFlagsUnknown(16)),
        (hex("000000000000000000000000"), .yamuxStreamIDInvalid(0)),
        (hex("000200010000000100000000"), .yamuxStreamIDInvalid(1)),
        (hex("000100010000000200000000"), .yamuxStreamIDReused(2)),
        (hex("000100010000000100000000000100010000000100000000"), .yamuxStreamIDReused(1)),
        (hex("000100010000000300000000000100010000000100000000"), .yamuxStreamIDReused(1)),
        (hex("000100050000000100000000 000000000000000100000001 00"), .yamuxDataAfterFinish(stream: 1)),
    ])
    func brokenRulesAreNamed(bytes: [UInt8], violation: Violation) {
        var session = YamuxSession(isDialer: false, limits: YamuxLimits())
        #expect(throws: violation) { try feed(&session, bytes) }
    }

    @Test func framesOfUnknownStreamsAreDiscarded() throws {
        var session = YamuxSession(isDialer: false, limits: YamuxLimits())
        try feed(&session, frame(.data, [], 9, 5, [1, 2, 3, 4, 5]))
        try feed(&session, frame(.windowUpdate, .rst, 9, 77))
        try feed(&session, frame(.data, [], 11, 1_000_000))
        try feed(&session, [UInt8](repeating: 0, count: 1_000_000))
        try feed(&session, frame(.windowUpdate, .syn, 1, 0))
        #expect(events(&session) == [.opened(StreamID(1))])
    }

    @Test func finishOnADataFrameComesAfterItsBytes() throws {
        var session = YamuxSession(isDialer: false, limits: YamuxLimits())
        let bytes = frame(.data, [.syn, .fin], 1, 3, [7, 8, 9])
        for byte in bytes { try feed(&session, [byte]) }
        let id = StreamID(1)
        #expect(events(&session) == [.opened(id), .data(id, [7]), .data(id, [8]), .data(id, [9]), .finished(id)])
    }

    @Test func resetCodesAreNotCredit() throws {
        var session = YamuxSession(isDialer: true, limits: YamuxLimits())
        let stream = session.open(priority: .bulk, windowBytes: 0, at: now)!
        try feed(&session, frame(.windowUpdate, [.ack], 1, Int(UInt32.max) - 262_144))
        try feed(&session, frame(.windowUpdate, [.rst], 1, 0x1002))
        #expect(events(&session) == [.reset(stream, code: 0x1002)])
    }

    @Test func inboundStreamsBeyondTheLimitAreResetAlone() throws {
        var limits = YamuxLimits()
        limits.inboundStreamsMax = 2
        limits.waitingFramesMax = 10
        var session = YamuxSession(isDialer: false, limits: limits)
        for id in [1, 3, 5] { try feed(&session, frame(.windowUpdate, .syn, UInt32(id), 0)) }
        #expect(events(&session) == [.opened(StreamID(1)), .opened(StreamID(3))])
        #expect(output(&session).starts(with: frame(.windowUpdate, .rst, 5, 0)))
        // A peer that opens and resets without reading is cut off.
        #expect(throws: Violation.yamuxWaitingFramesTooMany(max: 10)) {
            for id in stride(from: 7, to: 100, by: 2) {
                try feed(&session, frame(.windowUpdate, .syn, UInt32(id), 0))
                try feed(&session, frame(.windowUpdate, .rst, UInt32(id - 6), 0))
            }
        }
    }

    @Test func controlGoesBeforeBulkAndBulkInTurns() throws {
        var session = YamuxSession(isDialer: true, limits: YamuxLimits())
        let bulk = session.open(priority: .bulk, windowBytes: 0, at: now)!
        let other = session.open(priority: .bulk, windowBytes: 0, at: now)!
        let control = session.open(priority: .control, windowBytes: 0, at: now)!
        _ = output(&session)
        session.write([UInt8](repeating: 1, count: 40_000), to: bulk)
        session.write([UInt8](repeating: 2, count: 40_000), to: other)
        session.write([3], to: control)
        var order: [(UInt32, UInt32)] = []
        let bytes = output(&session)
        var offset = 0
        while offset < bytes.count {
            let header = try bytes[offset...].withUnsafeBytes { try YamuxHeader(bytes: $0) }
            order.append((header.streamID, header.length))
            offset += 12 + Int(header.length)
        }
        #expect(order.map(\.0) == [5, 1, 3, 1, 3, 1, 3])
        #expect(order.map(\.1) == [1, 16384, 16384, 16384, 16384, 7232, 7232])
        session.write([UInt8](repeating: 1, count: 40_000), to: bulk)
        // A slow link gets short frames, so that control never waits for a long one.
        #expect(output(&session, bytesMax: 4000).count == 12 + 4000)
        #expect(output(&session, bytesMax: 1).count == 12 + 1024)
        // Bulk that must wait lets control pass.
        session.write([3], to: control)
        var urgent: [UInt8] = []
        session.produce(into: &urgent, bytesMax: 1 << 20, includingBulk: false)
        #expect(urgent.count == 13)
        #expect(session.hasOutput() && !session.hasOutput(includingBulk: false))
    }

    @Test func aWindowThatLimitsTheRateGrowsWithinTheBudget() throws {
        var limits = YamuxLimits()
        limits.grantedBytesMax = 1 << 20
        var session = YamuxSession(isDialer: false, limits: limits)
        session.ping(at: now)
        _ = output(&session)
        try feed(&session, hex("000200020000000000000001"), at: now + .milliseconds(100))
        try feed(&session, frame(.windowUpdate, .syn, 1, 0), at: now + .milliseconds(100))
        let id = StreamID(1)
        var moment = now + .milliseconds(100)
        // A peer that fills the window every round trip.
        for _ in 0..<40 {
            let credit = try #require(session.streams[id]).receiveCredit
            moment = moment + .milliseconds(100)
            try feed(&session, frame(.data, [], 1, credit) + [UInt8](repeating: 0, count: credit), at: moment)
            session.consume(credit, of: id, at: moment)
            _ = output(&session)
            session.events = []
        }
        #expect(session.streams[id]?.windowBytes == 262_144 + 1 << 20)
        // A slow one does not make it grow.
        try feed(&session, frame(.windowUpdate, .rst, 1, 0), at: moment)
        try feed(&session, frame(.windowUpdate, .syn, 3, 0), at: moment)
        for _ in 0..<40 {
            moment = moment + .seconds(1)
            try feed(&session, frame(.data, [], 3, 131_072) + [UInt8](repeating: 0, count: 131_072), at: moment)
            session.consume(131_072, of: StreamID(3), at: moment)
            _ = output(&session)
        }
        #expect(session.streams[StreamID(3)]?.windowBytes == 262_144)
    }

    @Test func aStreamThatBecomesBulkGoesBehindControlEvenIfItWaitsAlready() throws {
        var session = YamuxSession(isDialer: true, limits: YamuxLimits())
        let bulk = session.open(priority: .control, windowBytes: 0, at: .zero)
        let control = session.open(priority: .control, windowBytes: 0, at: .zero)
        let (first, second) = try (#require(bulk), #require(control))
        session.write([UInt8](repeating: 1, count: 100_000), to: first)
        session.setPriority(.bulk, of: first)
        #expect(session.hasOutput(includingBulk: true))
        session.write([2], to: second)
        var frames: [UInt8] = []
        session.produce(into: &frames, bytesMax: 1 << 20, includingBulk: false)
        #expect(frames.count < 1000, "bulk goes out though it must wait")
        #expect(!session.hasOutput(includingBulk: false))
        #expect(session.hasOutput())
    }

    @Test func randomBytesNeverTrap() {
        var random = TestRandom(state: 7)
        for _ in 0..<300 {
            var session = YamuxSession(isDialer: false, limits: YamuxLimits())
            _ = session.open(priority: .bulk, windowBytes: 0, at: now)
            for _ in 0..<20 {
                // Mostly valid fields, so that deep states are reached.
                let kind = YamuxHeader.Kind(rawValue: UInt8.random(in: 0...3, using: &random))!
                let flags = YamuxHeader.Flags(rawValue: UInt16.random(in: 0...15, using: &random))
                let id = UInt32.random(in: 0...6, using: &random)
                let length = Int.random(in: 0...300_000, using: &random)
                let body = kind == .data ? random.bytes(min(length, Int.random(in: 0...64, using: &random))) : []
                do { try feed(&session, frame(kind, flags, id, length, body)) } catch { break }
                _ = output(&session)
            }
        }
    }
}
