package import PeerNet

/// A TCP relay on loopback that behaves like one link of given rate, delay and queue, for measurements and tests.
///
/// It ends TCP on both sides, so no packet is lost: a full queue holds the sender back, as a router's queue does in the
/// end. Each connection has the link to itself.
package actor ShapedRelay {
    package nonisolated let loop: Loop
    package nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }

    private let target: Multiaddr
    private let shape: LinkShape
    private var listener: StreamHandle?
    private var pairs: [ObjectIdentifier: RelayedPair] = [:]

    /// Prepares a relay to a TCP address of this machine.
    package init(to target: Multiaddr, shape: LinkShape, loop: Loop) {
        self.target = target
        self.shape = shape
        self.loop = loop
    }

    /// Listens on a free port of 127.0.0.1 and returns its address.
    package func start() throws(TransportError) -> Multiaddr {
        let refused = TransportError.cannotListen(target, reason: "the relay cannot open a socket on 127.0.0.1")
        guard let address = SocketAddress(ipBytes: [127, 0, 0, 1], port: 0),
            let handle = StreamHandle(.tcp, on: loop)
        else { throw refused }
        guard address.withSockaddr({ handle.bind(to: $0) }) == 0 else {
            handle.close()
            throw refused
        }
        handle.limitSegments(to: LinkShape.segmentBytes)
        // Before the first connection, which inherits it: a window that was once offered cannot be taken back.
        handle.limitReceiveWindow(to: Self.windowBytes(of: shape))
        guard handle.listen(backlog: 16) == 0, let bound = SocketAddress(of: handle, remote: false)?.multiaddr else {
            handle.close()
            throw refused
        }
        listener = handle
        handle.onConnection = { self.accept() }
        return bound
    }

    /// Closes everything.
    package func stop() {
        listener?.close()
        listener = nil
        for pair in pairs.values { pair.close() }
        pairs = [:]
    }

    private func accept() {
        guard let listener, let near = StreamHandle(.tcp, on: loop) else { return }
        guard listener.accept(into: near), let far = StreamHandle(.tcp, on: loop), let address = targetAddress else {
            return near.close()
        }
        let shape = shape
        let pair = RelayedPair(near, far, shape: shape, loop: loop)
        let id = ObjectIdentifier(pair)
        pairs[id] = pair
        pair.onClosed = { self.pairs[id] = nil }
        // Bound first, because there is no socket to set an option of before.
        if let local = SocketAddress(ipBytes: [127, 0, 0, 1], port: 0), local.withSockaddr({ far.bind(to: $0) }) == 0 {
            far.limitSegments(to: LinkShape.segmentBytes)
            far.limitReceiveWindow(to: Self.windowBytes(of: shape))
        }
        far.connect(to: address) { status in
            guard status == 0 else { return pair.close() }
            pair.start()
        }
    }

    /// What the system takes beyond the shaped queue: 5 ms of the link, and enough segments to keep TCP going.
    private static func windowBytes(of shape: LinkShape) -> Int {
        max(24 << 10, Int(min(shape.bytesPerSecond, 1e10) * 0.005))
    }

    private var targetAddress: SocketAddress? {
        switch target.tcpEndpoint {
        case (.ip4(let bytes), let port)?, (.ip6(let bytes), let port)?: SocketAddress(ipBytes: bytes, port: port)
        default: nil
        }
    }
}

/// Two sockets and the shaped link between them. Loop thread only.
private final class RelayedPair {
    private let directions: [RelayedDirection]
    private var isClosed = false
    var onClosed: (() -> Void)?

    init(_ near: StreamHandle, _ far: StreamHandle, shape: LinkShape, loop: Loop) {
        directions = [
            RelayedDirection(from: near, to: far, shape: shape, loop: loop),
            RelayedDirection(from: far, to: near, shape: shape, loop: loop),
        ]
        for direction in directions {
            direction.onDone = { [unowned self] in if directions.allSatisfy(\.isDone) { close() } }
            direction.onFailure = { [unowned self] in close() }
        }
    }

    func start() {
        for direction in directions { direction.start() }
    }

    func close() {
        guard !isClosed else { return }
        isClosed = true
        for direction in directions { direction.close() }
        onClosed?()
    }
}

/// One direction: reads as long as the queue has room, writes what arrives.
private final class RelayedDirection {
    private let source: StreamHandle
    private let sink: StreamHandle
    private var queue: ShapedQueue
    private var timer: TimerHandle?
    private var isReading = false
    private var hasEnded = false
    private(set) var isDone = false
    var onDone: (() -> Void)?
    var onFailure: (() -> Void)?

    init(from source: StreamHandle, to sink: StreamHandle, shape: LinkShape, loop: Loop) {
        self.source = source
        self.sink = sink
        queue = ShapedQueue(shape)
        timer = TimerHandle(on: loop) { [unowned self] in advance() }
        source.readBytesMax = queue.readBytes
        source.onRead = { [unowned self] bytes in
            queue.take(bytes, at: Loop.now)
            advance()
        }
        source.onEnd = { [unowned self] reason in
            if reason != nil { return onFailure?() ?? () }
            hasEnded = true
            isReading = false
            advance()
        }
        sink.onWritten = { [unowned self] _ in advance() }
    }

    func start() {
        source.tuneForLatency(unsentBytesMax: 64 << 10)
        advance()
    }

    private func advance() {
        guard timer != nil else { return }
        let now = Loop.now
        if !sink.isWriting {
            let bytes = queue.arrived(at: now)
            if !bytes.isEmpty { _ = sink.write(bytes) }
        }
        let hasRoom = queue.hasRoom(at: now)
        if hasRoom != isReading, !hasEnded {
            isReading = hasRoom
            if !hasRoom {
                source.stopReading()
            } else if !source.startReading() {
                return onFailure?() ?? ()
            }
        }
        if hasEnded, queue.count == 0, !sink.isWriting, !isDone {
            isDone = true
            sink.shutdownWriting()
            return onDone?() ?? ()
        }
        // A sink that is behind calls back when it has caught up.
        var deadlines = isReading || hasEnded ? [] : [max(queue.roomAt, now + .milliseconds(1))]
        if !sink.isWriting, let due = queue.nextDue { deadlines.append(due) }
        if let deadline = deadlines.min() { timer?.set(deadline) }
    }

    func close() {
        timer?.close()
        timer = nil
        source.close()
    }
}
