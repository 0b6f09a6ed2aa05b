import PeerNet
import Swarm

/// Rates of one process's training, for status and run log.
struct TrainingMeter {
    /// Seconds between two step lines of the run log.
    private static let logSeconds = 1.0
    /// Steps over which rates are taken.
    private static let windowSteps = 64

    private var window: [(at: Moment, tokens: UInt64)] = []
    private var lastLog: Moment?
    private var firstStepBegan: Moment?
    private var end: Moment?
    private var secondsInSteps = 0.0

    /// The running mean of the loss over about ten steps; nil before the first.
    private(set) var loss: Double?
    /// The counters after the last step.
    private(set) var progress = TrainingProgress(steps: 0, tokens: 0)

    /// Takes up one step.
    mutating func add(step progress: TrainingProgress, loss: Float, seconds: Double, at now: Moment) {
        if firstStepBegan == nil { firstStepBegan = now + .seconds(-seconds) }
        self.progress = progress
        self.loss = self.loss.map { $0 * 0.9 + Double(loss) * 0.1 } ?? Double(loss)
        secondsInSteps += seconds
        window.append((now, progress.tokens))
        if window.count > Self.windowSteps { window.removeFirst() }
    }

    /// Training is over: rates count up to now only.
    mutating func trainingEnded(at now: Moment) { if end == nil { end = now } }

    /// Whether the run log is due for a step line; true once per interval.
    mutating func shouldLog(at now: Moment) -> Bool {
        if let lastLog, (now - lastLog).inSeconds < Self.logSeconds { return false }
        lastLog = now
        return true
    }

    /// Tokens per second over the last steps; 0 once training is over.
    func tokensPerSecond(at now: Moment) -> Double {
        guard end == nil, let first = window.first, let last = window.last, last.at > first.at else { return 0 }
        return Double(last.tokens - first.tokens) / (max(last.at, now) - first.at).inSeconds
    }

    /// The share of wall time since the first step began that was spent inside steps.
    func utilisation(at now: Moment) -> Double {
        guard let firstStepBegan else { return 0 }
        let wall = ((end ?? now) - firstStepBegan).inSeconds
        return wall > 0 ? min(1, secondsInSteps / wall) : 0
    }
}
