package import Compression
package import OuterSync
package import PeerNet

/// The immutable, signed description of a swarm; the digest of its signed bytes is the swarm id.
package struct Charter: Hashable, Sendable {
    /// A short name for people, 1 to 64 bytes of printable ASCII.
    package var name: String
    /// Who signed the charter; the only voter of every fragment's first round.
    package var founder: PeerID
    /// The model.
    package var model: Model
    /// The digest of the tokenizer's canonical bytes.
    package var tokenizer: Digest
    /// Seeds the initialisation.
    package var seed: UInt64
    /// The inner optimizer.
    package var inner: Inner
    /// The outer optimizer.
    package var outer: Outer
    /// How layers form fragments.
    package var fragmentRule: FragmentRule
    /// H: inner steps between two snapshots of one fragment.
    package var innerStepsPerRound: Int
    /// tau: inner steps between a snapshot and the earliest application of its round.
    package var overlapSteps: Int
    /// alpha: the weight that the live value keeps when a head is blended in, in [0, 1).
    package var blendAlpha: Float
    /// How contributions and results are encoded.
    package var encoding: PayloadEncoding
    /// The branch's committed tokens at which training ends.
    package var tokenBudget: UInt64
    /// A contribution's coefficient is at most this many times the commit's median.
    package var weightCap: Float
    /// What a contribution's weight follows.
    package var weighting: Weighting = .perStep
    /// Who may join.
    package var admission: Admission
    /// How contributions become one value.
    package var aggregation: Aggregation
    /// The digest of a common held-out file, if the swarm has one.
    package var heldOut: Digest?
    /// Most members of a round in which every member fetches and averages all contributions; 0: never.
    package var gatherMembersMax = 0

    /// How live values go on while a mean is under way.
    package var syncMode = SyncMode.windowed

    /// The arithmetic of the outer step.
    package var outerRule: OuterRule {
        let clip = outer.momentumClip > 0 ? MomentumClip.rootMeanSquares(outer.momentumClip) : .none
        return OuterRule(
            learningRate: outer.learningRate, momentum: outer.momentum, weightCap: Double(weightCap),
            weighting: weighting,
            method: syncMode == .fullOverlap ? .staleHeavyBall(outer.penalty, clip: clip) : .nesterov)
    }

    /// The decoder's shape.
    package struct Model: Hashable, Sendable {
        /// Tokens in the vocabulary.
        package var vocabularySize: Int
        /// Width of the residual stream.
        package var width: Int
        /// Decoder blocks.
        package var layerCount: Int
        /// Query heads.
        package var headCount: Int
        /// Key and value heads; divides `headCount`.
        package var keyValueHeadCount: Int
        /// Width of one head.
        package var headWidth: Int
        /// Width of the feed-forward layer.
        package var feedForwardWidth: Int
        /// Longest context in tokens.
        package var contextLength: Int
        /// Base of the rotary embedding.
        package var ropeTheta: Float
        /// Epsilon of RMSNorm.
        package var rmsNormEpsilon: Float
        /// Whether the output head is the embedding.
        package var tiedEmbeddings: Bool

        /// Wraps the fields; ranges are checked by `Charter.sealed`.
        package init(
            vocabularySize: Int, width: Int, layerCount: Int, headCount: Int, keyValueHeadCount: Int, headWidth: Int,
            feedForwardWidth: Int, contextLength: Int, ropeTheta: Float, rmsNormEpsilon: Float, tiedEmbeddings: Bool
        ) {
            self.vocabularySize = vocabularySize
            self.width = width
            self.layerCount = layerCount
            self.headCount = headCount
            self.keyValueHeadCount = keyValueHeadCount
            self.headWidth = headWidth
            self.feedForwardWidth = feedForwardWidth
            self.contextLength = contextLength
            self.ropeTheta = ropeTheta
            self.rmsNormEpsilon = rmsNormEpsilon
            self.tiedEmbeddings = tiedEmbeddings
        }
    }

    /// AdamW with warm-up and cosine, as functions of the branch's committed tokens.
    package struct Inner: Hashable, Sendable {
        /// Peak learning rate.
        package var learningRate: Float
        /// Share of the peak that is left at the token budget.
        package var finalLearningRateShare: Float
        /// Decay of the first moment.
        package var beta1: Float
        /// Decay of the second moment.
        package var beta2: Float
        /// Added to the denominator.
        package var epsilon: Float
        /// Decoupled weight decay.
        package var weightDecay: Float
        /// Largest gradient norm; 0 clips nothing.
        package var gradientClip: Float
        /// Committed tokens over which the learning rate rises.
        package var warmupTokens: UInt64
        /// Sequences in one inner step's batch.
        package var batchSequences: Int

        /// Wraps the fields; ranges are checked by `Charter.sealed`.
        package init(
            learningRate: Float, finalLearningRateShare: Float, beta1: Float, beta2: Float, epsilon: Float,
            weightDecay: Float, gradientClip: Float, warmupTokens: UInt64, batchSequences: Int
        ) {
            self.learningRate = learningRate
            self.finalLearningRateShare = finalLearningRateShare
            self.beta1 = beta1
            self.beta2 = beta2
            self.epsilon = epsilon
            self.weightDecay = weightDecay
            self.gradientClip = gradientClip
            self.warmupTokens = warmupTokens
            self.batchSequences = batchSequences
        }
    }

    /// SGD with momentum over outer gradients: Nesterov's, or heavy-ball where means come late by full overlap.
    package struct Outer: Hashable, Sendable {
        /// Outer learning rate.
        package var learningRate: Float
        /// Outer momentum.
        package var momentum: Float
        /// Under full overlap, what a late mean is divided by.
        package var penalty = StalenessPenalty.none
        /// Under full overlap, how many times its root mean square an element of the momentum may be; 0: any.
        package var momentumClip: Float = 0

        /// Wraps the fields; ranges are checked by `Charter.sealed`.
        package init(learningRate: Float, momentum: Float) {
            self.learningRate = learningRate
            self.momentum = momentum
        }
    }

    /// How layers form fragments.
    package enum FragmentRule: UInt32, Hashable, Sendable {
        /// Strided groups of three blocks (below six blocks one block each); embedding, final norm and head together.
        case stridedThrees = 1
    }

    /// Who may join a swarm.
    package enum Admission: Hashable, Sendable {
        /// Whoever has the invite.
        case open
        /// The founder and these peers, at most `allowedMax`, ascending.
        case allowList([PeerID])
        /// Whoever has a capability of the founder or of a delegate.
        case invite

        /// The most peers that a charter can list.
        package static let allowedMax = 96
    }

    /// How contributions become one value.
    package enum Aggregation: UInt32, Hashable, Sendable {
        /// The weighted mean.
        case mean = 1
    }

    /// Wraps the fields; ranges are checked by `sealed`.
    package init(
        name: String, founder: PeerID, model: Model, tokenizer: Digest, seed: UInt64, inner: Inner, outer: Outer,
        fragmentRule: FragmentRule, innerStepsPerRound: Int, overlapSteps: Int, blendAlpha: Float,
        encoding: PayloadEncoding,
        tokenBudget: UInt64, weightCap: Float = 4, admission: Admission = .open, aggregation: Aggregation = .mean,
        heldOut: Digest? = nil
    ) {
        self.name = name
        self.founder = founder
        self.model = model
        self.tokenizer = tokenizer
        self.seed = seed
        self.inner = inner
        self.outer = outer
        self.fragmentRule = fragmentRule
        self.innerStepsPerRound = innerStepsPerRound
        self.overlapSteps = overlapSteps
        self.blendAlpha = blendAlpha
        self.encoding = encoding
        self.tokenBudget = tokenBudget
        self.weightCap = weightCap
        self.admission = admission
        self.aggregation = aggregation
        self.heldOut = heldOut
    }
}
