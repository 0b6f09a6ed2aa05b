import OuterSync
import PeerNet

/// This node's measured speed: steps over the last ten to twenty seconds.
struct Pace: Hashable, Sendable {
    private struct Mark: Hashable, Sendable {
        let steps: UInt64
        let at: Moment
    }

    private var older: Mark?
    private var newer: Mark?
    private var last: Mark?

    private static let window = Duration.seconds(10)

    mutating func note(_ progress: TrainingProgress, at now: Moment) {
        let mark = Mark(steps: progress.steps, at: now)
        last = mark
        guard let newer else {
            older = mark
            self.newer = mark
            return
        }
        if now - newer.at >= Self.window {
            older = newer
            self.newer = mark
        }
    }

    /// Inner steps per second; 0 before the first step.
    var stepsPerSecond: Double {
        guard let older, let last, last.steps > older.steps else { return 0 }
        let seconds = (last.at - older.at).inSeconds
        return seconds > 0 ? Double(last.steps - older.steps) / seconds : 0
    }

    /// The rate as a join carries it.
    var millistepsPerSecond: UInt32 { UInt32(clamping: Int((min(stepsPerSecond, 4e6) * 1_000).rounded())) }
}
