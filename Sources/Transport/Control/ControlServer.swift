import Glibc

/// Lets local programs talk to a daemon: newline-ended lines of bytes over a Unix-domain socket of mode 0600.
package actor ControlServer {
    /// Answers one line by way of `reply`; returning ends the answer.
    package typealias Handler = @Sendable (_ line: [UInt8], _ reply: ControlReply) async -> Void

    package nonisolated let loop = Loop.shared
    package nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }

    private let path: String
    private let lineBytesMax: Int
    private let clientsMax: Int
    private let handler: Handler
    private var listener: StreamHandle?
    private var clients: [UInt64: Client] = [:]
    /// What serves the clients' lines, also of clients that are gone while a handler still runs; awaited by `stop()`.
    private var tasks: [UInt64: Task<Void, Never>] = [:]
    private var nextID: UInt64 = 0
    private var openHandles = 0
    private var closeWaiter: CheckedContinuation<Void, Never>?
    private var isStopped = false

    /// Lines of one client that may wait for their turn; then it is not read until the handler catches up.
    private static let waitingLinesMax = 64
    /// Bytes of answers that may wait for one client before its handler is held back.
    private static let waitingBytesMax = 256 << 10

    /// One connected program.
    private final class Client {
        let handle: StreamHandle
        var splitter: LineSplitter
        var lines: [[UInt8]] = []
        var lineWaiter: CheckedContinuation<[UInt8]?, Never>?
        var hasEnded = false
        var output: [UInt8] = []
        var roomWaiters: [CheckedContinuation<Void, Never>] = []
        var isReading = true
        var isFinished = false

        init(_ handle: StreamHandle, lineBytesMax: Int) {
            self.handle = handle
            splitter = LineSplitter(bytesMax: lineBytesMax)
        }
    }

    /// Prepares a server. `handler` runs once per line, on the default executor; lines of one client are handled in
    /// order, clients at the same time. Its task is cancelled when the client is gone.
    package init(
        path: String, lineBytesMax: Int = 1 << 20, clientsMax: Int = 32, handler: @escaping Handler
    ) {
        self.path = path
        self.lineBytesMax = lineBytesMax
        self.clientsMax = clientsMax
        self.handler = handler
    }

    // MARK: Life

    /// Creates the socket; a stale file of a dead daemon is replaced, a live one gives `.controlSocketInUse`.
    package func start() async throws(TransportError) {
        try checkLength(of: path)
        if await ControlClient.isAnswered(path: path) { throw .controlSocketInUse(path: path) }
        unlink(path)
        guard let handle = StreamHandle(.pipe, on: loop) else {
            throw .socket(operation: "create", path: path, reason: "no file descriptor is left")
        }
        openHandles += 1
        handle.onClosed = { self.handleClosed() }
        var status = handle.bind(toPath: path)
        // Before listen nobody can connect, so there is no moment at which others could.
        if status == 0, chmod(path, 0o600) != 0 { status = -errno }
        handle.onConnection = { [unowned handle] in self.accept(from: handle) }
        if status == 0 { status = handle.listen(backlog: 16) }
        guard status == 0 else {
            handle.close()
            throw .socket(operation: "listen on", path: path, reason: StreamHandle.reason(status))
        }
        listener = handle
    }

    /// Closes every client and removes the socket file; returns when every handler has returned.
    package func stop() async {
        guard !isStopped else { return }
        isStopped = true
        let tasks = Array(tasks.values)
        for id in clients.keys { drop(id) }
        if let listener {
            listener.close()  // libuv removes the file.
            unlink(path)
        }
        listener = nil
        for task in tasks { await task.value }
        await withCheckedContinuation { continuation in
            if openHandles == 0 { continuation.resume() } else { closeWaiter = continuation }
        }
    }

    private func handleClosed() {
        openHandles -= 1
        guard openHandles == 0 else { return }
        closeWaiter?.resume()
        closeWaiter = nil
    }

    // MARK: Clients

    private func accept(from listener: StreamHandle) {
        guard let handle = StreamHandle(.pipe, on: loop) else { return }
        openHandles += 1
        handle.onClosed = { self.handleClosed() }
        guard listener.accept(into: handle), !isStopped, clients.count < clientsMax else { return handle.close() }
        nextID += 1
        let id = nextID
        let client = Client(handle, lineBytesMax: lineBytesMax)
        clients[id] = client
        handle.onRead = { bytes in self.didRead(bytes, id) }
        handle.onEnd = { reason in self.didEnd(id, isFailure: reason != nil) }
        handle.onWritten = { _ in self.flush(id) }
        let handler = handler
        tasks[id] = Task { [self] in
            while let line = await nextLine(of: id), !Task.isCancelled {
                let reply = ControlReply(server: self, client: id)
                await handler(line, reply)
            }
            finish(id)
            tasks[id] = nil
        }
        if !handle.startReading() { drop(id) }
    }

    private func didRead(_ bytes: UnsafeRawBufferPointer, _ id: UInt64) {
        guard let client = clients[id] else { return }
        guard client.splitter.receive(bytes, into: &client.lines) else { return drop(id) }
        if let waiter = client.lineWaiter, !client.lines.isEmpty {
            client.lineWaiter = nil
            waiter.resume(returning: client.lines.removeFirst())
        }
        if client.lines.count >= Self.waitingLinesMax {
            client.isReading = false
            client.handle.stopReading()
        }
    }

    private func didEnd(_ id: UInt64, isFailure: Bool) {
        guard let client = clients[id] else { return }
        // A client that only closed its sending side still gets the answers to its lines.
        client.hasEnded = true
        if isFailure { return drop(id) }
        if client.lines.isEmpty, let waiter = client.lineWaiter {
            client.lineWaiter = nil
            waiter.resume(returning: nil)
        }
    }

    private func nextLine(of id: UInt64) async -> [UInt8]? {
        await withCheckedContinuation { continuation in
            guard let client = clients[id] else { return continuation.resume(returning: nil) }
            guard !client.lines.isEmpty else {
                if client.hasEnded { return continuation.resume(returning: nil) }
                client.lineWaiter = continuation
                return
            }
            continuation.resume(returning: client.lines.removeFirst())
            if !client.isReading, !client.hasEnded {
                client.isReading = true
                _ = client.handle.startReading()
            }
        }
    }

    /// Queues one line of an answer and waits until the client has room; false if it is gone.
    fileprivate func reply(_ line: [UInt8], to id: UInt64) async -> Bool {
        guard let client = clients[id] else { return false }
        client.output += line
        client.output.append(UInt8(ascii: "\n"))
        flush(id)
        await withCheckedContinuation { continuation in
            if clients[id] != nil, client.output.count > Self.waitingBytesMax {
                client.roomWaiters.append(continuation)
            } else {
                continuation.resume()
            }
        }
        return clients[id] != nil
    }

    private func flush(_ id: UInt64) {
        guard let client = clients[id], !client.handle.isWriting else { return }
        if !client.output.isEmpty {
            let output = client.output
            client.output = []
            _ = client.handle.write(output)
        }
        guard client.output.isEmpty, !client.handle.isWriting else { return }
        let waiters = client.roomWaiters
        client.roomWaiters = []
        for waiter in waiters { waiter.resume() }
        if client.isFinished { drop(id) }
    }

    /// The client has no more lines: close once its answers are out.
    private func finish(_ id: UInt64) {
        clients[id]?.isFinished = true
        flush(id)
    }

    private func drop(_ id: UInt64) {
        guard let client = clients.removeValue(forKey: id) else { return }
        tasks[id]?.cancel()
        client.lineWaiter?.resume(returning: nil)
        client.lineWaiter = nil
        for waiter in client.roomWaiters { waiter.resume() }
        client.roomWaiters = []
        client.handle.close()
    }
}

/// Where a handler sends its answer.
package struct ControlReply: Sendable {
    fileprivate let server: ControlServer
    fileprivate let client: UInt64

    /// Sends one line (its newline is added) and waits until the client has room. False: the client is gone.
    @discardableResult
    package func send(_ line: [UInt8]) async -> Bool { await server.reply(line, to: client) }
}

/// Unix-domain paths have a fixed room in the system's address, and libuv cuts longer ones silently.
func checkLength(of path: String) throws(TransportError) {
    guard !path.isEmpty, path.utf8.count < 108 else {
        throw .socket(operation: "use", path: path, reason: "a socket path has 1 to 107 bytes")
    }
}
