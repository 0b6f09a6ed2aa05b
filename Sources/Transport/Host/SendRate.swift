package import PeerNet

/// How fast a socket takes bytes while it is never out of them, and from that how much may wait in it: a control
/// message queues behind what the socket holds, so a slow link must hold little and a fast one enough to stay busy.
package struct SendRate: Sendable {
    /// The estimate; before the first measurement a guess.
    package private(set) var bytesPerSecond: Double = 3_200_000
    /// From here on the socket always had bytes to send, and it took `bytes`.
    private var since: Moment?
    private var bytes = 0

    /// Link time that the unsent bytes of a socket may take: enough for a loop that wakes late on a busy machine.
    private static let unsentTime = 0.006
    /// Link time of one write; up to two of them add to what waits, one taken in whole by a socket that was just not
    /// full, and one that it refused.
    private static let writeTime = 0.005
    /// One frame at least: with less, a receiver that delays its acknowledgements sets the rate, not the link, and what
    /// is measured then makes the next write still smaller.
    private static let bytesRange = 16.0 * 1024...128.0 * 1024
    /// Shorter spans say more about the clock and the scheduler than about the link.
    private static let spanMin = 0.002
    /// Spans of this length count half.
    private static let memory = 0.1
    /// Upper end of the estimate, above which nothing changes.
    private static let rateMax = 1e10

    /// Starts with a guess.
    package init() {}

    /// Bound for the unsent bytes in the socket.
    package var unsentBytes: Int { Self.bytes(bytesPerSecond * Self.unsentTime) }

    /// Bytes for one write.
    package var writeBytes: Int { Self.bytes(bytesPerSecond * Self.writeTime) }

    private static func bytes(_ count: Double) -> Int {
        Int(min(max(count, bytesRange.lowerBound), bytesRange.upperBound))
    }

    /// The socket took bytes.
    package mutating func accepted(_ count: Int) { bytes += count }

    /// The socket had not taken everything, and now has.
    package mutating func unblocked(at now: Moment) {
        if let since {
            let seconds = (now - since).inSeconds
            guard seconds >= Self.spanMin else { return }
            let weight = seconds / (seconds + Self.memory)
            bytesPerSecond += weight * (Double(bytes) / seconds - bytesPerSecond)
        }
        since = now
        bytes = 0
    }

    /// The socket took several full writes at once: it may be faster than was measured.
    package mutating func unhindered() {
        since = nil
        bytesPerSecond = min(bytesPerSecond * 1.25, Self.rateMax)
    }

    /// There is nothing to send.
    package mutating func idle() { since = nil }
}
