import CUV

/// Waits for SIGINT or SIGTERM, in place of the default action.
package actor SignalWaiter {
    /// A signal that asks the process to end.
    package enum Signal: Int32, Sendable { case interrupt = 2, terminate = 15 }

    package nonisolated let loop = Loop.shared
    package nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }

    private var handles: [SignalHandle] = []
    private var received: [Signal] = []
    private var waiter: CheckedContinuation<Signal?, Never>?
    private var isStopped = false

    /// Signals that wait for `next()`; further ones are the user's impatience.
    private static let receivedMax = 4

    /// Prepares a waiter; nothing is caught before `start()`.
    package init() {}

    /// Starts to catch both signals.
    package func start() {
        guard handles.isEmpty, !isStopped else { return }
        handles = [Signal.interrupt, .terminate].map { signal in
            SignalHandle(signal.rawValue, on: loop) { self.caught(signal) }
        }
    }

    private func caught(_ signal: Signal) {
        if let waiter {
            self.waiter = nil
            waiter.resume(returning: signal)
        } else if received.count < Self.receivedMax {
            received.append(signal)
        }
    }

    /// The next signal; one waiter. Nil after `stop()`.
    package func next() async -> Signal? {
        start()
        return await withCheckedContinuation { continuation in
            if !received.isEmpty {
                continuation.resume(returning: received.removeFirst())
            } else if isStopped {
                continuation.resume(returning: nil)
            } else {
                precondition(waiter == nil, "signals have one waiter")
                waiter = continuation
            }
        }
    }

    /// Gives both signals their default action again.
    package func stop() async {
        isStopped = true
        for handle in handles { handle.close() }
        handles = []
        waiter?.resume(returning: nil)
        waiter = nil
    }
}

/// One libuv signal watcher. Keeps itself alive until closed.
private final class SignalHandle {
    private let memory = UnsafeMutablePointer<uv_signal_t>.allocate(capacity: 1)
    private let body: () -> Void
    private var isClosing = false

    init(_ signal: Int32, on loop: Loop, _ body: @escaping () -> Void) {
        self.body = body
        uv_signal_init(loop.uv, memory)
        memory.pointee.data = Unmanaged.passRetained(self).toOpaque()
        uv_signal_start(
            memory,
            { handle, _ in
                guard let data = handle?.pointee.data else { return }
                Unmanaged<SignalHandle>.fromOpaque(data).takeUnretainedValue().body()
            }, signal)
    }

    func close() {
        guard !isClosing else { return }
        isClosing = true
        uv_close(UnsafeMutableRawPointer(memory).assumingMemoryBound(to: uv_handle_t.self)) { handle in
            guard let data = handle?.pointee.data else { return }
            Unmanaged<SignalHandle>.fromOpaque(data).takeRetainedValue().memory.deallocate()
        }
    }
}
