import Glibc

/// Linear warm-up, then down to a fraction of the peak, by half a cosine or after a stable phase: a pure function of
/// progress.
///
/// Progress counts whatever the caller counts: steps in `atoll train`, committed tokens in a swarm.
package struct LearningRateSchedule: Hashable, Sendable {
    /// What follows the warm-up.
    package enum Shape: Hashable, Sendable {
        /// Half a cosine.
        case cosine
        /// The peak, and a straight line down over the last part of all progress (warm-up-stable-decay), 0 < part <= 1.
        ///
        /// Until the decay begins nothing depends on the total, so a run can be made longer from there.
        /// - SeeAlso: Hu et al., "MiniCPM" (arXiv:2404.06395), section 4.
        case stableThenDecay(part: Double)
    }

    /// What follows the warm-up.
    package var shape: Shape
    /// The highest rate, reached at the end of the warm-up.
    package var peak: Float
    /// The last rate as a fraction of the peak.
    package var finalFraction: Float
    /// Length of the warm-up.
    package var warmUp: UInt64
    /// Progress at which the final rate is reached; it holds from there on.
    package var total: UInt64

    /// Wraps the five.
    package init(
        peak: Float, finalFraction: Float = 0.1, warmUp: UInt64, total: UInt64, shape: Shape = .cosine
    ) {
        self.shape = shape
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
        switch shape {
        case .cosine:
            let done = Double(progress - warmUp) / Double(total - warmUp)
            let cosine = Float(0.5 * (1 + cos(Double.pi * done)))
            return peak * (finalFraction + (1 - finalFraction) * cosine)
        case .stableThenDecay(let part):
            let left = Float(min(1, Double(total - progress) / (Double(total) * part)))
            return peak * (finalFraction + (1 - finalFraction) * left)
        }
    }
}
