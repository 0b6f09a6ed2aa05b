import PeerNet
import Synchronization

/// Measures one connection between two hosts of this process, each with a loop, and so a core, of its own.
package actor ConnectionBench {
    package nonisolated let loop = Loop.shared
    package nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }

    /// What one connection carried.
    package struct Throughput: Sendable {
        /// Bytes of the responses, per second.
        package var bytesPerSecond: Double
    }

    /// What a shaped link carried, and how heartbeats fared meanwhile.
    package struct Shaped: Sendable {
        /// Bytes of the response, per second, after the first seconds.
        package var bytesPerSecond: Double
        /// The path's one-way delay, as heartbeats found it while nothing else was sent.
        package var pathDelay: Duration
        /// What heartbeats took beyond that, sorted: those in the direction of the response.
        package var extraDelays: [Duration]
        /// The same for those against it.
        package var extraDelaysBack: [Duration]
        /// The last round trip that the connection measured by itself.
        package var roundTrip: Duration?
    }

    private static let bulk = "/atoll/bench/bulk/1.0.0"
    private static let heartbeat = "/atoll/bench/heartbeat/1.0.0"
    private static let heartbeatInterval: Duration = .milliseconds(50)

    // Loops never end, so all benches share these.
    private static let giverLoop = Loop()
    private static let takerLoop = Loop()
    private static let relayLoop = Loop()

    private let giver: PeerHost
    private let taker: PeerHost
    private let received = ByteCounter()

    /// Prepares two hosts; the caps are the giver's for upload and the taker's for download.
    package init(uploadBytesPerSecond: Int? = nil, downloadBytesPerSecond: Int? = nil) {
        let loopback = Multiaddr(ipBytes: [127, 0, 0, 1], tcpPort: 0)
        var configuration = PeerHostConfiguration(
            listenAddresses: [loopback].compactMap { $0 }, agentVersion: "atoll/bench")
        configuration.uploadBytesPerSecond = uploadBytesPerSecond
        giver = PeerHost(identity: Self.identity(), configuration: configuration, loop: Self.giverLoop)
        configuration = PeerHostConfiguration(listenAddresses: [], agentVersion: "atoll/bench")
        configuration.downloadBytesPerSecond = downloadBytesPerSecond
        taker = PeerHost(identity: Self.identity(), configuration: configuration, loop: Self.takerLoop)
    }

    private static func identity() -> Identity {
        guard let identity = Identity(seed: Entropy.bytes(32)) else { preconditionFailure("32 bytes are a seed") }
        return identity
    }

    /// Starts both hosts and connects them; through a relay if a shape is given.
    private func join(_ shape: LinkShape?) async throws(TransportError) -> ShapedRelay? {
        // Reused for every response: what is measured is the connection, not the making of bytes.
        let piece = [UInt8](repeating: 7, count: 64 << 10)
        let block = [UInt8](repeating: 7, count: shape == nil ? Self.blockBytes : 0)
        let answer = [UInt8](repeating: 7, count: shape == nil ? 0 : Self.answerBytes)
        await giver.serve(Self.bulk, requestBytesMax: 1) { _, request in
            switch request {
            case [0]: .bytes(block)
            case [2]: .bytes(answer)
            default: .pieces { piece }
            }
        }
        for host in [giver, taker] { await host.acceptMessages(on: Self.heartbeat, messageBytesMax: 8) }
        var addresses = try await giver.start()
        _ = try await taker.start()
        var relay: ShapedRelay?
        if let shape, let target = addresses.first {
            let started = ShapedRelay(to: target, shape: shape, loop: Self.relayLoop)
            addresses = [try await started.start()]
            relay = started
        }
        _ = try await taker.connect(to: addresses.map { $0.encapsulating(p2p: giver.peerID) })
        return relay
    }

    // MARK: Throughput

    /// Length of one response, and how many are under way at once on the connection.
    private static let blockBytes = 16 << 20
    private static let requestsAtOnce = 4

    /// Fetches responses over one connection for so long; once per bench.
    package func throughput(for duration: Duration) async throws(TransportError) -> Throughput {
        _ = try await join(nil)
        let (taker, received, peer) = (taker, received, giver.peerID)
        // Cancelled and awaited below.
        let fetchers = (0..<Self.requestsAtOnce).map { _ in
            Task {
                while !Task.isCancelled {
                    _ = try await taker.request(
                        [0], to: peer, on: Self.bulk, responseBytesMax: Self.blockBytes,
                        sink: { received.add($0.count) })
                }
            }
        }
        await pause(.milliseconds(300))
        let (start, before) = (Loop.now, received.count)
        await pause(duration)
        let bytes = received.count - before
        let seconds = (Loop.now - start).inSeconds
        for fetcher in fetchers { fetcher.cancel() }
        for fetcher in fetchers { _ = await fetcher.result }
        await giver.stop()
        await taker.stop()
        return Throughput(bytesPerSecond: Double(bytes) / seconds)
    }

    // MARK: A link that bounds each connection

    /// What the first connection carried by itself, and what it and the additional ones carry at the end.
    package struct Spread: Sendable {
        /// Bytes per second in the first seconds, and in the last ones.
        package var first: Double
        package var last: Double
    }

    private static let answerBytes = 256 << 10
    private static let answersAtOnce = 16

    /// Fetches many responses where each connection has a link of its own, as where a provider bounds each by itself; for
    /// so long that the host can find out how many connections pay. Once per bench.
    package func spread(_ shape: LinkShape, for duration: Duration) async throws(TransportError) -> Spread {
        let relay = try await join(shape)
        let (taker, received, peer) = (taker, received, giver.peerID)
        // Ended by stop(), and awaited below.
        let listener = Task { await Self.listen(taker) }
        // Cancelled and awaited below.
        let fetchers = (0..<Self.answersAtOnce).map { _ in
            Task {
                while !Task.isCancelled {
                    let bytes = try await taker.request(
                        [2], to: peer, on: Self.bulk, responseBytesMax: Self.answerBytes)
                    received.add(bytes.count)
                }
            }
        }
        func rate(_ seconds: Int) async -> Double {
            let (start, before) = (Loop.now, received.count)
            await pause(.seconds(seconds))
            return Double(received.count - before) / (Loop.now - start).inSeconds
        }
        await pause(.seconds(1))
        let first = await rate(2)
        await pause(duration)
        let last = await rate(4)
        for fetcher in fetchers { fetcher.cancel() }
        for fetcher in fetchers { _ = await fetcher.result }
        await giver.stop()
        await taker.stop()
        await relay?.stop()
        _ = await listener.value
        return Spread(first: first, last: last)
    }

    // MARK: A shaped link

    /// Sends one endless response over a shaped link, and heartbeats both ways beside it; once per bench.
    package func shaped(
        _ shape: LinkShape, settling: Duration, for duration: Duration
    ) async throws(TransportError) -> Shaped {
        let relay = try await join(shape)
        let (giver, taker, received) = (giver, taker, received)
        // Ended by stop(), and awaited below.
        let listeners = [taker, giver].map { host in Task { await Self.listen(host) } }
        // Cancelled and awaited below.
        let beating = Task {
            while !Task.isCancelled {
                await giver.send(Self.timeStamp(), to: taker.peerID, on: Self.heartbeat)
                await taker.send(Self.timeStamp(), to: giver.peerID, on: Self.heartbeat)
                await pause(Self.heartbeatInterval)
            }
        }
        await pause(.milliseconds(500) + shape.oneWayDelay * 4)
        let filledAt = Loop.now
        let fetching = Task {
            _ = try await taker.request(
                [1], to: giver.peerID, on: Self.bulk, responseBytesMax: .max, sink: { received.add($0.count) })
        }
        await pause(settling)
        let (start, before) = (Loop.now, received.count)
        await pause(duration)
        let rate = Double(received.count - before) / (Loop.now - start).inSeconds
        let roundTrip = await taker.peers().first?.roundTripTime
        beating.cancel()
        fetching.cancel()
        await beating.value
        _ = await fetching.result
        await giver.stop()
        await taker.stop()
        await relay?.stop()
        let (there, back) = (await listeners[0].value, await listeners[1].value)
        let idle = there.filter { $0.sentAt < filledAt }.map(\.delay).sorted()
        let path = idle.isEmpty ? shape.oneWayDelay : idle[idle.count / 2]
        func extra(_ beats: [Heartbeat]) -> [Duration] {
            beats.filter { $0.sentAt >= filledAt }.map { $0.delay - path }.sorted()
        }
        return Shaped(
            bytesPerSecond: rate, pathDelay: path, extraDelays: extra(there), extraDelaysBack: extra(back),
            roundTrip: roundTrip)
    }

    /// One heartbeat that arrived.
    private struct Heartbeat: Sendable {
        var sentAt: Moment
        var delay: Duration
    }

    private static func timeStamp() -> [UInt8] {
        withUnsafeBytes(of: Loop.now.nanoseconds.littleEndian) { Array($0) }
    }

    private static func listen(_ host: PeerHost) async -> [Heartbeat] {
        var beats: [Heartbeat] = []
        while let event = await host.next() {
            guard case .message(_, _, let bytes) = event, bytes.count == 8 else { continue }
            let sent = bytes.withUnsafeBytes { UInt64(littleEndian: $0.loadUnaligned(as: UInt64.self)) }
            let sentAt = Moment(nanoseconds: sent)
            beats.append(Heartbeat(sentAt: sentAt, delay: Loop.now - sentAt))
        }
        return beats
    }

    private func pause(_ duration: Duration) async {
        await withCheckedContinuation { continuation in
            var timer: TimerHandle?
            timer = TimerHandle(on: loop) {
                timer?.close()
                timer = nil
                continuation.resume()
            }
            timer?.set(Loop.now + duration)
        }
    }
}

/// A count of bytes that two threads touch.
private final class ByteCounter: Sendable {
    private let total = Atomic(0)

    var count: Int { total.load(ordering: .relaxed) }
    func add(_ count: Int) { total.wrappingAdd(count, ordering: .relaxed) }
}
