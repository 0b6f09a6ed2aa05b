import CSodium
import CUV
import Glibc
import PeerNet

/// A libuv loop on a thread of its own, as the executor of the actors that use its sockets.
///
/// Handles belong to the loop's thread; everything that touches them is isolated to an actor on the loop, so there are no
/// locks around them.
///
/// @unchecked Sendable: `uv`, `readBuffer`, `openQuestions`, `local` and `deferred` are touched on the loop's thread only, `remote` only
/// under `lock`, `thread` is set once under `lock` before anything reads it, and `uv_async_send` may be called anywhere.
///
/// Jobs run for the serial executor alone: tasks do not prefer the loop. If they are run for a task executor too, every
/// task without that preference is enqueued anew at each hop to an actor that it is already on, and Swift hops right before
/// it runs the body of `withCheckedContinuation`: other jobs then come between a check and the wait that it decided on.
/// Actors on the loop do not rely on that alone: they look at what a wait depends on inside the body.
package final class Loop: SerialExecutor, @unchecked Sendable {
    /// The loop of this process. It is never stopped: jobs of stopped hosts must still run.
    package static let shared = Loop()

    /// Loop thread only.
    let uv: UnsafeMutablePointer<uv_loop_t>
    /// Loop thread only: where every read callback finds its bytes; they are dealt with before the next read.
    let readBuffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 16)
    /// Loop thread only: names that the system is asked about.
    var openQuestions = 0
    private let wake: UnsafeMutablePointer<uv_async_t>
    private let prepare: UnsafeMutablePointer<uv_prepare_t>
    private let check: UnsafeMutablePointer<uv_check_t>
    private var thread = pthread_t()
    private let lock = Lock()
    /// Jobs from other threads, under `lock`.
    private var remote: [UnownedJob] = []
    /// Loop thread only: jobs of this thread, and work for when they are done.
    private var local: [UnownedJob] = []
    private var deferred: [() -> Void] = []

    /// Rounds of jobs between two polls, so that jobs that create jobs cannot keep sockets waiting.
    private static let roundsMax = 8

    /// Starts a further loop with its thread, for good: only for measurements whose two sides must not share a core.
    package init() {
        _ = sodium_init()
        signal(SIGPIPE, SIG_IGN)  // libuv writes with write(2); a peer's reset must be an error, not a signal.
        uv = .allocate(capacity: 1)
        wake = .allocate(capacity: 1)
        prepare = .allocate(capacity: 1)
        check = .allocate(capacity: 1)
        let status = uv_loop_init(uv)
        precondition(status == 0, "a loop needs a few file descriptors")
        let context = Unmanaged.passUnretained(self).toOpaque()
        wake.withMemoryRebound(to: uv_handle_t.self, capacity: 1) { $0.pointee.data = context }
        prepare.withMemoryRebound(to: uv_handle_t.self, capacity: 1) { $0.pointee.data = context }
        check.withMemoryRebound(to: uv_handle_t.self, capacity: 1) { $0.pointee.data = context }
        uv_async_init(uv, wake) { Loop.of($0?.pointee.data)?.takeRemote() }
        uv_prepare_init(uv, prepare)
        uv_prepare_start(prepare) { Loop.of($0?.pointee.data)?.drain() }
        uv_check_init(uv, check)
        uv_check_start(check) { Loop.of($0?.pointee.data)?.drain() }
        lock.withLock {
            // The thread waits for the lock, so that `thread` is set before anything asks for it.
            let started = pthread_create(
                &thread, nil,
                { context in
                    guard let loop = Loop.of(context) else { return nil }
                    loop.lock.withLock {}
                    // Threads of the pool block signals, and a thread inherits that: here they must arrive.
                    var signals = sigset_t()
                    sigemptyset(&signals)
                    sigaddset(&signals, SIGINT)
                    sigaddset(&signals, SIGTERM)
                    pthread_sigmask(SIG_UNBLOCK, &signals, nil)
                    uv_run(loop.uv, UV_RUN_DEFAULT)
                    return nil
                }, context)
            precondition(started == 0, "a loop needs a thread")
        }
    }

    private static func of(_ context: UnsafeMutableRawPointer?) -> Loop? {
        context.map { Unmanaged<Loop>.fromOpaque($0).takeUnretainedValue() }
    }

    /// Whether the caller is on the loop's thread.
    var isCurrent: Bool { pthread_equal(pthread_self(), thread) != 0 }

    /// The loop's clock.
    static var now: Moment { Moment(nanoseconds: uv_hrtime()) }

    // MARK: Executor

    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        if isCurrent {
            local.append(job)
        } else if lock.withLock({
            remote.append(job)
            return remote.count == 1
        }) {
            uv_async_send(wake)
        }
    }

    package func checkIsolated() { precondition(isCurrent, "network state is touched on the loop's thread only") }

    package func isIsolatingCurrentContext() -> Bool? { isCurrent }

    package func asUnownedSerialExecutor() -> UnownedSerialExecutor { UnownedSerialExecutor(ordinary: self) }

    /// Runs `work` on the loop's thread once the jobs that are ready are done, so that writes of many of them go out
    /// together. Loop thread only.
    func whenIdle(_ work: @escaping () -> Void) {
        deferred.append(work)
    }

    private func takeRemote() {
        let jobs = lock.withLock {
            let jobs = remote
            remote = []
            return jobs
        }
        local += jobs
    }

    private func drain() {
        for _ in 0..<Self.roundsMax {
            takeRemote()
            if local.isEmpty {
                guard !deferred.isEmpty else { return }
                let work = deferred
                deferred = []
                for body in work { body() }
            }
            let jobs = local
            local = []
            for job in jobs {
                job.runSynchronously(on: asUnownedSerialExecutor())
            }
        }
        uv_async_send(wake)  // Something is left: poll without waiting.
    }
}
