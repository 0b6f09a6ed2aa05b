import Glibc

/// The project's one lock: a `pthread_mutex_t`, which ThreadSanitizer understands (`Synchronization.Mutex` it does not).
///
/// Never held across an `await` or a callback. Not recursive.
package final class Lock<State>: @unchecked Sendable {
    /// The mutex needs a stable address, hence the allocation; `state` is touched only while it is held.
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private var state: State

    /// Protects `state`.
    package init(_ state: sending State) {
        self.state = state
        mutex = .allocate(capacity: 1)
        mutex.initialize(to: pthread_mutex_t())
        pthread_mutex_init(mutex, nil)
    }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    /// Runs `body` with exclusive access to the state.
    package func withLock<Result, Failure: Error>(
        _ body: (inout State) throws(Failure) -> sending Result
    ) throws(Failure) -> sending Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body(&state)
    }
}
