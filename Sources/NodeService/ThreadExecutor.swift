import Glibc

/// A serial executor with a thread of its own, for actors whose work blocks (fsync) or computes for long.
///
/// @unchecked Sendable: `jobs` and `ended` are only touched under `mutex`; the pthread objects live on the heap at a
/// fixed address from `init` to `deinit`; the thread holds a strong reference, so `deinit` runs after it ended.
package final class ThreadExecutor: SerialExecutor, @unchecked Sendable {
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let wake: UnsafeMutablePointer<pthread_cond_t>
    private var jobs: [UnownedJob] = []
    private var ended = false

    /// Starts the thread.
    package init() {
        mutex = .allocate(capacity: 1)
        wake = .allocate(capacity: 1)
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(wake, nil)
        var thread = pthread_t()
        let argument = Unmanaged.passRetained(self).toOpaque()
        let status = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                Unmanaged<ThreadExecutor>.fromOpaque(argument).takeRetainedValue().run()
                return nil
            }, argument)
        precondition(status == 0, "the system refused a thread (errno \(status))")
        pthread_detach(thread)
    }

    deinit {
        pthread_cond_destroy(wake)
        pthread_mutex_destroy(mutex)
        wake.deallocate()
        mutex.deallocate()
    }

    /// Lets the thread end once its queue is empty; jobs enqueued afterwards never run.
    package func finish() {
        pthread_mutex_lock(mutex)
        ended = true
        pthread_cond_signal(wake)
        pthread_mutex_unlock(mutex)
    }

    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        pthread_mutex_lock(mutex)
        jobs.append(job)
        pthread_cond_signal(wake)
        pthread_mutex_unlock(mutex)
    }

    private func run() {
        while true {
            pthread_mutex_lock(mutex)
            while jobs.isEmpty && !ended { pthread_cond_wait(wake, mutex) }
            let batch = jobs
            jobs.removeAll(keepingCapacity: true)
            let last = ended
            pthread_mutex_unlock(mutex)
            for job in batch { job.runSynchronously(on: asUnownedSerialExecutor()) }
            if last && batch.isEmpty { return }
        }
    }
}
