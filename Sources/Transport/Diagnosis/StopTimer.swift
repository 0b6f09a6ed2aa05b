import PeerNet

/// Stops a host when a time is over, which ends whatever waits for it. Loop thread only.
final class StopTimer {
    private var timer: TimerHandle?

    init(_ host: PeerHost, after duration: Duration) {
        timer = TimerHandle(on: host.loop) {
            self.cancel()
            // Awaited by nobody: a stopped host has nothing left to wait for.
            Task { await host.stop() }
        }
        timer?.set(Loop.now + duration)
    }

    func cancel() {
        timer?.close()
        timer = nil
    }
}

extension PeerHost {
    /// Returns when a time is over, whatever becomes of the host.
    package func wait(_ duration: Duration) async {
        await withCheckedContinuation { continuation in
            // Closed, and with that freed, when it has fired.
            var timer: TimerHandle?
            timer = TimerHandle(on: loop) {
                timer?.close()
                timer = nil
                continuation.resume()
            }
            timer?.set(Loop.now + duration)
        }
    }
}
