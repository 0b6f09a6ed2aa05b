import Glibc
import Numerics

/// How a model's rotary frequencies differ from theta^(-2j / headWidth), so that it attends over more tokens than it was
/// first trained for. The kinds and formulas are those of `transformers` 4.57 and 5, which agree.
package enum RopeScaling: Hashable, Sendable {
    /// Every frequency is divided by `factor`.
    case linear(factor: Double)
    /// Beyond the context length the base grows with the length of the text; up to it nothing changes.
    case dynamic(factor: Double)
    /// Llama 3: slow frequencies are divided by `factor`, fast ones kept, those between interpolated.
    case llama3(factor: Double, lowFrequencyFactor: Double, highFrequencyFactor: Double, originalContextLength: Int)
    /// Slow frequencies are divided by a factor, fast ones kept; the range between follows from counts of rotations.
    case yarn(Yarn)

    /// The numbers of YaRN (arXiv 2309.00071).
    package struct Yarn: Hashable, Sendable {
        /// Slow frequencies are divided by it.
        package var factor: Double
        /// The context length before scaling.
        package var originalContextLength: Int
        /// Frequencies that turn more often than this within the original context are kept.
        package var betaFast: Double
        /// Frequencies that turn less often than this within the original context are divided by the factor.
        package var betaSlow: Double
        /// Multiplies cosines and sines; 0.1 ln(factor) + 1 unless a checkpoint says otherwise.
        package var attentionFactor: Double
        /// Whether the range between fast and slow is widened to whole pairs.
        package var truncatesRange: Bool

        /// Wraps the numbers, with the defaults of `transformers`.
        package init(
            factor: Double, originalContextLength: Int, betaFast: Double = 32, betaSlow: Double = 1,
            attentionFactor: Double? = nil, truncatesRange: Bool = true
        ) {
            self.factor = factor
            self.originalContextLength = originalContextLength
            self.betaFast = betaFast
            self.betaSlow = betaSlow
            self.attentionFactor = attentionFactor ?? Self.defaultAttentionFactor(factor)
            self.truncatesRange = truncatesRange
        }

        /// 0.1 scale ln(factor) + 1, and 1 for factors up to 1.
        package static func defaultAttentionFactor(_ factor: Double, scale: Double = 1) -> Double {
            factor <= 1 ? 1 : 0.1 * scale * log(factor) + 1
        }
    }

    /// Checks every number; `configuration` is the model that it belongs to, whose other fields are valid.
    func validate(for configuration: ModelConfiguration) throws(ModelError) {
        switch self {
        case .linear(let factor): try Self.check("factor", factor, in: 1...Self.factorMax)
        case .dynamic(let factor):
            try Self.check("factor", factor, in: 1...Self.factorMax)
            // The base grows with the power headWidth / (headWidth - 2).
            guard configuration.headWidth > 2 else {
                throw .invalidConfiguration("dynamic rotary scaling needs a head width above 2")
            }
        case .llama3(let factor, let low, let high, let length):
            try Self.check("factor", factor, in: 1...Self.factorMax)
            try Self.check("low frequency factor", low, in: 1e-6...Self.factorMax)
            try Self.check("high frequency factor", high, in: 1e-6...Self.factorMax)
            guard low < high else {
                throw .invalidConfiguration("the rotary low frequency factor must be below the high one")
            }
            try Self.check(length)
        case .yarn(let yarn):
            try Self.check("factor", yarn.factor, in: 1...Self.factorMax)
            try Self.check("beta_fast", yarn.betaFast, in: 1e-6...Self.factorMax)
            try Self.check("beta_slow", yarn.betaSlow, in: 1e-6...Self.factorMax)
            guard yarn.betaSlow <= yarn.betaFast else {
                throw .invalidConfiguration("the rotary beta_slow must not be above beta_fast")
            }
            try Self.check("attention factor", yarn.attentionFactor, in: 1e-6...Self.factorMax)
            try Self.check(yarn.originalContextLength)
            guard configuration.ropeTheta > 1 else {
                throw .invalidConfiguration("yarn rotary scaling needs a rotary base above 1")
            }
        }
    }

    /// Far above what any model uses, far below overflow.
    private static let factorMax = 1e6

    private static func check(_ name: String, _ value: Double, in range: ClosedRange<Double>) throws(ModelError) {
        guard range.contains(value) else {
            throw .invalidConfiguration(
                "the rotary \(name) \(value) must lie in \(range.lowerBound)...\(range.upperBound)")
        }
    }

    private static func check(_ originalContextLength: Int) throws(ModelError) {
        guard (1...ModelConfiguration.Limits.contextLengthMax).contains(originalContextLength) else {
            throw .invalidConfiguration(
                "the rotary original context length \(originalContextLength) must lie in "
                    + "1...\(ModelConfiguration.Limits.contextLengthMax)")
        }
    }
}

/// What a model's rotary embedding turns by.
package struct RotaryFrequencies: Hashable, Sendable {
    /// [headWidth / 2]: radians per position, of the pair (j, j + headWidth / 2).
    package let radians: [Double]
    /// Multiplies cosines and sines.
    package let amplitude: Double

    /// The frequencies of a valid configuration for texts of at most `length` tokens.
    package init(_ configuration: ModelConfiguration, length: Int) {
        let pairs = configuration.headWidth / 2
        let width = Double(configuration.headWidth)
        func plain(_ base: Double) -> [Double] { (0..<pairs).map { pow(base, -2 * Double($0) / width) } }
        switch configuration.ropeScaling {
        case nil: (radians, amplitude) = (plain(configuration.ropeTheta), 1)
        case .linear(let factor): (radians, amplitude) = (plain(configuration.ropeTheta).map { $0 / factor }, 1)
        case .dynamic(let factor):
            var base = configuration.ropeTheta
            if length > configuration.contextLength {
                let growth = factor * Double(length) / Double(configuration.contextLength) - (factor - 1)
                base *= pow(growth, width / (width - 2))
            }
            (radians, amplitude) = (plain(base), 1)
        case .llama3(let factor, let low, let high, let original):
            radians = plain(configuration.ropeTheta).map { radians in
                let turns = Double(original) * radians / (2 * .pi)
                if turns > high { return radians }
                if turns < low { return radians / factor }
                let share = (turns - low) / (high - low)
                return (1 - share) * radians / factor + share * radians
            }
            amplitude = 1
        case .yarn(let yarn):
            let range = Self.correctionRange(yarn, base: configuration.ropeTheta, width: width)
            radians = plain(configuration.ropeTheta).enumerated().map { pair, radians in
                let ramp = min(1, max(0, (Double(pair) - range.low) / (range.high - range.low)))
                return radians / yarn.factor * ramp + radians * (1 - ramp)
            }
            amplitude = yarn.attentionFactor
        }
    }

    /// The pairs between which YaRN blends: below `low` frequencies are kept, above `high` divided.
    private static func correctionRange(
        _ yarn: RopeScaling.Yarn, base: Double, width: Double
    ) -> (low: Double, high: Double) {
        func pair(turns: Double) -> Double {
            width * log(Double(yarn.originalContextLength) / (turns * 2 * .pi)) / (2 * log(base))
        }
        var (low, high) = (pair(turns: yarn.betaFast), pair(turns: yarn.betaSlow))
        if yarn.truncatesRange { (low, high) = (low.rounded(.down), high.rounded(.up)) }
        (low, high) = (max(low, 0), min(high, width - 1))
        // As in transformers, so that the ramp is a step and not a division by zero.
        if low == high { high += 0.001 }
        return (low, high)
    }
}

/// Fills the rotation tables [length, headWidth / 2]: the angle of pair j at position p is p * radians[j].
func fillRotations(_ configuration: ModelConfiguration, length: Int, cosines: MutableFloats, sines: MutableFloats) {
    let half = configuration.headWidth / 2
    let frequencies = RotaryFrequencies(configuration, length: length)
    for (pair, radians) in frequencies.radians.enumerated() {
        for position in 0..<length {
            cosines[position * half + pair] = Float(frequencies.amplitude * cos(Double(position) * radians))
            sines[position * half + pair] = Float(frequencies.amplitude * sin(Double(position) * radians))
        }
    }
}
