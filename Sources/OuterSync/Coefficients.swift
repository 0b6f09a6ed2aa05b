extension TrainingShare {
    /// Most tokens that one share may claim: a trillion in one round is a lie.
    package static let tokensMax: UInt64 = 1 << 40
    /// Most steps that one share may claim.
    package static let stepsMax: UInt64 = 1 << 32

    /// Whether the share can be one: at least one step, at least one token per step, neither beyond belief.
    package var contributes: Bool {
        steps >= 1 && steps <= tokens && tokens <= Self.tokensMax && steps <= Self.stepsMax
    }
}

/// What a contribution's weight in a mean follows: the charter's choice.
package enum Weighting: UInt8, Hashable, Sendable {
    /// Tokens over steps, scaled to the mean steps: who takes more steps moves the mean no farther.
    case perStep = 0
    /// The share of the tokens: who takes more steps moves the mean farther.
    case tokens = 1
}

/// The coefficients with which contributions enter a mean, as integers: a pure function of the contributors' shares.
///
/// With t tokens and s steps of a contributor, T the sum of tokens and hbar = (sum of t s) / T the token-weighted mean of
/// steps, the coefficient is c = t hbar / (s T): every contribution is divided by its own steps, weighted by its
/// share of the tokens, and scaled to hbar steps (FedNova's normalisation). Equal shares give 1 / M each.
///
/// With `Weighting.tokens` it is t / T instead, where tokens count up to `cap` times their lower median.
///
/// Against lies, three caps, each a no-op among nodes of like batch sizes: tokens count up to `cap` times the lower
/// median of tokens per step, which caps a coefficient at `cap` times the median one without shrinking the others; hbar
/// is at most `cap` times the upper median of steps; a coefficient is at most `cap`.
/// All of it is float64 + * / on exactly summed integers and ends as floor(c 2^24 + 1/2): the same integers on every CPU.
package struct Coefficients: Hashable, Sendable {
    /// Binary digits after the point.
    package static let fractionBits = 24
    /// Most contributors of one mean: keeps the sum of `CommitAccumulator`s far from overflow.
    package static let contributorCountMax = 8192

    /// Per contributor c 2^24, at least 1.
    package let fixed: [UInt32]

    /// Computes them.
    ///
    /// - Precondition: every share `contributes`, and there are 1 to `contributorCountMax`.
    package init(_ shares: [TrainingShare], cap: Double, weighting: Weighting = .perStep) {
        self.init(shares, cap: cap, weighting: weighting, clips: [Double](repeating: 1, count: shares.count))
    }

    /// The same with a further factor in (0, 1] per contributor, from norm clipping, applied last.
    package init(_ shares: [TrainingShare], cap: Double, weighting: Weighting = .perStep, clips: [Double]) {
        precondition(
            !shares.isEmpty && shares.count <= Self.contributorCountMax && shares.allSatisfy(\.contributes)
                && clips.count == shares.count && cap >= 1 && cap <= 16,
            "shares must be checked before they are weighted")
        let values =
            switch weighting {
            case .perStep: Self.perStep(shares, cap: cap)
            case .tokens: Self.ofTokens(shares, cap: cap)
            }
        fixed = zip(values, clips).map { max(1, UInt32(min($0, cap) * $1 * 0x1p24 + 0.5)) }
    }

    private static func perStep(_ shares: [TrainingShare], cap: Double) -> [Double] {
        let limit = cap * lowerMedian(shares.map { Double($0.tokens) / Double($0.steps) })
        let counted = shares.map { share in
            let limited = limit * Double(share.steps)
            return Double(share.tokens) > limited ? UInt64(limited) : share.tokens
        }
        // Below 2^13 shares of at most 2^40 tokens: exact. Products need 2^85, so high and low half are summed apart.
        var tokens: UInt64 = 0
        var high: UInt64 = 0
        var low: UInt64 = 0
        for (share, count) in zip(shares, counted) {
            tokens += count
            let product = count.multipliedFullWidth(by: share.steps)
            let (sum, overflow) = low.addingReportingOverflow(product.low)
            low = sum
            high += product.high + (overflow ? 1 : 0)
        }
        let total = Double(tokens)
        let meanSteps = min(
            (Double(high) * 0x1p64 + Double(low)) / total, cap * Double(upperMedian(shares.map(\.steps))))
        return shares.indices.map { Double(counted[$0]) * meanSteps / (Double(shares[$0].steps) * total) }
    }

    private static func ofTokens(_ shares: [TrainingShare], cap: Double) -> [Double] {
        let limit = UInt64(cap * Double(lowerMedian(shares.map(\.tokens))))
        let counted = shares.map { min($0.tokens, limit) }
        let total = Double(counted.reduce(0, +))
        return counted.map { Double($0) / total }
    }

    /// The effective number of contributors, (sum of w)^2 / sum of w^2: between 1 and their count. An outer rate may
    /// follow it; the first charter's is constant.
    package var effectiveCount: Double {
        var sum = 0.0
        var squares = 0.0
        for weight in fixed {
            sum += Double(weight)
            squares += Double(weight) * Double(weight)
        }
        return sum * sum / squares
    }
}

/// The element in the middle of the sorted values, the lower of two.
func lowerMedian<Value: Comparable>(_ values: [Value]) -> Value {
    values.sorted()[(values.count - 1) / 2]
}

/// The element in the middle of the sorted values, the upper of two.
func upperMedian<Value: Comparable>(_ values: [Value]) -> Value {
    values.sorted()[values.count / 2]
}
