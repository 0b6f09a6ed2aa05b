import Compression
import OuterSync

extension Charter {
    /// Refuses any field outside of the range in which the arithmetic that reads it is known to be safe.
    func validate() throws(CharterError) {
        let printable = name.utf8.allSatisfy { (0x21...0x7e).contains($0) }
        guard printable, (1...64).contains(name.utf8.count) else {
            throw .field("name must be 1 to 64 printable ASCII characters without blanks")
        }
        try validateModel()
        try validateOptimizers()
        try Self.check("inner steps per round", innerStepsPerRound, 1...1_000_000)
        try Self.check("overlap steps", overlapSteps, 0...1_000_000)
        guard overlapSteps < innerStepsPerRound else {
            throw .field("overlap steps must be fewer than inner steps per round")
        }
        try validateMode()
        guard blendAlpha >= 0, blendAlpha < 1 else { throw .field("blend alpha must be in [0, 1)") }
        for codec in [encoding.contribution, encoding.result] + encoding.ladder
        where Codec(family: codec.family, level: codec.level) != codec { throw .field("a codec has no such level") }
        try Self.check("feedback", encoding.feedback, 0...1)
        try Self.check("owner feedback", encoding.ownerFeedback, 0...1)
        guard encoding.ownerFeedback == 0 || encoding.result != .float32 || !encoding.ladder.isEmpty else {
            throw .field("owner feedback needs a result codec that leaves something over: not float32")
        }
        guard !encoding.residualStaysLive || encoding.feedback > 0 else {
            throw .field("without error feedback there is no residual that could stay live")
        }
        try validateLadder()
        try Self.check("token budget", tokenBudget, 1...Limits.shareMax)
        try Self.check("weight cap", weightCap, 1...16)
        try Self.check("most members of a gather", gatherMembersMax, 0...Limits.roundMembersMax)
        if case .allowList(let peers) = admission {
            try Self.check("number of allowed peers", peers.count, 1...Admission.allowedMax)
            guard zip(peers, peers.dropFirst()).allSatisfy({ $0 < $1 }) else {
                throw .field("the allowed peers must ascend, each once")
            }
        }
    }

    /// What a coarse codec leaves over must be sent later, or it biases the mean: a ladder needs error feedback.
    private func validateLadder() throws(CharterError) {
        let ladder = encoding.ladder
        guard !ladder.isEmpty else { return }
        try Self.check("number of codecs in the ladder", ladder.count, 1...Limits.ladderMax)
        guard encoding.feedback > 0 else { throw .field("a ladder of codecs needs feedback above 0") }
        let sizes = ladder.map(PayloadEncoding.fullTileByteCount)
        guard zip(sizes, sizes.dropFirst()).allSatisfy({ $0 > $1 }),
            !sizes.contains(PayloadEncoding.fullTileByteCount(encoding.contribution))
        else {
            throw .field(
                "each codec of the ladder must be coarser than the one before it, and none as large as the codec")
        }
    }

    /// What belongs to one sync mode means nothing in another.
    private func validateMode() throws(CharterError) {
        guard syncMode == .windowed || overlapSteps == 0 && blendAlpha == 0 else {
            throw .field("overlap steps and blend alpha must be 0 where every mean is applied a whole round late")
        }
        guard syncMode == .windowed || !encoding.residualStaysLive else {
            throw .field("residuals stay live where live values are not overwritten: in windowed mode only")
        }
        guard syncMode == .windowed || encoding.ladder.isEmpty else {
            throw .field("codecs are negotiated in windowed mode only: where means come late, slow members fall behind")
        }
        try Self.check("momentum clip", outer.momentumClip, 0...1_000)
        guard syncMode == .fullOverlap || outer.penalty == .none && outer.momentumClip == 0 else {
            throw .field("a staleness penalty and a momentum clip go with full overlap only")
        }
    }

    private func validateModel() throws(CharterError) {
        try Self.check("vocabulary size", model.vocabularySize, 2...(1 << 20))
        try Self.check("width", model.width, 1...(1 << 16))
        try Self.check("layer count", model.layerCount, 1...512)
        try Self.check("head count", model.headCount, 1...1_024)
        try Self.check("key-value head count", model.keyValueHeadCount, 1...model.headCount)
        guard model.headCount.isMultiple(of: model.keyValueHeadCount) else {
            throw .field("key-value head count must divide head count")
        }
        try Self.check("head width", model.headWidth, 2...1_024)
        guard model.headWidth.isMultiple(of: 2) else { throw .field("head width must be even for rotary embedding") }
        try Self.check("feed-forward width", model.feedForwardWidth, 1...(1 << 18))
        try Self.check("context length", model.contextLength, 1...(1 << 20))
        try Self.check("rope theta", model.ropeTheta, 1...1e9)
        try Self.check("RMSNorm epsilon", model.rmsNormEpsilon, 1e-12...1)
    }

    private func validateOptimizers() throws(CharterError) {
        try Self.check("inner learning rate", inner.learningRate, 0...10)
        try Self.check("final learning rate share", inner.finalLearningRateShare, 0...1)
        try Self.check("beta1", inner.beta1, 0...0.999_999)
        try Self.check("beta2", inner.beta2, 0...0.999_999)
        try Self.check("epsilon", inner.epsilon, 1e-20...1)
        try Self.check("weight decay", inner.weightDecay, 0...10)
        try Self.check("gradient clip", inner.gradientClip, 0...1e6)
        try Self.check("warm-up tokens", inner.warmupTokens, 0...Limits.shareMax)
        try Self.check("batch sequences", inner.batchSequences, 1...(1 << 16))
        let (batchTokens, overflow) = inner.batchSequences.multipliedReportingOverflow(by: model.contextLength)
        try Self.check("tokens of a batch", overflow ? Int.max : batchTokens, 1...(1 << 24))
        try Self.check("outer learning rate", outer.learningRate, 1e-6...10)
        try Self.check("outer momentum", outer.momentum, 0...0.999_999)
    }

    /// A closed range contains no NaN, so this refuses NaN and infinities too.
    private static func check<Value: Comparable>(
        _ name: String, _ value: Value, _ range: ClosedRange<Value>
    ) throws(CharterError) {
        guard range.contains(value) else {
            throw .field("\(name) is \(value), must be \(range.lowerBound) to \(range.upperBound)")
        }
    }
}
