package import Compression
import Glibc
package import OuterSync
import PeerNet
package import Swarm

/// What the training thread tells the daemon.
package enum TrainingEvent: Sendable {
    /// A step ended.
    case stepped(TrainingProgress, loss: Float, stepSeconds: Double)
    /// The live fragment and its residual were copied at a step boundary; `contributes` is false while the optimizer ramps.
    case snapshotTaken(
        FragmentIndex, RoundIndex, live: [Float], residual: [Float], start: SnapshotStart?, TrainingProgress,
        contributes: Bool)
    /// A head was blended in or put in place.
    case applied(FragmentIndex, RoundIndex, TrainingProgress)
    /// The state at a step boundary, for the local snapshot: sections, progress, and per fragment the digest of the head
    /// that the live value is based on.
    case state([TrainerStateSection], TrainingProgress, bases: [Digest])
    /// Training cannot go on.
    case failed(TrainingFailure)
    /// The thread is gone; nothing follows.
    case ended
}

/// Runs a trainer on a thread of its own: steps without end, and between two steps whatever the network asked for.
///
/// Training never waits for anything but this mailbox's lock. @unchecked Sendable: every mutable field is only touched
/// under `mutex`, but for the trainer and the counters, which only the thread touches.
package final class TrainingThread: @unchecked Sendable {
    /// A request that is honoured at the next step boundary.
    private enum Request {
        case snapshot(FragmentIndex, RoundIndex, SnapshotTurn?)
        case state
    }

    private struct PendingApplication {
        var application: HeadApplication
        var head: FragmentHead
        var settled: SettledResidual
    }

    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let wake: UnsafeMutablePointer<pthread_cond_t>
    private var requests: [Request] = []
    private var applications: [FragmentIndex: PendingApplication] = [:]
    private var committedTokens: UInt64
    private var training = false
    private var ended = false
    private let deliver: @Sendable (TrainingEvent) -> Void
    private let clock = MonotonicClock()

    /// Starts the thread, idle until `resume`.
    ///
    /// - Parameters:
    ///   - bases: per fragment the digest of the head that the trainer's live value is based on.
    ///   - residuals: per fragment, where error feedback is on, what encoding has left over.
    ///   - late: where means come late, from where outer gradients are measured.
    ///   - makeTrainer: called once, on the thread; the trainer never leaves it.
    ///   - deliver: receives the events in order, on the thread; must not block.
    package init(
        progress: TrainingProgress, bases: [Digest], residuals: FragmentResiduals, late: LateFragments,
        committedTokens: UInt64,
        makeTrainer: @escaping @Sendable () throws(TrainingFailure) -> any FragmentTrainer,
        deliver: @escaping @Sendable (TrainingEvent) -> Void
    ) {
        self.committedTokens = committedTokens
        self.deliver = deliver
        mutex = .allocate(capacity: 1)
        wake = .allocate(capacity: 1)
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(wake, nil)
        let start = Start(
            thread: self, progress: progress, bases: bases, residuals: residuals, late: late, makeTrainer: makeTrainer)
        var thread = pthread_t()
        let status = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
                start.thread.run(
                    progress: start.progress, bases: start.bases, residuals: start.residuals, late: start.late,
                    makeTrainer: start.makeTrainer)
                return nil
            }, Unmanaged.passRetained(start).toOpaque())
        precondition(status == 0, "the system refused a thread (errno \(status))")
        pthread_detach(thread)
    }

    deinit {
        pthread_cond_destroy(wake)
        pthread_mutex_destroy(mutex)
        wake.deallocate()
        mutex.deallocate()
    }

    /// Trains from now on.
    package func resume() { change { $0.training = true } }

    /// Trains no more after the running step; requests and applications are still honoured.
    package func pause() { change { $0.training = false } }

    /// Ends the thread after the running step.
    package func end() { change { $0.ended = true } }

    /// Sets the branch's committed tokens for the following steps.
    package func setCommittedTokens(_ tokens: UInt64) { change { $0.committedTokens = tokens } }

    /// Asks for a copy of a live fragment, and for what is to happen to the live value behind it; answered by
    /// `.snapshotTaken`.
    package func takeSnapshot(_ fragment: FragmentIndex, _ round: RoundIndex, turn: SnapshotTurn? = nil) {
        change { $0.requests.append(.snapshot(fragment, round, turn)) }
    }

    /// Asks for the trainer's state; answered by `.state`.
    package func requestState() { change { $0.requests.append(.state) } }

    /// Applies a head once its step has come; replaces an application of the same fragment that has not happened yet.
    package func apply(_ application: HeadApplication, head: FragmentHead, settled: SettledResidual) {
        change { mailbox in
            var pending = PendingApplication(application: application, head: head, settled: settled)
            if let waiting = mailbox.applications[application.fragment] {
                // Neither an overwrite that was due nor a tile that was to be blended may be forgotten.
                if waiting.application.overwrite {
                    pending.application.overwrite = true
                    pending.application.keepsResidual =
                        waiting.application.keepsResidual && (application.keepsResidual || !application.overwrite)
                }
                let tiles = Set(waiting.application.blendedTiles).union(application.blendedTiles)
                pending.application.blendedTiles = tiles.sorted()
                pending.settled = waiting.settled
                pending.settled.merge(settled)
            }
            mailbox.applications[application.fragment] = pending
        }
    }

    private func change(_ body: (TrainingThread) -> Void) {
        pthread_mutex_lock(mutex)
        body(self)
        pthread_cond_signal(wake)
        pthread_mutex_unlock(mutex)
    }

    private final class Start {
        let thread: TrainingThread
        let progress: TrainingProgress
        let bases: [Digest]
        let residuals: FragmentResiduals
        let late: LateFragments
        let makeTrainer: @Sendable () throws(TrainingFailure) -> any FragmentTrainer

        init(
            thread: TrainingThread, progress: TrainingProgress, bases: [Digest], residuals: FragmentResiduals,
            late: LateFragments,
            makeTrainer: @escaping @Sendable () throws(TrainingFailure) -> any FragmentTrainer
        ) {
            self.thread = thread
            self.progress = progress
            self.bases = bases
            self.residuals = residuals
            self.late = late
            self.makeTrainer = makeTrainer
        }
    }
}

// What runs on the thread.
extension TrainingThread {
    private func run(
        progress: TrainingProgress, bases: [Digest], residuals: FragmentResiduals, late: LateFragments,
        makeTrainer: @Sendable () throws(TrainingFailure) -> any FragmentTrainer
    ) {
        var progress = progress
        var kept = Kept(bases: bases, residuals: residuals, late: late)
        do throws(TrainingFailure) {
            let trainer = try makeTrainer()
            while let work = nextWork(step: progress.steps) {
                for pending in work.applications {
                    perform(pending, on: trainer, residuals: residuals)
                    let application = pending.application
                    if application.overwrite, !application.keepsResidual {
                        kept.residuals.reset(application.fragment)
                    } else {
                        kept.residuals.settle(pending.settled, of: application.fragment)
                    }
                    if application.overwrite { kept.late.reset(application.fragment, to: pending.head.theta) }
                    kept.bases[application.fragment.value] = pending.head.digest
                    deliver(.applied(application.fragment, application.round, progress))
                }
                for request in work.requests {
                    answer(request, from: trainer, progress: progress, &kept)
                }
                guard work.trains else { continue }
                let began = clock.now
                let report = try trainer.step(committedTokens: work.committedTokens)
                progress.steps += 1
                progress.tokens += UInt64(report.tokens)
                deliver(.stepped(progress, loss: report.loss, stepSeconds: (clock.now - began).inSeconds))
            }
        } catch {
            deliver(.failed(error))
        }
        deliver(.ended)
    }

    /// What goes with the live values, and is saved with them.
    private struct Kept {
        /// Per fragment the digest of the head that the live value is based on.
        var bases: [Digest]
        var residuals: FragmentResiduals
        var late: LateFragments
    }

    private struct Work {
        var applications: [PendingApplication]
        var requests: [Request]
        var committedTokens: UInt64
        var trains: Bool
    }

    /// Waits until there is something to do; nil at the end.
    private func nextWork(step: UInt64) -> Work? {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while true {
            if ended && requests.isEmpty { return nil }
            // A paused trainer reaches no further step: what waits for one is due now.
            let due = applications.values.filter { !training || $0.application.notBeforeStep <= step }
                .sorted { $0.application.fragment < $1.application.fragment }
            if training || !due.isEmpty || !requests.isEmpty {
                for pending in due { applications[pending.application.fragment] = nil }
                let work = Work(
                    applications: due, requests: requests, committedTokens: committedTokens, trains: training)
                requests.removeAll()
                return work
            }
            pthread_cond_wait(wake, mutex)
        }
    }

    private func perform(
        _ pending: PendingApplication, on trainer: any FragmentTrainer, residuals: FragmentResiduals
    ) {
        let application = pending.application
        let start =
            application.overwrite
            ? pending.head.theta
            : residuals.resumption(under: pending.head, pending.settled, of: application.fragment)
        start.withUnsafeBufferPointer { theta in
            if application.overwrite {
                trainer.replaceFragment(application.fragment, theta: theta)
            } else {
                trainer.blendFragment(
                    application.fragment, tiles: application.blendedTiles, theta: theta, alpha: application.alpha)
            }
        }
    }

    private func answer(
        _ request: Request, from trainer: any FragmentTrainer, progress: TrainingProgress, _ kept: inout Kept
    ) {
        switch request {
        case .snapshot(let fragment, let round, let turn):
            if let turn { kept.residuals.settle(turn.settled, of: fragment) }
            let values = [Float](unsafeUninitializedCapacity: trainer.parameterCount(of: fragment)) { values, count in
                count = trainer.parameterCount(of: fragment)
                trainer.readFragment(fragment, into: UnsafeMutableBufferPointer(rebasing: values[..<count]))
            }
            let start = kept.late.start(of: fragment).map {
                SnapshotStart(values: $0, head: kept.bases[fragment.value])
            }
            if let turn {
                kept.late.turn(fragment, live: values, by: turn).withUnsafeBufferPointer {
                    trainer.replaceFragment(fragment, theta: $0)
                }
                kept.bases[fragment.value] = turn.head.digest
            }
            deliver(
                .snapshotTaken(
                    fragment, round, live: values, residual: kept.residuals[fragment], start: start, progress,
                    contributes: !trainer.isRamping))
        case .state:
            deliver(
                .state(
                    trainer.saveState() + kept.residuals.sections + kept.late.sections, progress, bases: kept.bases))
        }
    }
}
