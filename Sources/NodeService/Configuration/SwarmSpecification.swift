import Compression
import LanguageModel
import OuterSync
import PeerNet
import Swarm

/// What a person writes in `spec.yaml` for `swarm new`; whatever is left out has a default that works.
struct SwarmSpecification: Equatable {
    var name = "atoll"
    var model = ModelConfiguration.nano
    var seed: UInt64 = 1
    var tokenBudget: UInt64 = 20_000_000
    var batchSequences = 8
    var learningRate: Float = 3e-3
    var finalLearningRateShare: Float = 0.1
    var weightDecay: Float = 0.1
    var warmupTokens: UInt64?
    /// nil: the mode's own.
    var outerLearningRate: Float?
    var outerMomentum: Float?
    var penalty = StalenessPenalty.none
    var momentumClip: Float = 0
    var innerStepsPerRound = 30
    var syncMode = SyncMode.windowed
    /// nil: the mode's own.
    var overlapSteps: Int?
    var blendAlpha: Float?
    var encoding = PayloadEncoding(.e3m0)
    var exchange = Exchange.auto
    var weighting = Weighting.perStep
    var admission = Charter.Admission.open

    /// How the contributions of a round become a mean.
    enum Exchange: String, CaseIterable {
        /// Tiles have owners, who send the encoded mean.
        case scatter
        /// Everybody fetches and averages everybody's contributions, as long as a round has at most
        /// `Limits.roundMembersMax` members: always.
        case gather
        /// Gather among few members where contributions are sparse, else scatter.
        case auto

        /// Members up to which sparse contributions to everybody cost less than means from owners.
        static let crossover = 18

        /// The charter's number.
        func gatherMembersMax(_ codec: Codec) -> Int {
            switch self {
            case .scatter: 0
            case .gather: Limits.roundMembersMax
            case .auto: if case .topK = codec { Self.crossover } else { 0 }
            }
        }
    }

    /// Reads a specification; unknown and misspelt keys are errors.
    static func parse(_ text: String, name fileName: String) throws(YAMLProblem) -> SwarmSpecification {
        var mapping = try YAMLMapping.parse(text, name: fileName)
        var specification = SwarmSpecification()
        if let name = try mapping.string("name") { specification.name = name }
        if let preset = try mapping.string("model") {
            guard let model = ModelConfiguration.preset(named: preset), model.vocabularySize == 256 else {
                throw YAMLProblem(
                    description: "\(fileName): no model '\(preset)' for a byte vocabulary; there are nano and micro")
            }
            specification.model = model
        }
        if let seed = try mapping.integer("seed", in: 0...Int.max) { specification.seed = UInt64(seed) }
        if let tokens = try mapping.integer("token_budget", in: 1...Int.max) {
            specification.tokenBudget = UInt64(tokens)
        }
        if let batch = try mapping.integer("batch_sequences", in: 1...4096) { specification.batchSequences = batch }
        if var inner = try mapping.mapping("inner") {
            if let rate = try inner.number("learning_rate", in: 1e-8...1) { specification.learningRate = Float(rate) }
            if let share = try inner.number("final_share", in: 0...1) {
                specification.finalLearningRateShare = Float(share)
            }
            if let decay = try inner.number("weight_decay", in: 0...1) { specification.weightDecay = Float(decay) }
            if let tokens = try inner.integer("warmup_tokens", in: 0...Int.max) {
                specification.warmupTokens = UInt64(tokens)
            }
            try inner.finish()
        }
        if var outer = try mapping.mapping("outer") {
            if let rate = try outer.number("learning_rate", in: 1e-4...10) {
                specification.outerLearningRate = Float(rate)
            }
            if let momentum = try outer.number("momentum", in: 0...0.99) {
                specification.outerMomentum = Float(momentum)
            }
            let penalty = try outer.choice("penalty", "none, gap or excess") { (text) -> StalenessPenalty? in
                switch text {
                case "none": StalenessPenalty.none
                case "gap": .gap
                case "excess": .excess
                default: nil
                }
            }
            if let penalty { specification.penalty = penalty }
            if let clip = try outer.number("momentum_clip", in: 0...1_000) {
                specification.momentumClip = Float(clip)
            }
            try outer.finish()
        }
        if var sync = try mapping.mapping("sync") {
            if let steps = try sync.integer("inner_steps_per_round", in: 1...1_000_000) {
                specification.innerStepsPerRound = steps
            }
            if let steps = try sync.integer("overlap_steps", in: 0...999_999) { specification.overlapSteps = steps }
            if let alpha = try sync.number("blend_alpha", in: 0...0.99) { specification.blendAlpha = Float(alpha) }
            if let codec = try sync.choice("codec", CodecName.expectation, CodecName.codec) {
                specification.encoding.contribution = codec
                specification.encoding.result = codec
            }
            if let codec = try sync.choice("result_codec", CodecName.expectation, CodecName.codec) {
                specification.encoding.result = codec
            }
            if let decay = try sync.number("feedback", in: 0...1) {
                specification.encoding.feedback = Float(decay)
            } else if case .topK = specification.encoding.contribution {
                // What is left out must be sent later, or nearly everything is lost.
                specification.encoding.feedback = 0.95
            }
            let residual = try sync.choice("residual", "apart or live") { ["apart": false, "live": true][$0] }
            if let residual { specification.encoding.residualStaysLive = residual }
            let weights = try sync.choice("weights", "per-step or tokens") {
                ["per-step": Weighting.perStep, "tokens": .tokens][$0]
            }
            if let weights { specification.weighting = weights }
            let mode = try sync.choice("mode", "windowed, full-overlap or eager") { text in
                SyncMode.allCases.first { Self.name($0) == text }
            }
            if let mode { specification.syncMode = mode }
            if let exchange = try sync.choice("exchange", "scatter, gather or auto", Exchange.init(rawValue:)) {
                specification.exchange = exchange
            }
            specification.encoding.ladder = try ladder(&sync, specification, fileName)
            specification.encoding.ownerFeedback = try ownerFeedback(&sync, specification.encoding)
            try sync.finish()
        }
        specification.admission = try admission(&mapping, fileName)
        try mapping.finish()
        return specification
    }

    /// What slower links may be given where nothing is said: a half, an eighth and a thirtieth of four bits.
    static let coarserCodecs: [Codec] = [.statistical(bits: 2), .topK(kept: 256), .topK(kept: 64)]

    /// Reads `negotiate` and `codecs`. Without a word members negotiate where error feedback makes that safe.
    private static func ladder(
        _ sync: inout YAMLMapping, _ specification: SwarmSpecification, _ fileName: String
    ) throws(YAMLProblem) -> [Codec] {
        let encoding = specification.encoding
        let wanted = try sync.choice("negotiate", "true or false") { ["true": true, "false": false][$0] }
        let listed = try sync.strings("codecs")
        guard wanted ?? (encoding.feedback > 0 && specification.syncMode == .windowed) else {
            guard listed == nil else {
                throw YAMLProblem(
                    description: "\(fileName): 'codecs' under 'sync' needs 'negotiate: true' and 'feedback' above 0")
            }
            return []
        }
        guard encoding.feedback > 0 else {
            throw YAMLProblem(
                description:
                    "\(fileName): 'negotiate: true' needs 'feedback' above 0 (1, say): what a coarse codec leaves over is sent later"
            )
        }
        guard let listed else {
            let size = PayloadEncoding.fullTileByteCount(encoding.contribution)
            return coarserCodecs.filter { PayloadEncoding.fullTileByteCount($0) < size }
        }
        var codecs: [Codec] = []
        for name in listed {
            guard let codec = CodecName.codec(name) else {
                throw YAMLProblem(description: "\(fileName): '\(name)' under 'codecs' is not \(CodecName.expectation)")
            }
            codecs.append(codec)
        }
        return codecs
    }

    /// Reads `owner_feedback`. Without a word owners keep what encoding leaves over where it may be much: where results can
    /// be coarser than the charter's own.
    private static func ownerFeedback(
        _ sync: inout YAMLMapping, _ encoding: PayloadEncoding
    ) throws(YAMLProblem) -> Float {
        let said = try sync.choice("owner_feedback", "true, false or a number from 0 to 1") { text -> Float? in
            switch text {
            case "true": encoding.feedback > 0 ? encoding.feedback : 1
            case "false": 0
            default: Float(text).flatMap { (0...1).contains($0) ? $0 : nil }
            }
        }
        return said ?? (encoding.ladder.isEmpty ? 0 : encoding.feedback)
    }

    /// Reads `admission` and `allow`.
    private static func admission(
        _ mapping: inout YAMLMapping, _ fileName: String
    ) throws(YAMLProblem) -> Charter.Admission {
        let rule = try mapping.string("admission") ?? "open"
        let listed = try mapping.strings("allow")
        switch rule {
        case "open" where listed == nil: return .open
        case "invite" where listed == nil: return .invite
        case "allow-list":
            guard let listed, (1...Charter.Admission.allowedMax).contains(Set(listed).count) else {
                throw YAMLProblem(
                    description:
                        "\(fileName): 'admission: allow-list' needs 'allow', 1 to \(Charter.Admission.allowedMax) peer ids"
                )
            }
            var peers: Set<PeerID> = []
            for text in listed {
                guard let peer = try? PeerID(text) else {
                    throw YAMLProblem(
                        description: "\(fileName): '\(text)' under 'allow' is no peer id (atoll init prints it)")
                }
                peers.insert(peer)
            }
            return .allowList(peers.sorted())
        case "open", "invite":
            throw YAMLProblem(description: "\(fileName): 'allow' goes with 'admission: allow-list' only")
        default:
            throw YAMLProblem(description: "\(fileName): 'admission' must be open, allow-list or invite")
        }
    }

    private static func name(_ mode: SyncMode) -> String {
        switch mode {
        case .windowed: "windowed"
        case .fullOverlap: "full-overlap"
        case .eager: "eager"
        }
    }

    /// Outer learning rate, outer momentum, tau and alpha where the specification does not say.
    ///
    /// A mean that comes a whole round late is stable at lower gains only: full overlap where rate < 1 - momentum, whatever a
    /// round closes of the distance; eager updates by many members below 0.48 at momentum 0.6.
    private var defaults: (rate: Float, momentum: Float, overlapSteps: Int, blendAlpha: Float) {
        switch syncMode {
        case .windowed: (0.7, 0.6, 2, 0.25)
        case .fullOverlap: (0.5, 0.2, 0, 0)
        case .eager: (0.4, 0.6, 0, 0)
        }
    }

    /// The YAML that `parse` reads back to the same value; for tests and testnets. The model is named by its preset.
    func yaml(modelName: String) -> String {
        """
        name: \(name)
        model: \(modelName)
        seed: \(seed)
        token_budget: \(tokenBudget)
        batch_sequences: \(batchSequences)
        inner:
          learning_rate: \(learningRate)
          final_share: \(finalLearningRateShare)
          weight_decay: \(weightDecay)\(line("warmup_tokens", warmupTokens))
        outer:
          penalty: \(penalty)
          momentum_clip: \(momentumClip)\(line("learning_rate", outerLearningRate))\(line("momentum", outerMomentum))
        sync:
          mode: \(Self.name(syncMode))
          inner_steps_per_round: \(innerStepsPerRound)
          exchange: \(exchange.rawValue)\(line("overlap_steps", overlapSteps))\(line("blend_alpha", blendAlpha))
          codec: \(CodecName.name(encoding.contribution))
          result_codec: \(CodecName.name(encoding.result))
          feedback: \(encoding.feedback)
          owner_feedback: \(encoding.ownerFeedback)
          residual: \(encoding.residualStaysLive ? "live" : "apart")
          weights: \(weighting == .tokens ? "tokens" : "per-step")
          negotiate: \(!encoding.ladder.isEmpty)
        \(ladderYAML)\(admissionYAML)

        """
    }

    private var ladderYAML: String {
        encoding.ladder.isEmpty
            ? "" : "  codecs: [\(encoding.ladder.map { "\"\(CodecName.name($0))\"" }.joined(separator: ", "))]\n"
    }
    /// A line of a nested mapping; nothing where the specification leaves the value to the mode.
    private func line(_ key: String, _ value: (some Any)?) -> String { value.map { "\n  \(key): \($0)" } ?? "" }

    private var admissionYAML: String {
        switch admission {
        case .open: "admission: open"
        case .invite: "admission: invite"
        case .allowList(let peers):
            "admission: allow-list\nallow: [\(peers.map { "\($0)" }.joined(separator: ", "))]"
        }
    }

    /// Warm-up tokens: as given, else a twentieth of the budget.
    var warmup: UInt64 { warmupTokens ?? tokenBudget / 20 }

    /// The charter, not yet sealed.
    func charter(founder: PeerID, tokenizer: Digest) -> Charter {
        var charter = Charter(
            name: name, founder: founder, model: Charter.Model(model), tokenizer: tokenizer, seed: seed,
            inner: Charter.Inner(
                learningRate: learningRate, finalLearningRateShare: finalLearningRateShare, beta1: 0.9, beta2: 0.99,
                epsilon: 1e-8, weightDecay: weightDecay, gradientClip: 1, warmupTokens: warmup,
                batchSequences: batchSequences),
            outer: Charter.Outer(
                learningRate: outerLearningRate ?? defaults.rate, momentum: outerMomentum ?? defaults.momentum),
            fragmentRule: .stridedThrees, innerStepsPerRound: innerStepsPerRound,
            overlapSteps: overlapSteps ?? defaults.overlapSteps, blendAlpha: blendAlpha ?? defaults.blendAlpha,
            encoding: encoding,
            tokenBudget: tokenBudget, admission: admission)
        charter.weighting = weighting
        charter.outer.penalty = penalty
        charter.outer.momentumClip = momentumClip
        charter.syncMode = syncMode
        charter.gatherMembersMax = exchange.gatherMembersMax(encoding.contribution)
        return charter
    }
}
