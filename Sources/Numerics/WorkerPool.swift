import CVector
import Glibc
import Synchronization

/// A fixed set of threads for parallel-for.
///
/// The calling thread is worker 0 and takes tasks like the others, so a pool of one thread has no thread of its own and
/// no cost. Tasks are handed out one by one, in order, to whoever is free; results must not depend on who ran what. Idle
/// workers spin for some ten microseconds, because the next parallel-for of a training step usually comes at once, and then
/// sleep, so that several processes can share the cores.
///
/// One caller at a time; `run` is not re-entrant from inside a task.
package final class WorkerPool: @unchecked Sendable {
    /// Workers, the caller included.
    package let threadCount: Int
    private let shared: Shared
    private var threads: [pthread_t] = []

    /// Starts `threadCount - 1` threads; where the system refuses some, the pool works with fewer.
    package init(threadCount: Int) {
        precondition(threadCount >= 1, "a pool needs at least one thread")
        shared = Shared()
        for worker in 1..<max(1, threadCount) {
            var thread = pthread_t()
            let argument = Unmanaged.passRetained(ThreadArgument(shared: shared, worker: worker))
            let started = pthread_create(&thread, nil, { runWorker($0) }, argument.toOpaque())
            guard started == 0 else {
                argument.release()
                break
            }
            threads.append(thread)
        }
        self.threadCount = threads.count + 1
    }

    deinit {
        shared.stop()
        for thread in threads { pthread_join(thread, nil) }
    }

    /// Runs `body(task, worker)` for every task below `count`, and returns when all are done.
    ///
    /// `worker` is below `threadCount` and no two tasks run at once with the same one, so it can index scratch memory.
    package func run(_ count: Int, _ body: (_ task: Int, _ worker: Int) -> Void) {
        if threads.isEmpty || count <= 1 {
            for task in 0..<max(0, count) { body(task, 0) }
            return
        }
        withoutActuallyEscaping(body) { shared.run(count, workers: threads.count, $0) }
    }

    /// The number of processors that this process may use.
    package static var processorCount: Int {
        max(1, Int(vector_processor_count()))
    }
}

/// What a thread is started with.
private final class ThreadArgument {
    let shared: Shared
    let worker: Int
    init(shared: Shared, worker: Int) {
        self.shared = shared
        self.worker = worker
    }
}

/// Entry point of a pool's thread.
private func runWorker(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let context else { return nil }
    let argument = Unmanaged<ThreadArgument>.fromOpaque(context).takeRetainedValue()
    argument.shared.work(as: argument.worker)
    return nil
}

/// State that the caller and the threads share.
///
/// A job is published by storing `body` and `count`, then raising `generation` (release); threads see it by loading
/// `generation` (acquire). Its end is seen through `busy`, which each thread lowers (release) after its last task.
private final class Shared: @unchecked Sendable {
    private let generation = Atomic<Int>(0)
    private let next = Atomic<Int>(0)
    private let busy = Atomic<Int>(0)
    private let sleepers = Atomic<Int>(0)
    private let stopping = Atomic<Bool>(false)
    private var count = 0
    private var body: ((Int, Int) -> Void)?
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let condition: UnsafeMutablePointer<pthread_cond_t>

    /// Spins before sleeping; a pause takes some 10 to 40 ns, so this is about the cost of one sleep and wake.
    private static let spinCount = 1000

    init() {
        mutex = .allocate(capacity: 1)
        condition = .allocate(capacity: 1)
        mutex.initialize(to: pthread_mutex_t())
        condition.initialize(to: pthread_cond_t())
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(condition, nil)
    }

    deinit {
        pthread_mutex_destroy(mutex)
        pthread_cond_destroy(condition)
        mutex.deallocate()
        condition.deallocate()
    }

    func run(_ count: Int, workers: Int, _ body: @escaping (Int, Int) -> Void) {
        self.count = count
        self.body = body
        next.store(0, ordering: .relaxed)
        busy.store(workers, ordering: .relaxed)
        generation.add(1, ordering: .sequentiallyConsistent)
        if sleepers.load(ordering: .sequentiallyConsistent) > 0 { wakeAll() }
        takeTasks(as: 0, count, body)
        waitUntil { self.busy.load(ordering: .acquiring) == 0 }
        self.body = nil
    }

    func stop() {
        stopping.store(true, ordering: .sequentiallyConsistent)
        generation.add(1, ordering: .sequentiallyConsistent)
        wakeAll()
    }

    func work(as worker: Int) {
        var seen = 0
        while true {
            let last = seen
            waitUntil { self.generation.load(ordering: .sequentiallyConsistent) != last }
            seen += 1
            if stopping.load(ordering: .sequentiallyConsistent) { return }
            if let body { takeTasks(as: worker, count, body) }
            let left = busy.subtract(1, ordering: .sequentiallyConsistent).newValue
            if left == 0, sleepers.load(ordering: .sequentiallyConsistent) > 0 { wakeAll() }
        }
    }

    private func takeTasks(as worker: Int, _ count: Int, _ body: (Int, Int) -> Void) {
        while true {
            let task = next.add(1, ordering: .relaxed).oldValue
            if task >= count { return }
            body(task, worker)
        }
    }

    /// Waits until `done`: spinning first, then asleep.
    private func waitUntil(_ done: () -> Bool) {
        for _ in 0..<Self.spinCount {
            if done() { return }
            v_spin_hint()
        }
        pthread_mutex_lock(mutex)
        sleepers.add(1, ordering: .sequentiallyConsistent)
        while !done() { pthread_cond_wait(condition, mutex) }
        sleepers.subtract(1, ordering: .sequentiallyConsistent)
        pthread_mutex_unlock(mutex)
    }

    /// Wakes every sleeper; taking the mutex closes the gap between a sleeper's last look and its wait.
    private func wakeAll() {
        pthread_mutex_lock(mutex)
        pthread_cond_broadcast(condition)
        pthread_mutex_unlock(mutex)
    }
}
