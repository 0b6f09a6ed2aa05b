import Corpus
import Experts
import LanguageModel
import Numerics

/// Scores sets of experts on held-out text: of each domain's windows every second one is scored, and the others are the
/// sample from which cached priors and weights are taken.
struct BranchScore {
    /// Windows that are scored, domain by domain, and then those of the samples.
    private let sequences: [[Int32]]
    /// Per domain, places of its scored windows and of its sample.
    private let scored, samples: [Range<Int>]
    private let layout: ParameterLayout
    private let pool = WorkerPool(threadCount: 1)

    init(_ corpora: [Corpus], layout: ParameterLayout, windows: Int) throws {
        self.layout = layout
        var (scored, samples): ([[[Int32]]], [[[Int32]]]) = ([], [])
        for corpus in corpora {
            let all = try corpus.heldOutWindows(countMax: 2 * windows).flatMap { domain in
                (0..<domain.windows.count).map { Array(domain.windows[$0]) }
            }
            guard all.count >= 2 else { throw LabError("a domain has fewer than two held-out windows") }
            scored.append(all.indices.filter { $0 % 2 == 0 }.map { all[$0] })
            samples.append(all.indices.filter { $0 % 2 == 1 }.map { all[$0] })
        }
        var places: [Range<Int>] = []
        var first = 0
        for windows in scored + samples {
            places.append(first..<first + windows.count)
            first += windows.count
        }
        sequences = (scored + samples).flatMap { $0 }
        self.scored = Array(places.prefix(corpora.count))
        self.samples = Array(places.dropFirst(corpora.count))
    }

    /// Each domain's loss per token under one model.
    func losses(_ parameters: FloatBuffer) throws -> [Double] {
        try scored.map { try loss(parameters, $0) }
    }

    private func loss(_ parameters: FloatBuffer, _ places: Range<Int>) throws -> Double {
        let losses = try TokenLosses(
            layout: layout, parameters: parameters, sequences: Array(sequences[places]), pool: pool
        ).sequences.flatMap { $0 }
        return losses.reduce(0, +) / Double(losses.count)
    }

    /// Each domain's loss per token by all ways to use a set of experts.
    func losses(experts: [FloatBuffer]) throws -> [BranchResult.Method: [Double]] {
        var table: [BranchResult.Method: [Double]] = [:]
        let losses = try experts.map {
            try TokenLosses(layout: layout, parameters: $0, sequences: sequences, pool: pool).sequences
        }
        table[.uniformAverage] = try self.losses(
            ParameterAverage.of(experts, weights: experts.map { _ in 1 }))
        for domain in scored.indices {
            let blocks = losses.map { Array($0[scored[domain]]) }
            let sample = losses.map { Array($0[samples[domain]]) }
            var learnt = DomainPrior(updating: experts.count)
            _ = EnsembleScore(sample, prior: &learnt, rule: .bayes)
            func mix(_ prior: DomainPrior, _ rule: MixtureRule = .bayes, top: Int? = nil) -> Double {
                var prior = prior
                return EnsembleScore(blocks, prior: &prior, rule: rule, topCount: top).meanLoss
            }
            let moving = DomainPrior(updating: experts.count)
            let own = blocks[domain].flatMap { $0 }
            let weights = PosteriorWeights(losses: sample.map { $0.map { $0.reduce(0, +) } }).mean
            let row: [(BranchResult.Method, Double)] = [
                (.expert, own.reduce(0, +) / Double(own.count)), (.ensemble, mix(moving)),
                (.cachedEnsemble, mix(learnt.cached)), (.uniformEnsemble, mix(DomainPrior(uniform: experts.count))),
                (.topOne, mix(moving, top: 1)), (.topTwo, mix(moving, top: 2)),
                (.previousToken, mix(moving, .previousToken)),
                (.posteriorAverage, try loss(ParameterAverage.of(experts, weights: weights), scored[domain])),
            ]
            for (method, loss) in row { table[method, default: []].append(loss) }
        }
        return table
    }
}
