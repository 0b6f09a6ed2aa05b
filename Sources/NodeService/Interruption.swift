import Glibc
import Synchronization

/// Ctrl-C and SIGTERM for commands that run in the foreground and have something to clean up.
///
/// After `catchSignals` the first signal only sets a flag, which the command looks at between two pieces of work; the
/// second ends the process at once.
package enum Interruption {
    /// Set by the signal handler; an atomic store is all that a handler may safely do.
    private static let flag = Atomic<Bool>(false)

    /// Takes SIGINT and SIGTERM over.
    package static func catchSignals() {
        // The first use makes the atomic, which must not happen inside the handler.
        flag.store(false, ordering: .relaxed)
        for signal in [SIGINT, SIGTERM] {
            var action = sigaction()
            action.__sigaction_handler.sa_handler = { _ in Interruption.flag.store(true, ordering: .relaxed) }
            action.sa_flags = Int32(bitPattern: UInt32(SA_RESETHAND)) | SA_RESTART
            sigaction(signal, &action, nil)
        }
    }

    /// Whether a signal has arrived.
    package static var isRequested: Bool { flag.load(ordering: .relaxed) }
}
