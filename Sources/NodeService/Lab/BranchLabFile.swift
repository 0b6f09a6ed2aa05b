import Lab
import LanguageModel

/// A Branch-Train-Merge experiment as a person writes it in YAML: `kind: branch-train-merge`, text by domain, seeds, and
/// what differs from the defaults.
struct BranchLabFile {
    /// What `kind` says.
    static let kind = "branch-train-merge"

    /// `--data` values, one domain each.
    var data: [String]
    /// The seeds.
    var seeds: [UInt64]
    /// The experiment.
    var settings: BranchSettings

    /// Whether a laboratory file is of this kind.
    static func describes(_ text: String, name: String) throws(YAMLProblem) -> Bool {
        var mapping = try YAMLMapping.parse(text, name: name)
        guard let kind = try mapping.string("kind") else { return false }
        guard kind == Self.kind else {
            throw YAMLProblem(description: "\(name): 'kind' must be \(Self.kind), or left out for a grid")
        }
        return true
    }

    /// Reads a file; unknown and misspelt keys are errors.
    static func parse(_ text: String, name: String) throws(YAMLProblem) -> BranchLabFile {
        var mapping = try YAMLMapping.parse(text, name: name)
        mapping.ignore(["kind"])
        guard let data = try mapping.strings("data"), data.count >= 2 else {
            throw YAMLProblem(description: "\(name): 'data' must name at least two domains")
        }
        var seeds: [UInt64] = []
        for seed in try mapping.strings("seeds") ?? ["1", "2", "3"] {
            guard let number = UInt64(seed), !seeds.contains(number) else {
                throw YAMLProblem(description: "\(name): 'seeds' must be different whole numbers")
            }
            seeds.append(number)
        }
        var settings = BranchSettings()
        if let model = try mapping.choice("model", "nano or micro", ModelConfiguration.preset(named:)) {
            guard model.vocabularySize == 256 else {
                throw YAMLProblem(description: "\(name): the laboratory trains on bytes: nano or micro")
            }
            settings.model = model
        }
        let context = settings.model.contextLength
        if let window = try mapping.integer("window", in: 8...context) { settings.windowTokens = window }
        if let batch = try mapping.integer("global_batch", in: 1...4096) { settings.globalBatch = batch }
        if let steps = try mapping.integer("steps", in: 1...1_000_000) { settings.steps = steps }
        if let count = try mapping.integer("held_out_windows", in: 1...10_000) { settings.heldOutWindows = count }
        if let rate = try mapping.number("learning_rate", in: 1e-8...1) { settings.inner.learningRate = Float(rate) }
        settings.seedFractions = try fractions(&mapping, "seed_fractions", name) ?? settings.seedFractions
        settings.randomFractions = try fractions(&mapping, "random_split", name) ?? settings.randomFractions
        guard settings.randomFractions.allSatisfy(settings.seedFractions.contains) else {
            throw YAMLProblem(description: "\(name): 'random_split' may only list what 'seed_fractions' lists")
        }
        try mapping.finish()
        return BranchLabFile(data: data, seeds: seeds, settings: settings)
    }

    private static func fractions(
        _ mapping: inout YAMLMapping, _ key: String, _ name: String
    ) throws(YAMLProblem) -> [Double]? {
        guard let texts = try mapping.strings(key) else { return nil }
        var fractions: [Double] = []
        for text in texts {
            guard let fraction = Double(text), fraction >= 0, fraction < 1, fraction > fractions.last ?? -1 else {
                throw YAMLProblem(description: "\(name): '\(key)' must be rising numbers from 0 to below 1")
            }
            fractions.append(fraction)
        }
        return fractions
    }
}
