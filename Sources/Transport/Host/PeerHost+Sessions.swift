package import PeerNet

/// Sessions: streams that carry several uvarint-framed messages in both directions.
extension PeerHost {
    /// Serves one session; the stream ends when it returns.
    package typealias SessionHandler = @Sendable (PeerSession) async -> Void

    /// How long a session may take that a peer opened.
    private static let servedTimeout: Duration = .seconds(60)
    /// A sender goes on once fewer bytes wait.
    private static let queueBytesMax = 64 << 10

    // MARK: Opening and serving

    /// Serves sessions of messages of at most `messageBytesMax` bytes on `name`. `handler` runs on the default executor,
    /// for a minute at the most. Call before `start()`.
    package func serveSessions(
        _ name: String, messageBytesMax: Int, handler: @escaping SessionHandler
    ) {
        sessionProtocols[name] = (messageBytesMax, handler)
    }

    /// Opens a session with a connected peer for as long as `body` runs, `timeout` at the most; whatever `body` throws or
    /// leaves open ends with it. The peer's refusal shows as the failure of the first `receive()`.
    package func withSession<Value: Sendable>(
        _ name: String, to peer: PeerID, messageBytesMax: Int, within timeout: Duration,
        _ body: @Sendable (PeerSession) async throws(RequestError) -> Value
    ) async throws(RequestError) -> Value {
        let session = try openSession(name, to: peer, messageBytesMax: messageBytesMax, within: timeout)
        let result: Result<Value, RequestError> = await withTaskCancellationHandler {
            do throws(RequestError) { return .success(try await body(session)) } catch { return .failure(error) }
        } onCancel: {
            // Awaited by nobody: it only ends the session, which is a no-op once that has ended.
            Task { await self.failSession(session.id, .cancelled) }
        }
        end(session.id)
        return try result.get()
    }

    private func openSession(
        _ name: String, to peer: PeerID, messageBytesMax: Int, within timeout: Duration
    ) throws(RequestError) -> PeerSession {
        guard state == .running, let link = entries[peer]?.link else { throw .notConnected }
        guard let stream = link.connection.openStream(name, priority: .control, at: Loop.now) else {
            throw .tooManyWaiting
        }
        scheduleFlush(link)
        return addSession(stream, peer, bytesMax: messageBytesMax, within: timeout, on: link)
    }

    func acceptSession(_ stream: StreamID, bytesMax: Int, handler: @escaping SessionHandler, on link: Link) {
        guard let peer = link.peer, link.closeReason == nil, state == .running,
            max(link.servedStreams.count, link.answering) < limits.servedRequestsMax
        else { return link.connection.reset(stream) }
        link.servedStreams.insert(stream)
        link.answering += 1
        let linkID = link.id
        let session = addSession(stream, peer, bytesMax: bytesMax, within: Self.servedTimeout, on: link)
        startTask { host in
            await handler(session)
            host.end(session.id)
            host.links[linkID]?.answering -= 1
        }
    }

    private func addSession(
        _ stream: StreamID, _ peer: PeerID, bytesMax: Int, within timeout: Duration, on link: Link
    ) -> PeerSession {
        let session = Session(
            id: newID(), link: link, stream: stream, assembler: MessageAssembler(bytesMax: bytesMax, bytesMin: 0),
            deadline: Loop.now + timeout)
        sessions[session.id] = session
        link.uses[stream] = .session(session)
        return PeerSession(
            host: self, id: session.id, peer: peer, remoteAddress: link.remoteAddress,
            localAddress: SocketAddress(of: link.handle, remote: false)?.multiaddr, isOutbound: link.isOutbound)
    }

    // MARK: The owner's side

    fileprivate func send(_ message: [UInt8], on id: UInt64) async -> Result<Void, RequestError> {
        guard let session = sessions[id] else { return .failure(.reset) }
        if let failure = session.failure { return .failure(failure) }
        let connection = session.link
        connection.connection.write(MessageFraming.prefix(count: message.count), to: session.stream)
        connection.connection.write(message, to: session.stream)
        scheduleFlush(connection)
        await withCheckedContinuation { continuation in
            let queued = connection.connection.queuedBytes(of: session.stream)
            guard session.failure == nil, queued > Self.queueBytesMax, session.sender == nil else {
                return continuation.resume()
            }
            session.sender = continuation
        }
        if let failure = session.failure { return .failure(failure) }
        return .success(())
    }

    fileprivate func receive(on id: UInt64) async -> Result<[UInt8]?, RequestError> {
        while true {
            guard let session = sessions[id] else { return .failure(.reset) }
            if session.taken < session.inbox.count { return .success(takeMessage(of: session)) }
            if session.hasRemoteFinished { return .success(nil) }
            if let failure = session.failure { return .failure(failure) }
            await withCheckedContinuation { continuation in
                let isOver = session.hasRemoteFinished || session.failure != nil
                guard session.taken == session.inbox.count, !isOver else { return continuation.resume() }
                precondition(session.receiver == nil, "a session has one receiver")
                session.receiver = continuation
            }
        }
    }

    /// The next message; the peer gets credit for more once all that came are taken.
    private func takeMessage(of session: Session) -> [UInt8] {
        let message = session.inbox[session.taken]
        session.taken += 1
        if session.taken == session.inbox.count {
            session.inbox = []
            session.taken = 0
            session.link.connection.consume(session.heldBytes, of: session.stream, at: Loop.now)
            session.heldBytes = 0
            scheduleFlush(session.link)
        }
        return message
    }

    fileprivate func finishSession(_ id: UInt64) {
        guard let session = sessions[id], session.failure == nil else { return }
        session.link.connection.finish(session.stream)
        scheduleFlush(session.link)
    }

    fileprivate func failSession(_ id: UInt64, _ error: RequestError) {
        guard let session = sessions[id], session.failure == nil else { return }
        session.link.connection.reset(session.stream)
        forget(session)
        fail(session, error)
        scheduleFlush(session.link)
    }

    /// The owner is done. What it sent still goes out; a stream that the peer holds open after that is reset.
    private func end(_ id: UInt64) {
        guard let session = sessions.removeValue(forKey: id), session.failure == nil else { return }
        session.link.connection.finish(session.stream)
        if session.hasRemoteFinished {
            forget(session)
        } else {
            session.deadline = Loop.now + Self.lingerTimeout
            session.isEnded = true
            sessions[id] = session
        }
        scheduleFlush(session.link)
    }

    /// How long the peer may take to end its direction once this side's owner is done.
    private static let lingerTimeout: Duration = .seconds(5)

    private func forget(_ session: Session) {
        session.link.uses[session.stream] = nil
        session.link.servedStreams.remove(session.stream)
    }

    // MARK: The stream's side

    func received(_ bytes: [UInt8], of session: Session, at now: Moment) {
        // After its owner is done, what the peer still sends is of no use to anyone.
        if session.isEnded { return session.link.connection.consume(bytes.count, of: session.stream, at: now) }
        let before = session.inbox.count
        guard session.assembler.receive(bytes, into: &session.inbox) else {
            session.inbox.removeLast(session.inbox.count - before)
            return failSession(session.id, .reset)
        }
        if session.inbox.isEmpty {
            session.link.connection.consume(bytes.count, of: session.stream, at: now)
        } else {
            session.heldBytes += bytes.count
            wakeReceiver(of: session)
        }
    }

    func remoteFinished(_ session: Session) {
        if session.isEnded {
            sessions[session.id] = nil
            return forget(session)
        }
        guard session.assembler.isBetweenMessages else { return failSession(session.id, .reset) }
        session.hasRemoteFinished = true
        wakeReceiver(of: session)
    }

    func sessionWritable(_ session: Session) {
        let sender = session.sender
        session.sender = nil
        sender?.resume()
    }

    /// The stream is gone: whoever waits is told, and messages that came before can still be taken.
    func fail(_ session: Session, _ error: RequestError) {
        if session.isEnded { sessions[session.id] = nil }
        guard session.failure == nil else { return }
        session.failure = error
        wakeReceiver(of: session)
        sessionWritable(session)
    }

    private func wakeReceiver(of session: Session) {
        let receiver = session.receiver
        session.receiver = nil
        receiver?.resume()
    }

    /// Resets the sessions whose time is over.
    func abandonLateSessions(at now: Moment) {
        for (id, session) in sessions where session.deadline <= now && session.failure == nil {
            failSession(id, .tooLate)
        }
    }

    /// Wakes everybody who waits in a session, as the last thing before their tasks are awaited: a wait ignores cancellation.
    func failAllSessions() {
        for (_, session) in sessions.sorted(by: { $0.key < $1.key }) {
            fail(session, .disconnected(Self.stopping.description))
        }
    }

    // MARK: Dialing from an address of one's own

    /// Binds a socket that is about to connect. Where that fails the system chooses: the connection is worth more.
    func bindDialAddress(of handle: StreamHandle) {
        let bytes: [UInt8]
        switch configuration.dialAddress?.tcpEndpoint?.host {
        case .ip4(let ip)?, .ip6(let ip)?: bytes = ip
        case .dns?, nil: return
        }
        guard let port = configuration.dialAddress?.tcpEndpoint?.port,
            let address = SocketAddress(ipBytes: bytes, port: port)
        else { return }
        _ = address.withSockaddr { handle.bind(to: $0) }
    }

    /// The local address of the connection to a peer; nil if there is none.
    package func localAddress(of peer: PeerID) -> Multiaddr? {
        entries[peer].flatMap { SocketAddress(of: $0.link.handle, remote: false)?.multiaddr }
    }
}

/// A stream of messages both ways, as the host holds it.
final class Session {
    let id: UInt64
    let link: Link
    let stream: StreamID
    var assembler: MessageAssembler
    /// When it is reset, whatever happens meanwhile.
    var deadline: Moment
    /// Messages that came, and how many of them were taken; what they may weigh is bounded by the stream's credit.
    var inbox: [[UInt8]] = []
    var taken = 0
    /// Bytes for which the peer has no new credit yet.
    var heldBytes = 0
    var hasRemoteFinished = false
    var failure: RequestError?
    /// The owner is done; only the stream's orderly end is missing.
    var isEnded = false
    var receiver: CheckedContinuation<Void, Never>?
    var sender: CheckedContinuation<Void, Never>?

    init(id: UInt64, link: Link, stream: StreamID, assembler: MessageAssembler, deadline: Moment) {
        self.id = id
        self.link = link
        self.stream = stream
        self.assembler = assembler
        self.deadline = deadline
    }
}

/// The owner's hold on a session. One task at a time sends, and one receives.
package struct PeerSession: Sendable {
    fileprivate let host: PeerHost
    fileprivate let id: UInt64
    /// The other side.
    package let peer: PeerID
    /// The remote address of the connection's socket.
    package let remoteAddress: Multiaddr
    /// The local one.
    package let localAddress: Multiaddr?
    /// Whether this host dialed the connection.
    package let isOutbound: Bool

    /// Sends a message and returns once few bytes wait.
    package func send(_ message: [UInt8]) async throws(RequestError) { try await host.send(message, on: id).get() }

    /// The next message; nil when the peer has ended its direction.
    package func receive() async throws(RequestError) -> [UInt8]? { try await host.receive(on: id).get() }

    /// Ends this direction.
    package func finish() async { await host.finishSession(id) }

    /// Drops the stream at once.
    package func reset() async { await host.failSession(id, .reset) }
}
