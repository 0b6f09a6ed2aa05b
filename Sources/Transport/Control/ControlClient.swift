/// A client of `ControlServer`.
package actor ControlClient {
    package nonisolated let loop = Loop.shared
    package nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }

    private let path: String
    private var handle: StreamHandle?
    private var splitter: LineSplitter
    private var lines: [[UInt8]] = []
    private var ending: Ending?
    private var lineWaiter: CheckedContinuation<Void, Never>?
    private var writeWaiters: [CheckedContinuation<Void, Never>] = []
    private var closeWaiter: CheckedContinuation<Void, Never>?

    /// How the connection ended.
    private enum Ending {
        case ended
        case failed(String)
    }

    /// Lines that may wait for `nextLine()` before the socket is not read.
    private static let waitingLinesMax = 64

    private init(path: String, lineBytesMax: Int) {
        self.path = path
        splitter = LineSplitter(bytesMax: lineBytesMax)
    }

    /// Connects to a daemon's control socket.
    package static func connect(path: String, lineBytesMax: Int = 1 << 20) async throws(TransportError) -> ControlClient
    {
        let client = ControlClient(path: path, lineBytesMax: lineBytesMax)
        try await client.open()
        return client
    }

    /// Whether a process answers on the socket.
    package static func isAnswered(path: String) async -> Bool {
        do throws(TransportError) {
            let client = try await connect(path: path)
            await client.close()
            return true
        } catch {
            return false
        }
    }

    private func open() async throws(TransportError) {
        try checkLength(of: path)
        guard let handle = StreamHandle(.pipe, on: loop) else {
            throw .socket(operation: "connect to", path: path, reason: "no file descriptor is left")
        }
        self.handle = handle
        let path = path
        let status = await withCheckedContinuation { continuation in
            handle.connect(toPath: path) { continuation.resume(returning: $0) }
        }
        guard status == 0 else {
            await close()
            throw .socket(operation: "connect to", path: path, reason: StreamHandle.reason(status))
        }
        handle.onRead = { bytes in self.didRead(bytes) }
        handle.onEnd = { reason in self.end(reason.map { .failed($0) } ?? .ended) }
        handle.onWritten = { _ in self.didWrite() }
        _ = handle.startReading()
    }

    private func didRead(_ bytes: UnsafeRawBufferPointer) {
        guard splitter.receive(bytes, into: &lines) else { return end(.failed("a line is too long")) }
        if lines.count >= Self.waitingLinesMax { handle?.stopReading() }
        wake()
    }

    private func end(_ ending: Ending) {
        if self.ending == nil { self.ending = ending }
        didWrite()
        wake()
    }

    private func wake() {
        lineWaiter?.resume()
        lineWaiter = nil
    }

    private func didWrite() {
        let waiters = writeWaiters
        writeWaiters = []
        for waiter in waiters { waiter.resume() }
    }

    /// Sends one line; its newline is added.
    package func send(_ line: [UInt8]) async throws(TransportError) {
        while ending == nil, handle?.isWriting == true {
            await withCheckedContinuation { continuation in
                if ending == nil, handle?.isWriting == true {
                    writeWaiters.append(continuation)
                } else {
                    continuation.resume()
                }
            }
        }
        guard ending == nil, let handle else {
            throw .socket(operation: "write to", path: path, reason: "the daemon closed the connection")
        }
        _ = handle.write(line + [UInt8(ascii: "\n")])
    }

    /// The next line without its newline; nil when the server closed the connection.
    package func nextLine() async throws(TransportError) -> [UInt8]? {
        while lines.isEmpty {
            switch ending {
            case .ended?: return nil
            case .failed(let reason)?: throw .socket(operation: "read from", path: path, reason: reason)
            case nil:
                guard handle != nil else { return nil }
                await withCheckedContinuation { continuation in
                    guard lines.isEmpty, ending == nil else { return continuation.resume() }
                    precondition(lineWaiter == nil, "lines have one reader")
                    lineWaiter = continuation
                }
            }
        }
        let line = lines.removeFirst()
        if lines.count == Self.waitingLinesMax / 2, ending == nil { _ = handle?.startReading() }
        return line
    }

    /// Closes the connection.
    package func close() async {
        guard let handle else { return }
        self.handle = nil
        end(.ended)
        handle.onClosed = { self.closed() }
        await withCheckedContinuation {
            closeWaiter = $0
            handle.close()
        }
    }

    private func closed() {
        closeWaiter?.resume()
        closeWaiter = nil
    }
}
