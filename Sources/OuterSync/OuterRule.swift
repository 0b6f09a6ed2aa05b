/// The charter's arithmetic of a round: how a mean of outer gradients moves a head, and how contributions are weighted.
package struct OuterRule: Hashable, Sendable {
    /// How a head moves.
    package enum Method: Hashable, Sendable {
        /// Nesterov SGD: v = mu v + Delta; Theta = Theta - eta (Delta + mu v).
        case nesterov
        /// Heavy-ball SGD for means that come a whole round late (CO2): v = clip(mu v + Delta / Lambda);
        /// Theta = Theta - eta v.
        case staleHeavyBall(StalenessPenalty, clip: MomentumClip)
    }

    /// How a head moves.
    package var method: Method
    /// The outer learning rate (eta), above 0.
    package var learningRate: Float
    /// The outer momentum (mu), in [0, 1).
    package var momentum: Float
    /// How many times the median a coefficient, or a norm per step, may be; in [1, 16].
    package var weightCap: Double
    /// What a contribution's weight follows.
    package var weighting: Weighting

    /// Wraps the fields; a first value for the cap is 4.
    package init(
        learningRate: Float, momentum: Float, weightCap: Double = 4, weighting: Weighting = .perStep,
        method: Method = .nesterov
    ) {
        precondition(
            learningRate > 0 && momentum >= 0 && momentum < 1 && weightCap >= 1, "the charter has been checked")
        self.method = method
        self.learningRate = learningRate
        self.momentum = momentum
        self.weightCap = weightCap
        self.weighting = weighting
    }
}

/// Lambda, by which a late outer gradient is divided: the farther the head has moved since the gradient's base, the more.
///
/// With g = ||Theta_t - Theta_(t-1)||, the head's last step, and rho the largest norm that a mean outer gradient has had.
/// - SeeAlso: CO2 (arXiv:2401.16265), equation 3. Its exact form could not be read; these are this project's.
package enum StalenessPenalty: UInt8, Hashable, Sendable {
    /// Lambda = 1.
    case none = 0
    /// Lambda = 1 + g / rho.
    case gap = 1
    /// Lambda = max(1, g / rho).
    case excess = 2

    /// Lambda after a mean has arrived.
    func divisor(_ drift: OuterDrift) -> Double {
        guard drift.largestGradient > 0 else { return 1 }
        let ratio = drift.lastStep / drift.largestGradient
        return switch self {
        case .none: 1
        case .gap: 1 + ratio
        case .excess: max(1, ratio)
        }
    }
}

/// How far a momentum may reach, element by element.
package enum MomentumClip: Hashable, Sendable {
    /// Anywhere.
    case none
    /// So many times its own root mean square over the tiles that move.
    case rootMeanSquares(Float)
}

/// What the penalty needs to know of a head's past; a part of the head.
package struct OuterDrift: Hashable, Sendable {
    /// The norm of the head's last step.
    package var lastStep: Double
    /// The largest norm that a mean outer gradient has had.
    package var largestGradient: Double

    /// Wraps the two.
    package init(lastStep: Double, largestGradient: Double) {
        self.lastStep = lastStep
        self.largestGradient = largestGradient
    }

    /// Before the first step, and for ever under other methods.
    package static let none = OuterDrift(lastStep: 0, largestGradient: 0)
}
