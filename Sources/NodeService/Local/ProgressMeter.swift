import PeerNet
import Swarm

/// Turns steps into about one line a second: step, loss, speed, time left; and into lines of a run log.
struct ProgressMeter {
    private let stepCount: Int
    private let stepsBefore: Int
    private let tokensPerStep: Int
    private let report: (String) -> Void
    private let log: RunLog?
    private let clock = ContinuousClock()
    private let start: ContinuousClock.Instant
    private var lastLine: ContinuousClock.Instant
    private var steps: Int
    private var stepsAtLastLine: Int
    private var lossSum = 0.0

    /// Wall time from the start to the last step, in seconds.
    private(set) var seconds = 0.0

    /// `stepCount` counts all steps of the run, `stepsBefore` those that an earlier process did.
    init(
        stepCount: Int, stepsBefore: Int, tokensPerStep: Int, log: RunLog?, report: @escaping (String) -> Void
    ) {
        self.stepCount = stepCount
        steps = stepsBefore
        stepsAtLastLine = stepsBefore
        self.stepsBefore = stepsBefore
        self.tokensPerStep = tokensPerStep
        self.report = report
        self.log = log
        start = clock.now
        lastLine = start
    }

    /// Counts a step with its loss.
    mutating func stepped(loss: Double) {
        steps += 1
        lossSum += loss
        let now = clock.now
        let stepSeconds = (now - start).inSeconds - seconds
        seconds += stepSeconds
        let isLineDue = now - lastLine >= .seconds(1) || steps == stepCount
        if isLineDue || steps == stepsBefore + 1 {
            log?.append(
                step: TrainingProgress(steps: UInt64(steps), tokens: UInt64(steps * tokensPerStep)), loss: loss,
                seconds: stepSeconds)
        }
        guard isLineDue else { return }
        let count = steps - stepsAtLastLine
        let rate = Double(count * tokensPerStep) / max((now - lastLine).inSeconds, 1e-9)
        let left = Double((stepCount - steps) * tokensPerStep) / max(rate, 1e-9)
        report(
            "step \(steps)/\(stepCount)  loss \(fixed(lossSum / Double(count), 4))  \(fixed(rate, 0)) tokens/s  "
                + "\(fixed(left, 0)) s left")
        lastLine = now
        stepsAtLastLine = steps
        lossSum = 0
    }
}
