package import PeerNet

/// A libp2p node on TCP: listens, dials, keeps one authenticated connection per peer, carries control messages and
/// request/response streams.
package actor PeerHost {
    /// This host's peer id.
    package nonisolated let peerID: PeerID

    /// Prepares a host; nothing is opened before `start()`.
    package init(identity: Identity, configuration: PeerHostConfiguration) {
        peerID = identity.peerID
    }

    /// Opens the listen addresses and returns them with their real ports, without `/p2p`.
    package func start() async throws(TransportError) -> [Multiaddr] { [] }

    /// Closes everything; returns when no handle, task or waiter is left. `next()` then gives nil.
    package func stop() async {}

    /// The next event; nil after `stop()`. One consumer.
    package func next() async -> HostEvent? { nil }

    /// Accepts one-way messages of at most `messageBytesMax` bytes on `name`. Call before `start()`.
    package func acceptMessages(on name: String, messageBytesMax: Int) {}

    /// Queues a message on the long-lived stream of (peer, protocol), opening it first if needed.
    /// Messages to one peer on one protocol arrive in order. Returns false, and drops the message, if not connected.
    @discardableResult
    package func send(_ message: [UInt8], to peer: PeerID, on name: String) -> Bool { false }

    /// Answers requests of at most `requestBytesMax` bytes on `name`; nil closes the stream without bytes.
    /// `handler` runs on the default executor. Call before `start()`.
    package func serve(
        _ name: String, requestBytesMax: Int,
        handler: @escaping @Sendable (PeerID, [UInt8]) async -> ResponseBody?
    ) {}

    /// Opens a stream, sends `body`, half-closes, and collects the response. Cancelling the task resets the stream.
    package func request(
        _ body: [UInt8], to peer: PeerID, on name: String, responseBytesMax: Int
    ) async throws(RequestError) -> [UInt8] { throw .notConnected }

    /// Connects to whoever answers at one of `addresses` (tried in order) and returns its id; an address that ends
    /// in `/p2p/ID` accepts only that peer. No back-off: for addresses that a user gave.
    package func connect(to addresses: [Multiaddr]) async throws(TransportError) -> PeerID { throw .stopped }

    /// Connects to a peer in the background unless connected or being dialed, after the back-off that earlier
    /// failures left. The result is `.connected` or `.dialFailed`.
    package func dial(_ peer: PeerID, at addresses: [Multiaddr]) {}

    /// Drops the connections to a peer; `.disconnected` follows with this reason.
    package func disconnect(_ peer: PeerID, reason: String) {}

    /// Measures a round trip with libp2p's ping protocol.
    package func ping(_ peer: PeerID) async throws(TransportError) -> Duration { throw .notConnected(peer) }

    /// The connected peers, sorted by id.
    package func peers() -> [PeerStatus] { [] }

    /// Everything this host's sockets carried since `start()`, failed and unauthenticated connections included.
    package func traffic() -> Traffic { Traffic() }
}
