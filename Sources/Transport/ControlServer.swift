/// Lets local programs talk to a daemon: newline-ended lines of bytes over a Unix-domain socket of mode 0600.
package actor ControlServer {
    /// Prepares a server. `handler` runs once per line, on the default executor; lines of one client are handled in
    /// order, clients at the same time. It ends the answer by returning.
    package init(
        path: String, lineBytesMax: Int = 1 << 20, clientsMax: Int = 32,
        handler: @escaping @Sendable (_ line: [UInt8], _ reply: ControlReply) async -> Void
    ) {}

    /// Creates the socket; a stale file of a dead daemon is replaced, a live one gives `.controlSocketInUse`.
    package func start() async throws(TransportError) {}

    /// Closes every client and removes the socket file.
    package func stop() async {}
}

/// Where a handler sends its answer.
package struct ControlReply: Sendable {
    /// Sends one line (its newline is added) and waits until the client has room. False: the client is gone.
    @discardableResult
    package func send(_ line: [UInt8]) async -> Bool { false }
}

/// A client of `ControlServer`.
package actor ControlClient {
    /// Connects to a daemon's control socket.
    package static func connect(path: String, lineBytesMax: Int = 1 << 20) async throws(TransportError) -> ControlClient
    {
        throw .socket(operation: "connect", path: path, reason: "not running")
    }

    /// Sends one line; its newline is added.
    package func send(_ line: [UInt8]) async throws(TransportError) {}

    /// The next line without its newline; nil when the server closed the connection.
    package func nextLine() async throws(TransportError) -> [UInt8]? { nil }

    /// Closes the connection.
    package func close() async {}
}
