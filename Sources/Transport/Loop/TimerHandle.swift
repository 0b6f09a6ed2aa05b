import CUV
import PeerNet

/// One libuv timer, owned by an actor on the loop. Keeps itself alive until closed.
final class TimerHandle {
    private let memory = UnsafeMutablePointer<uv_timer_t>.allocate(capacity: 1)
    private var body: (() -> Void)?
    private var onClosed: (() -> Void)?
    private var isClosing = false
    /// When it fires next; nil while it is not set.
    private(set) var deadline: Moment?

    /// Makes a timer that runs `body` each time it fires.
    init(on loop: Loop, _ body: @escaping () -> Void) {
        self.body = body
        uv_timer_init(loop.uv, memory)
        memory.pointee.data = Unmanaged.passRetained(self).toOpaque()
    }

    /// Fires once at `deadline`, in place of an earlier setting.
    func set(_ deadline: Moment) {
        guard !isClosing else { return }
        self.deadline = deadline
        // libuv counts whole milliseconds from a cached time: round up, so that the moment has come.
        uv_update_time(memory.pointee.loop)
        let wait = max(0, (deadline - Loop.now).nanosecondsClamped)
        uv_timer_start(
            memory,
            { timer in
                guard let data = timer?.pointee.data else { return }
                let owner = Unmanaged<TimerHandle>.fromOpaque(data).takeUnretainedValue()
                owner.deadline = nil
                owner.body?()
            }, UInt64(wait / 1_000_000 + 1), 0)
    }

    /// Stops the timer until it is set again.
    func cancel() {
        guard !isClosing else { return }
        deadline = nil
        uv_timer_stop(memory)
    }

    /// Closes the timer; `done` follows.
    func close(_ done: @escaping () -> Void = {}) {
        guard !isClosing else { return }
        isClosing = true
        body = nil
        onClosed = done
        let handle = UnsafeMutableRawPointer(memory).assumingMemoryBound(to: uv_handle_t.self)
        uv_close(handle) { handle in
            guard let data = handle?.pointee.data else { return }
            let owner = Unmanaged<TimerHandle>.fromOpaque(data).takeRetainedValue()
            let done = owner.onClosed
            owner.onClosed = nil
            owner.memory.deallocate()
            done?()
        }
    }
}
