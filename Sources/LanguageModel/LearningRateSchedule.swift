import Glibc

/// Linear warm-up, then half a cosine down to a fraction of the peak: a pure function of progress.
///
/// Progress counts whatever the caller counts: steps in `atoll train`, committed tokens in a swarm.
package struct LearningRateSchedule: Hashable, Sendable {
    /// The highest rate, reached at the end of the warm-up.
    package var peak: Float
    /// The last rate as a fraction of the peak.
    package var finalFraction: Float
    /// Length of the warm-up.
    package var warmUp: UInt64
    /// Progress at which the final rate is reached; it holds from there on.
    package var total: UInt64

    /// Wraps the four.
    package init(peak: Float, finalFraction: Float = 0.1, warmUp: UInt64, total: UInt64) {
        self.peak = peak
        self.finalFraction = finalFraction
        self.warmUp = warmUp
        self.total = total
    }

    /// The rate for what follows `progress`. During warm-up it is peak * (progress + unit) / warmUp, where `unit` is the
    /// size of the coming step in the same count, so that the first step moves.
    package func rate(at progress: UInt64, unit: UInt64 = 1) -> Float {
        if progress < warmUp {
            return peak * min(1, Float(Double(progress) + Double(unit)) / Float(warmUp))
        }
        guard progress < total else { return peak * finalFraction }
        let done = Double(progress - warmUp) / Double(total - warmUp)
        let cosine = Float(0.5 * (1 + cos(Double.pi * done)))
        return peak * (finalFraction + (1 - finalFraction) * cosine)
    }
}
