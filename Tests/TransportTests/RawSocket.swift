import Glibc

@testable import PeerNet
@testable import Transport

/// A plain TCP socket of an attacker. Never blocks longer than a few milliseconds.
final class RawSocket {
    let descriptor: Int32

    /// Connects to a listener of this machine, from another of its loopback addresses if one is named.
    init(to address: Multiaddr, from source: String? = nil) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        if let source {
            let bytes = source.split(separator: ".").map { UInt8($0)! }
            let bound = SocketAddress(ipBytes: bytes, port: 0)!.withSockaddr {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
            guard bound == 0 else { throw TransportError.stopped }
        }
        // The kernel completes connections to a listener's queue by itself, so that this does not wait for anybody.
        let status = SocketAddress(address)!.withSockaddr {
            connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
        guard status == 0 else { throw TransportError.stopped }
        _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
        var one: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, 4)
    }

    /// Sends what the system takes; gives how much that was, or nil if the other side is gone.
    @discardableResult
    func send(_ bytes: [UInt8]) -> Int? {
        let sent = Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
        if sent >= 0 { return sent }
        return errno == EAGAIN ? 0 : nil
    }

    /// What has arrived within a few milliseconds; nil once the other side has closed.
    func receive() -> [UInt8]? {
        var request = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        poll(&request, 1, 2)
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        if count > 0 { return Array(buffer.prefix(count)) }
        return count < 0 && errno == EAGAIN ? [] : nil
    }

    /// Whether the other side closes in time; what it says meanwhile is ignored.
    func isClosedByPeer(within limit: Duration) async -> Bool {
        let deadline = ContinuousClock.now + limit
        while ContinuousClock.now < deadline {
            guard receive() != nil else { return true }
            await Task.yield()
        }
        return false
    }

    func close() { Glibc.close(descriptor) }
}

/// A listener whose connections nobody takes.
final class RawListener {
    private let descriptor: Int32
    let port: UInt16

    init(backlog: Int32 = 64) throws {
        let made = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        let bound = SocketAddress(ipBytes: [127, 0, 0, 1], port: 0)!.withSockaddr {
            bind(made, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
        guard bound == 0, listen(made, backlog) == 0 else { throw TransportError.stopped }
        var address = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        _ = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(made, $0, &length) }
        }
        descriptor = made
        port = UInt16(bigEndian: address.sin_port)
    }

    func close() { Glibc.close(descriptor) }
}

/// A peer made of one `Connection` and one socket, so that a test decides every byte.
final class RawPeer {
    var connection: Connection
    let socket: RawSocket
    /// Everything that was sent, and what happened.
    private(set) var sent: [UInt8] = []
    private(set) var events: [Connection.Event] = []
    private(set) var isClosedByPeer = false

    init(
        to address: Multiaddr, seed: UInt8, expecting peer: PeerID? = nil, from source: String? = nil,
        protocols: [String: StreamPriority] = [:]
    ) throws {
        let identity = Identity(seed: [UInt8](repeating: seed, count: 32))!
        socket = try RawSocket(to: address, from: source)
        connection = Connection(
            configuration: .init(
                identity: identity, isDialer: true, expectedPeer: peer, protocols: protocols, remoteAddress: address),
            secrets: .init(staticKey: Entropy.bytes(32), ephemeralKey: Entropy.bytes(32)), at: Loop.now)
    }

    /// One turn: sends what waits, takes what came; false once the other side is gone.
    @discardableResult
    func turn() -> Bool {
        (flush() && take()) || end()
    }

    /// Sends everything that waits, taking what comes meanwhile; false once the other side is gone.
    @discardableResult
    func flush() -> Bool {
        var bytes: [UInt8] = []
        connection.produce(into: &bytes, bytesMax: 64 << 10, at: Loop.now)
        sent += bytes.prefix(max(0, 4096 - sent.count))
        var rest = bytes[...]
        while !rest.isEmpty {
            guard let count = socket.send(Array(rest)) else { return false }
            rest = rest.dropFirst(count)
            if !rest.isEmpty { guard take() else { return false } }
        }
        return true
    }

    private func end() -> Bool {
        isClosedByPeer = true
        return false
    }

    private func take() -> Bool {
        guard let bytes = socket.receive() else { return false }
        connection.receive(bytes, at: Loop.now)
        events += connection.takeEvents()
        return true
    }

    /// Takes turns until the events show what is wanted, or the other side is gone.
    func run(until isDone: ([Connection.Event]) -> Bool) async -> Bool {
        let deadline = ContinuousClock.now + .seconds(20)
        while ContinuousClock.now < deadline {
            // The last message of a handshake is still to be sent when the dialer is content.
            if isDone(events) { return flush() }
            guard turn() else { return isDone(events) }
            await Task.yield()
        }
        return false
    }

    /// Takes turns until the peer is authenticated.
    func secure() async -> Bool {
        await run { $0.contains { if case .secured = $0 { true } else { false } } }
    }

    /// Takes turns until the other side has ended the connection.
    func isDropped() async -> Bool {
        let deadline = ContinuousClock.now + .seconds(20)
        while ContinuousClock.now < deadline, !isClosedByPeer {
            turn()
            await Task.yield()
        }
        return isClosedByPeer
    }

    func close() { socket.close() }
}
