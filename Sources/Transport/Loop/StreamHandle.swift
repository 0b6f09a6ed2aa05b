import CUV
import Glibc
import PeerNet

/// One libuv stream (TCP or Unix-domain): a socket or a listener. Owned by an actor on the loop, used there alone.
///
/// The handle keeps itself alive until its close callback has run. Callbacks run on the loop's thread, outside any
/// job, which for an actor on the loop is the same as inside.
final class StreamHandle {
    /// Bytes that arrived; valid during the call only.
    var onRead: ((UnsafeRawBufferPointer) -> Void)?
    /// The peer ended the stream (nil) or it failed (the system's reason).
    var onEnd: ((String?) -> Void)?
    /// A write that could not be done at once is done (its bytes).
    var onWritten: ((Int) -> Void)?
    /// Most bytes of one read.
    var readBytesMax = Int.max
    /// A listener has a connection to accept.
    var onConnection: (() -> Void)?
    /// The handle is closed and freed.
    var onClosed: (() -> Void)?

    private let loop: Loop
    private let memory: UnsafeMutableRawPointer
    private(set) var isClosing = false
    /// Whether a write is under way.
    private(set) var isWriting = false

    /// What carries the bytes.
    enum Kind { case tcp, pipe }

    /// Makes an unconnected handle; nil if the system has no room for one.
    init?(_ kind: Kind, on loop: Loop) {
        self.loop = loop
        let status: CInt
        switch kind {
        case .tcp:
            memory = .allocate(byteCount: MemoryLayout<uv_tcp_t>.size, alignment: 16)
            status = uv_tcp_init(loop.uv, memory.assumingMemoryBound(to: uv_tcp_t.self))
        case .pipe:
            memory = .allocate(byteCount: MemoryLayout<uv_pipe_t>.size, alignment: 16)
            status = uv_pipe_init(loop.uv, memory.assumingMemoryBound(to: uv_pipe_t.self), 0)
        }
        guard status == 0 else {
            memory.deallocate()
            return nil
        }
        handle.pointee.data = Unmanaged.passRetained(self).toOpaque()
    }

    var handle: UnsafeMutablePointer<uv_handle_t> { memory.assumingMemoryBound(to: uv_handle_t.self) }
    var stream: UnsafeMutablePointer<uv_stream_t> { memory.assumingMemoryBound(to: uv_stream_t.self) }
    var tcp: UnsafeMutablePointer<uv_tcp_t> { memory.assumingMemoryBound(to: uv_tcp_t.self) }
    var pipe: UnsafeMutablePointer<uv_pipe_t> { memory.assumingMemoryBound(to: uv_pipe_t.self) }

    private static func of(_ data: UnsafeMutableRawPointer?) -> StreamHandle? {
        data.map { Unmanaged<StreamHandle>.fromOpaque($0).takeUnretainedValue() }
    }

    /// The system's words for a libuv status.
    static func reason(_ status: CInt) -> String { String(cString: uv_strerror(status)) }

    /// Whether libuv's status says that the address is taken.
    static func isAddressInUse(_ status: CInt) -> Bool { status == UV_EADDRINUSE.rawValue }

    /// Bytes that the system holds unsent before it takes no more, as last set.
    private(set) var unsentBytesMax = 0

    /// TCP without delay for small writes, with a short queue of unsent bytes. Failures cost only latency.
    func tuneForLatency(unsentBytesMax: Int) {
        uv_tcp_nodelay(tcp, 1)
        limitUnsent(to: unsentBytesMax)
    }

    /// Bounds the unsent bytes in the socket, which control messages must queue behind.
    func limitUnsent(to bytesMax: Int) {
        unsentBytesMax = bytesMax
        // TCP_NOTSENT_LOWAT; Glibc's module does not carry the name.
        setOption(25, CInt(clamping: bytesMax))
    }

    /// Makes TCP cut segments as on a path with a smaller packet size. Before `listen` or `connect`.
    func limitSegments(to bytes: Int) { setOption(CInt(TCP_MAXSEG), CInt(clamping: bytes)) }

    /// Bounds what the other side may send ahead of the reader. Before `listen` or `connect`. The receive buffer is set too, so that
    /// the system does not tune the window, but larger: one that short segments fill advertises no window at all.
    func limitReceiveWindow(to bytes: Int) {
        var buffer = CInt(clamping: bytes)
        uv_recv_buffer_size(handle, &buffer)
        setOption(CInt(TCP_WINDOW_CLAMP), CInt(clamping: bytes))
    }

    private func setOption(_ name: CInt, _ value: CInt) {
        var descriptor: uv_os_fd_t = -1
        guard uv_fileno(handle, &descriptor) == 0 else { return }
        var value = value
        setsockopt(descriptor, CInt(IPPROTO_TCP), name, &value, socklen_t(MemoryLayout<CInt>.size))
    }

    // MARK: Listening

    /// Binds a TCP handle; gives libuv's status.
    func bind(to address: UnsafePointer<sockaddr>) -> CInt { uv_tcp_bind(tcp, address, 0) }

    /// Binds a Unix-domain handle; gives libuv's status.
    func bind(toPath path: String) -> CInt { uv_pipe_bind(pipe, path) }

    /// Starts to accept; gives libuv's status.
    func listen(backlog: CInt) -> CInt {
        uv_listen(stream, backlog) { server, status in
            if status == 0 { StreamHandle.of(server?.pointee.data)?.onConnection?() }
        }
    }

    /// Takes one waiting connection into `client`.
    func accept(into client: StreamHandle) -> Bool { uv_accept(stream, client.stream) == 0 }

    // MARK: Reading

    /// Starts to read; false if the stream is not connected.
    func startReading() -> Bool {
        let status = uv_read_start(
            stream,
            { handle, _, buffer in
                guard let owner = StreamHandle.of(handle?.pointee.data) else { return }
                buffer?.pointee.base = owner.loop.readBuffer.baseAddress?.assumingMemoryBound(to: CChar.self)
                buffer?.pointee.len = min(owner.loop.readBuffer.count, owner.readBytesMax)
            },
            { handle, count, buffer in
                guard let owner = StreamHandle.of(handle?.pointee.data), !owner.isClosing else { return }
                if count > 0, let base = buffer?.pointee.base {
                    owner.onRead?(UnsafeRawBufferPointer(start: base, count: count))
                } else if count < 0 {
                    uv_read_stop(handle)
                    owner.onEnd?(CInt(count) == UV_EOF.rawValue ? nil : StreamHandle.reason(CInt(count)))
                }
            })
        return status == 0
    }

    /// Stops to read, so that the peer is held back.
    func stopReading() { uv_read_stop(stream) }

    // MARK: Writing

    /// A write under way: memory that libuv reads until its callback.
    private final class PendingWrite {
        let request = UnsafeMutablePointer<uv_write_t>.allocate(capacity: 1)
        let bytes: UnsafeMutableRawBufferPointer
        let owner: StreamHandle

        init(_ bytes: UnsafeRawBufferPointer, owner: StreamHandle) {
            self.bytes = .allocate(byteCount: bytes.count, alignment: 1)
            self.bytes.copyMemory(from: bytes)
            self.owner = owner
        }

        deinit {
            request.deallocate()
            bytes.deallocate()
        }
    }

    /// Writes `bytes`. Gives what went out at once; if less than all, the rest follows, `isWriting` holds until
    /// `onWritten`, and nothing else may be written meanwhile. Failures show as the end of the stream.
    func write(_ bytes: [UInt8]) -> Int {
        precondition(!isWriting, "one write at a time")
        guard !isClosing, !bytes.isEmpty else { return 0 }
        return bytes.withUnsafeBytes { whole in
            var buffer = uv_buf_t(
                base: UnsafeMutablePointer(mutating: whole.baseAddress?.assumingMemoryBound(to: CChar.self)),
                len: whole.count)
            let written = max(0, Int(uv_try_write(stream, &buffer, 1)))
            if written < whole.count { writeLater(UnsafeRawBufferPointer(rebasing: whole[written...])) }
            return written
        }
    }

    private func writeLater(_ bytes: UnsafeRawBufferPointer) {
        let pending = PendingWrite(bytes, owner: self)
        let context = Unmanaged.passRetained(pending)
        pending.request.pointee.data = context.toOpaque()
        var buffer = uv_buf_t(
            base: pending.bytes.baseAddress?.assumingMemoryBound(to: CChar.self), len: pending.bytes.count)
        isWriting = true
        let status = uv_write(pending.request, stream, &buffer, 1) { request, status in
            guard let data = request?.pointee.data else { return }
            let pending = Unmanaged<PendingWrite>.fromOpaque(data).takeRetainedValue()
            let owner = pending.owner
            owner.isWriting = false
            guard !owner.isClosing else { return }
            if status == 0 {
                owner.onWritten?(pending.bytes.count)
            } else {
                owner.onEnd?(StreamHandle.reason(status))
            }
        }
        if status != 0 {
            context.release()
            isWriting = false
            // Reported from the loop, never from inside the caller's write.
            loop.whenIdle { [self] in if !isClosing { onEnd?(Self.reason(status)) } }
        }
    }

    /// Closes the sending direction once everything is written.
    func shutdownWriting() {
        let request = UnsafeMutablePointer<uv_shutdown_t>.allocate(capacity: 1)
        let status = uv_shutdown(request, stream) { request, _ in request?.deallocate() }
        if status != 0 { request.deallocate() }
    }

    // MARK: Connecting

    /// A connection attempt: its request and who waits for it.
    private final class PendingConnect {
        let request = UnsafeMutablePointer<uv_connect_t>.allocate(capacity: 1)
        let done: (CInt) -> Void
        init(_ done: @escaping (CInt) -> Void) { self.done = done }
        deinit { request.deallocate() }
    }

    /// Connects to a TCP address; `done` gets libuv's status, UV_ECANCELED if the handle is closed first.
    func connect(to address: SocketAddress, done: @escaping (CInt) -> Void) {
        let pending = PendingConnect(done)
        let context = Unmanaged.passRetained(pending)
        pending.request.pointee.data = context.toOpaque()
        let status = address.withSockaddr { uv_tcp_connect(pending.request, tcp, $0, Self.connected) }
        if status != 0 {
            context.release()
            loop.whenIdle { done(status) }
        }
    }

    /// Connects to a Unix-domain socket; `done` gets libuv's status.
    func connect(toPath path: String, done: @escaping (CInt) -> Void) {
        let pending = PendingConnect(done)
        let context = Unmanaged.passRetained(pending)
        pending.request.pointee.data = context.toOpaque()
        uv_pipe_connect(pending.request, pipe, path, Self.connected)
    }

    private static let connected: uv_connect_cb = { request, status in
        guard let data = request?.pointee.data else { return }
        Unmanaged<PendingConnect>.fromOpaque(data).takeRetainedValue().done(status)
    }

    // MARK: Closing

    /// Closes the handle; `onClosed` follows, nothing else does.
    func close() {
        guard !isClosing else { return }
        isClosing = true
        uv_close(handle) { handle in
            guard let data = handle?.pointee.data else { return }
            let owner = Unmanaged<StreamHandle>.fromOpaque(data).takeRetainedValue()
            let onClosed = owner.onClosed
            owner.onRead = nil
            owner.onEnd = nil
            owner.onWritten = nil
            owner.onConnection = nil
            owner.onClosed = nil
            owner.memory.deallocate()
            onClosed?()
        }
    }
}
