/// How long to wait for something, learnt from how long it took before: three times the slowest of the fastest half,
/// plus grace. The slow half cannot drag the deadline out, and training does not wait meanwhile, so it is generous.
struct LearntDeadline: Hashable, Sendable {
    private var samples: [Duration] = []

    /// Adds what something took; the oldest of `Limits.durationSamplesMax` is forgotten.
    mutating func learn(_ duration: Duration) {
        samples.append(max(duration, .zero))
        if samples.count > Limits.durationSamplesMax { samples.removeFirst() }
    }

    /// The deadline; before anything is learnt, `first` and three times what `bytes` take at the assumed rate.
    func value(bytes: Int, limits: Limits) -> Duration {
        guard !samples.isEmpty else {
            let transfer = Duration.seconds(3 * Double(bytes) / limits.firstRateBytesPerSecond)
            return min(limits.firstDeadline + transfer, limits.deadlineMax)
        }
        let fastestHalf = samples.sorted()[(samples.count - 1) / 2]
        return min(fastestHalf * 3 + limits.deadlineGrace, limits.deadlineMax)
    }
}
