import Compression
import Lab
import LanguageModel
import OuterSync

/// A grid of experiments as a person writes it in YAML: text, seeds, and runs, each with a method's settings as the start.
///
/// A list where one value is expected stands for one run per element.
struct LabGridFile {
    /// `--data` values.
    var data: [String]
    /// The seeds that every configuration is run with.
    var seeds: [UInt64]
    /// The configuration that the others are compared with.
    var baseline: String?
    /// All configurations.
    var configurations: [LabSettings]

    /// Reads a grid; unknown and misspelt keys are errors.
    static func parse(_ text: String, name fileName: String) throws(YAMLProblem) -> LabGridFile {
        var mapping = try YAMLMapping.parse(text, name: fileName)
        guard let data = try mapping.strings("data"), !data.isEmpty else {
            throw YAMLProblem(description: "\(fileName): 'data' must name the text, such as c='/usr/include/**/*.h'")
        }
        var seeds: [UInt64] = []
        for seed in try mapping.strings("seeds") ?? ["1", "2", "3"] {
            guard let number = UInt64(seed), !seeds.contains(number) else {
                throw YAMLProblem(description: "\(fileName): 'seeds' must be different whole numbers")
            }
            seeds.append(number)
        }
        let baseline = try mapping.string("baseline")
        let defaults = try mapping.mapping("defaults")
        guard let runs = try mapping.mappings("runs"), !runs.isEmpty else {
            throw YAMLProblem(description: "\(fileName): 'runs' must list at least one configuration")
        }
        try mapping.finish()
        var configurations: [LabSettings] = []
        for run in runs {
            for (combination, choice) in run.filled(from: defaults).combinations() {
                var combination = combination
                var settings = try settings(&combination, place: fileName)
                settings.name += choice
                try combination.finish()
                guard !configurations.contains(where: { $0.name == settings.name }) else {
                    throw YAMLProblem(description: "\(fileName): two runs are called '\(settings.name)'")
                }
                configurations.append(settings)
            }
        }
        if let baseline, !configurations.contains(where: { $0.name == baseline }) {
            throw YAMLProblem(description: "\(fileName): the baseline '\(baseline)' is none of the runs")
        }
        return LabGridFile(data: data, seeds: seeds, baseline: baseline, configurations: configurations)
    }

    private static func settings(
        _ mapping: inout YAMLMapping, place: String
    ) throws(YAMLProblem) -> LabSettings {
        var settings = LabSettings()
        guard let name = try mapping.string("name"), !name.isEmpty else {
            throw YAMLProblem(description: "\(place): every run needs a 'name'")
        }
        settings.name = name
        if let model = try mapping.choice("model", "nano or micro", ModelConfiguration.preset(named:)) {
            guard model.vocabularySize == 256 else {
                throw YAMLProblem(description: "\(place): '\(name)': the laboratory trains on bytes: nano or micro")
            }
            settings.model = model
        }
        let context = settings.model.contextLength
        if let window = try mapping.integer("window", in: 8...context) { settings.windowTokens = window }
        if let workers = try mapping.integer("workers", in: 1...64) { settings.workers = workers }
        if let batch = try mapping.integer("global_batch", in: 1...4096) { settings.globalBatch = batch }
        if let steps = try mapping.integer("steps", in: 1...1_000_000) { settings.steps = steps }
        if let count = try mapping.integer("evaluations", in: 1...1000) { settings.evaluations = count }
        if let count = try mapping.integer("held_out_windows", in: 1...10_000) { settings.heldOutWindows = count }
        if let muon = try mapping.choice("optimizer", "adamw or muon", { ["adamw": false, "muon": true][$0] }) {
            settings.inner.muon = muon
        }
        if let rate = try mapping.number("learning_rate", in: 1e-8...1) { settings.inner.learningRate = Float(rate) }
        if let decay = try mapping.number("weight_decay", in: 0...1) { settings.inner.weightDecay = Float(decay) }
        if let text = try mapping.string("speeds") {
            let speeds = text.split(separator: " ").map { Double($0) ?? 0 }
            guard speeds.count == settings.workers, speeds.allSatisfy({ (0.01...100).contains($0) }) else {
                throw YAMLProblem(description: "\(place): '\(name)': 'speeds' must be one number per worker")
            }
            settings.speeds = speeds
        }
        guard settings.globalBatch % settings.workers == 0 else {
            throw YAMLProblem(description: "\(place): '\(name)': 'global_batch' must be a multiple of 'workers'")
        }
        settings.method = try method(&mapping, place: "\(place): '\(name)'")
        return settings
    }

    /// Reads `method` and, for rounds, what differs from its settings.
    private static func method(
        _ mapping: inout YAMLMapping, place: String
    ) throws(YAMLProblem) -> LabSettings.Method {
        let method = try mapping.string("method") ?? "diloco"
        switch method {
        case "data-parallel":
            mapping.ignore(Self.roundKeys)
            return .dataParallel
        case "alone":
            mapping.ignore(Self.roundKeys)
            return .alone
        default: break
        }
        guard var rounds = LabSettings.Rounds.preset(method) else {
            throw YAMLProblem(
                description: "\(place): 'method' must be data-parallel, alone or one of "
                    + LabSettings.Rounds.presetNames.joined(separator: ", "))
        }
        if let steps = try mapping.integer("inner_steps", in: 1...1_000_000) { rounds.innerSteps = UInt64(steps) }
        let fragments = try mapping.choice("fragments", "whole or strided") {
            ["whole": FragmentRule.whole, "strided": .stridedThrees][$0]
        }
        if let fragments { rounds.fragments = fragments }
        let tau = try mapping.integer("tau", in: 0...999_999)
        let alpha = try mapping.number("alpha", in: 0...1)
        if case .steps(let steps, let weight) = rounds.overlap {
            let used = tau.map(UInt64.init) ?? steps
            guard used < rounds.innerSteps else {
                throw YAMLProblem(description: "\(place): 'tau' must be less than 'inner_steps'")
            }
            rounds.overlap = .steps(used, alpha: alpha.map { Float($0) } ?? weight)
        }
        if let rate = try mapping.number("outer_rate", in: 1e-4...10) { rounds.rule.learningRate = Float(rate) }
        if let momentum = try mapping.number("outer_momentum", in: 0...0.99) { rounds.rule.momentum = Float(momentum) }
        let weights = try mapping.choice("weights", "per-step or tokens") {
            ["per-step": Weighting.perStep, "tokens": .tokens][$0]
        }
        if let weights { rounds.rule.weighting = weights }
        let penalty = try mapping.choice("penalty", "none, gap or excess") {
            ["none": StalenessPenalty.none, "gap": .gap, "excess": .excess][$0]
        }
        let clip = try mapping.number("clip", in: 0...1000)
        if case .staleHeavyBall(var usedPenalty, var usedClip) = rounds.rule.method {
            if let penalty { usedPenalty = penalty }
            if let clip { usedClip = clip == 0 ? .none : .rootMeanSquares(Float(clip)) }
            rounds.rule.method = .staleHeavyBall(usedPenalty, clip: usedClip)
        }
        if let codec = try mapping.choice("codec", CodecName.expectation, CodecName.codec) { rounds.codec = codec }
        if let feedback = try mapping.number("feedback", in: 0...1) { rounds.feedback = Float(feedback) }
        if let live = try mapping.flag("residual_stays_live") { rounds.residualStaysLive = live }
        // One text, since a list stands for several runs.
        if let names = try mapping.string("ladder") {
            for name in names.split(separator: " ").map(String.init) {
                guard let codec = CodecName.codec(name) else {
                    throw YAMLProblem(
                        description: "\(place): '\(name)' under 'ladder' is not \(CodecName.expectation)")
                }
                rounds.ladder.append(codec)
            }
        }
        let objective = try mapping.choice("objective", "fewest-bytes or most-error") {
            ["fewest-bytes": CodecTables.Objective.fewestBytes, "most-error": .mostError][$0]
        }
        if let objective { rounds.objective = objective }
        let result = try mapping.choice("result_codec", CodecName.expectation, CodecName.codec)
        let ownerFeedback = try mapping.choice("owner_feedback", "true, false or a number from 0 to 1") {
            text -> Float? in
            switch text {
            case "true": 1
            case "false": 0
            default: Float(text).flatMap { (0...1).contains($0) ? $0 : nil }
            }
        }
        let gathers = try mapping.choice("exchange", "gather or scatter") { ["gather": true, "scatter": false][$0] }
        switch rounds.exchange {
        case .gather where gathers != false: break
        case .gather: rounds.exchange = .scatter(result: result ?? rounds.codec, ownerFeedback: ownerFeedback ?? 0)
        case .scatter where gathers == true: rounds.exchange = .gather
        case .scatter(let codec, let feedsBack):
            rounds.exchange = .scatter(result: result ?? codec, ownerFeedback: ownerFeedback ?? feedsBack)
        }
        return .rounds(rounds)
    }

    /// Keys that baselines do not read, though they may stand among the defaults.
    private static let roundKeys = [
        "inner_steps", "fragments", "tau", "alpha", "outer_rate", "outer_momentum", "weights", "penalty",
        "clip",
        "codec",
        "feedback", "residual_stays_live", "ladder", "objective", "result_codec", "owner_feedback",
        "exchange",
    ]
}

extension LabSettings.Rounds {
    /// The names of `preset`.
    static let presetNames = ["diloco", "streaming", "sparse", "co2", "eager", "delayed"]

    /// A method's settings as published, as far as toy models bear them.
    static func preset(_ name: String) -> Self? {
        var rounds = Self()
        switch name {
        case "diloco": break
        case "streaming":
            rounds.fragments = .stridedThrees
            rounds.overlap = .steps(2, alpha: 0.25)
            rounds.codec = .e3m0
            rounds.exchange = .scatter(result: .e3m0, ownerFeedback: 0)
        case "sparse":
            rounds.rule = OuterRule(learningRate: 1, momentum: 0)
            rounds.feedback = 0.95
            rounds.exchange = .gather
        case "co2":
            rounds.overlap = .wholeRound
            rounds.rule = OuterRule(
                learningRate: 0.5, momentum: 0.2, method: .staleHeavyBall(.gap, clip: .rootMeanSquares(5)))
        case "eager": rounds.overlap = .eager
        case "delayed": rounds.overlap = .wholeRound
        default: return nil
        }
        return rounds
    }
}
