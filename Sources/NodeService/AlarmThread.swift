import Glibc
package import PeerNet

/// The node's monotonic clock, in the form that the cores read.
package struct MonotonicClock: Sendable {
    /// Makes the process's clock.
    package init() {}

    /// Now.
    package var now: Moment {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Moment(nanoseconds: UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec))
    }
}

/// Calls back at the moments it was given: one alarm per name, a later setting replaces the earlier one.
///
/// @unchecked Sendable: `alarms` and `ended` are only touched under `mutex`; the pthread objects live on the heap at a
/// fixed address from `init` to `deinit`; the thread holds a strong reference until `stop`.
package final class AlarmThread<Name: Hashable & Sendable>: @unchecked Sendable {
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let wake: UnsafeMutablePointer<pthread_cond_t>
    private var alarms: [Name: Moment] = [:]
    private var ended = false
    private let clock = MonotonicClock()
    private let fire: @Sendable (Name) -> Void

    /// Starts the thread; `fire` is called on it, one alarm at a time, and must not block.
    package init(fire: @escaping @Sendable (Name) -> Void) {
        self.fire = fire
        mutex = .allocate(capacity: 1)
        wake = .allocate(capacity: 1)
        pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(wake, &attributes)
        pthread_condattr_destroy(&attributes)
        var thread = pthread_t()
        let status = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                // The entry point may not be generic: it only sees that there is something to run.
                (Unmanaged<AnyObject>.fromOpaque(argument).takeRetainedValue() as? any Runnable)?.run()
                return nil
            }, Unmanaged<AnyObject>.passRetained(self).toOpaque())
        precondition(status == 0, "the system refused a thread (errno \(status))")
        pthread_detach(thread)
    }

    deinit {
        pthread_cond_destroy(wake)
        pthread_mutex_destroy(mutex)
        wake.deallocate()
        mutex.deallocate()
    }

    /// Fires `name` at `moment`, at once if that is past.
    package func set(_ name: Name, at moment: Moment) {
        pthread_mutex_lock(mutex)
        alarms[name] = moment
        pthread_cond_signal(wake)
        pthread_mutex_unlock(mutex)
    }

    /// Forgets `name`.
    package func cancel(_ name: Name) {
        pthread_mutex_lock(mutex)
        alarms[name] = nil
        pthread_mutex_unlock(mutex)
    }

    /// Ends the thread; nothing fires afterwards.
    package func stop() {
        pthread_mutex_lock(mutex)
        ended = true
        pthread_cond_signal(wake)
        pthread_mutex_unlock(mutex)
    }
}

private protocol Runnable: AnyObject { func run() }

extension AlarmThread: Runnable {
    fileprivate func run() {
        pthread_mutex_lock(mutex)
        while !ended {
            guard let next = alarms.min(by: { $0.value < $1.value }) else {
                pthread_cond_wait(wake, mutex)
                continue
            }
            guard next.value <= clock.now else {
                var until = timespec(
                    tv_sec: Int(next.value.nanoseconds / 1_000_000_000),
                    tv_nsec: Int(next.value.nanoseconds % 1_000_000_000))
                pthread_cond_timedwait(wake, mutex, &until)
                continue
            }
            alarms[next.key] = nil
            pthread_mutex_unlock(mutex)
            fire(next.key)
            pthread_mutex_lock(mutex)
        }
        pthread_mutex_unlock(mutex)
    }
}
