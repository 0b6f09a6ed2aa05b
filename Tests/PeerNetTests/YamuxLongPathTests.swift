import Testing

@testable import PeerNet

/// Window tuning on a path whose bandwidth-delay product is far above the first window, in virtual time.
@Suite struct YamuxLongPathTests {
    /// Two sessions and a path between them that carries so much per tick and delays it.
    private struct Path {
        static let tick: Duration = .milliseconds(5)
        let bytesPerTick: Int
        let delayTicks: Int
        var sender = YamuxSession(isDialer: false, limits: YamuxLimits())
        var receiver = YamuxSession(isDialer: true, limits: YamuxLimits())
        var there: [[UInt8]]
        var back: [[UInt8]]
        var now = Moment(nanoseconds: 1_000_000_000)
        var received = 0

        init(bytesPerSecond: Int, oneWayDelay: Duration) {
            bytesPerTick = bytesPerSecond / 200
            delayTicks = Int(oneWayDelay / Self.tick)
            there = Array(repeating: [], count: delayTicks)
            back = there
        }

        /// One tick: what arrives, what is consumed, what leaves.
        mutating func step(refill: Bool) throws {
            now = now + Self.tick
            let (data, credit) = (there.removeFirst(), back.removeFirst())
            try credit.withUnsafeBytes { try sender.receive($0, at: now) }
            try data.withUnsafeBytes { try receiver.receive($0, at: now) }
            for event in receiver.events {
                guard case .data(let stream, let bytes) = event else { continue }
                received += bytes.count
                receiver.consume(bytes.count, of: stream, at: now)
            }
            for event in sender.events {
                if case .opened(let stream) = event { sender.setPriority(.bulk, of: stream) }
            }
            receiver.events = []
            sender.events = []
            if refill, let stream = sender.streams.keys.first, (sender.queuedBytes(of: stream) ?? 0) < 2 * bytesPerTick
            {
                sender.write([UInt8](repeating: 7, count: 2 * bytesPerTick), to: stream)
            }
            var output: [UInt8] = []
            sender.produce(into: &output, bytesMax: bytesPerTick)
            there.append(output)
            output = []
            receiver.produce(into: &output, bytesMax: bytesPerTick)
            back.append(output)
        }
    }

    @Test func oneStreamFillsALongFatPathFromTheFirstWindow() throws {
        let rate = 12_500_000
        var path = Path(bytesPerSecond: rate, oneWayDelay: .milliseconds(75))
        path.receiver.ping(at: path.now)
        let opened = path.receiver.open(priority: .control, windowBytes: 0, at: path.now)
        let stream = try #require(opened)
        for _ in 0..<600 { try path.step(refill: true) }
        // 256 KiB a round trip would be 14 % of this rate.
        let before = path.received
        for _ in 0..<400 { try path.step(refill: true) }
        let share = Double(path.received - before) / (2 * Double(rate))
        #expect(share > 0.98, "\(share)")
        let window = try #require(path.receiver.streams[stream]).windowBytes
        #expect((2 << 20...8 << 20).contains(window), "\(window)")
    }
}
