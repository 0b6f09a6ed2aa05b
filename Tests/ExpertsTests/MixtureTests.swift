import Experts
import Glibc
import Testing

/// Three tokens, two experts.
private let golden = [[0.5, 0.1, 0.8], [0.25, 0.4, 0.2]]

@Suite struct MixtureTests {
    /// The mixture's probability of each token.
    private func mix(_ prior: [Double], _ rule: MixtureRule, _ probabilities: [[Double]] = golden) -> [Double] {
        var mixture = Mixture(prior: prior, rule: rule)
        return probabilities[0].indices.map { token in exp(mixture.observe { log(probabilities[$0][token]) }) }
    }

    private func isClose(_ left: [Double], _ right: [Double], _ tolerance: Double = 1e-12) -> Bool {
        left.count == right.count && zip(left, right).allSatisfy { abs($0 - $1) < tolerance }
    }

    @Test func goldenMixtures() {
        let bayes = mix([0.5, 0.5], .bayes)
        #expect(isClose(bayes, [0.375, 0.2, 0.4]))
        #expect(abs(exp(-bayes.reduce(0) { $0 + log($1) } / 3) - 3.2183) < 5e-5)
        let previous = mix([0.5, 0.5], .previousToken)
        #expect(isClose(previous, [0.375, 0.2, 0.32]))
        #expect(abs(exp(-previous.reduce(0) { $0 + log($1) } / 3) - 3.4668) < 5e-5)
    }

    @Test func goldenPosteriors() {
        var mixture = Mixture(prior: [0.5, 0.5], rule: .bayes)
        var weights = [mixture.weights]
        for token in 0..<3 {
            _ = mixture.observe { log(golden[$0][token]) }
            weights.append(mixture.weights)
        }
        for (given, expected) in zip(
            weights, [[0.5, 0.5], [2.0 / 3, 1.0 / 3], [1.0 / 3, 2.0 / 3], [2.0 / 3, 1.0 / 3]])
        { #expect(isClose(given, expected)) }
    }

    @Test func bayesGivesTheEvidenceOfTheWholeText() {
        // Σ log p(t) = log Σ_j π_j exp L_j, also where the likelihoods themselves are beyond a double.
        var mixture = Mixture(prior: [0.3, 0.7], rule: .bayes)
        let losses: [Double] = [3.1, 2.9]
        var sum = 0.0
        for _ in 0..<1000 { sum += mixture.observe { -losses[$0] } }
        let expected = -2900 + log(0.7 + 0.3 * exp(-200))
        #expect(abs(sum - expected) < 1e-9)
    }

    @Test func thePreviousTokenRuleStartsEquallyWhateverThePrior() {
        let probabilities = mix([0.9, 0.1], .previousToken)
        #expect(abs(probabilities[0] - 0.375) < 1e-12)
        // Then the prior counts: 0.45 to 0.025 of 0.475.
        #expect(abs(probabilities[1] - (0.45 * 0.1 + 0.025 * 0.4) / 0.475) < 1e-12)
    }

    @Test(arguments: MixtureRule.allCases) func aOneHotPriorGivesThatExpertBitForBit(_ rule: MixtureRule) {
        let losses = (0..<50).map { 3 * sin(Double($0)) + 3.5 }
        var mixture = Mixture(prior: [0, 1, 0], rule: rule)
        for loss in losses {
            // What has no share is not asked.
            let mixed = mixture.observe { expert in
                #expect(expert == 1)
                return -loss
            }
            #expect(mixed == -loss)
        }
        #expect(mixture.weights == [0, 1, 0])
    }

    @Test(arguments: MixtureRule.allCases) func equalExpertsAreAsGoodAsOne(_ rule: MixtureRule) {
        var mixture = Mixture(prior: [0.2, 0.3, 0.5], rule: rule)
        for step in 0..<50 {
            let logProbability = -2 - sin(Double(step))
            #expect(abs(mixture.observe { _ in logProbability } - logProbability) < 1e-14)
        }
    }
}

@Suite struct DomainPriorTests {
    @Test func goldenMovingAverage() throws {
        var prior = DomainPrior(updating: 2, startsAtFirst: false)
        #expect(prior.weights == [0.5, 0.5])
        prior.observe([[0.8, 0.2]])
        #expect(abs(prior.weights[0] - 0.59) < 1e-9 && abs(prior.weights[1] - 0.41) < 1e-9)
        prior.observe([[0.4, 0.6]])
        #expect(abs(prior.weights[0] - 0.533) < 1e-9 && abs(prior.weights[1] - 0.467) < 1e-9)
    }

    @Test func theFirstBatchCountsWholeAndABatchCountsByItsMean() {
        var prior = DomainPrior(updating: 2)
        prior.observe([[0.9, 0.1], [0.7, 0.3]])
        #expect(abs(prior.weights[0] - 0.8) < 1e-9)
        prior.observe([[0.4, 0.6]])
        #expect(abs(prior.weights[0] - (0.7 * 0.8 + 0.3 * 0.4)) < 1e-9)
    }

    @Test func aShareOfNothingCanComeBack() {
        var prior = DomainPrior(updating: 2)
        prior.observe([[1, 0]])
        #expect(prior.weights[1] > 0)
        for _ in 0..<20 { prior.observe([[0, 1]]) }
        #expect(prior.weights[1] > 0.99)
    }

    @Test func fixedAndCachedSharesStay() throws {
        var prior = try DomainPrior(fixed: [3, 1])
        prior.observe([[0, 1]])
        #expect(prior.weights == [0.75, 0.25])
        var moving = DomainPrior(updating: 2)
        moving.observe([[0.8, 0.2]])
        var cached = moving.cached
        cached.observe([[0, 1]])
        #expect(cached.weights == moving.weights)
        for shares in [[0.0, 0], [1, -1], [.nan, 1], [.infinity, 1]] {
            #expect(throws: EnsembleError.invalidPrior) { try DomainPrior(fixed: shares) }
        }
    }

    @Test func theLargestSharesAreKeptAndFilledUp() throws {
        let prior = try DomainPrior(fixed: [0.1, 0.4, 0.1, 0.4])
        #expect(prior.top(nil) == prior.weights && prior.top(4) == prior.weights)
        #expect(prior.top(1) == [0, 1, 0, 0])
        #expect(prior.top(2) == [0, 0.5, 0, 0.5])
        let three = prior.top(3)
        #expect(abs(three[0] - 1.0 / 9) < 1e-12 && three[2] == 0)
        // Nothing is known yet, so nobody is left out.
        var moving = DomainPrior(updating: 3)
        #expect(moving.top(1) == moving.weights)
        moving.observe([[0.1, 0.2, 0.7]])
        #expect(moving.top(1) == [0, 0, 1])
    }
}

@Suite struct EnsembleScoreTests {
    private let losses = golden.map { [$0.map { -log($0) }, $0.map { -log($0) }] }

    @Test func blocksBeginWithThePriorAndTeachIt() {
        var prior = DomainPrior(updating: 2)
        let score = EnsembleScore(losses, prior: &prior, rule: .bayes)
        #expect(score.tokens == 6)
        // The first block: 0.375 · 0.2 · 0.4; its posterior 2/3, 1/3 is the second one's prior.
        let second = 2.0 / 3 * 0.04 + 1.0 / 3 * 0.02
        #expect(abs(score.loss + log(0.03) + log(second)) < 1e-9)
        let posterior = 2.0 / 3 * 0.04 / second
        #expect(abs(score.posterior[0] - (2.0 / 3 + posterior) / 2) < 1e-9)
        #expect(abs(prior.weights[0] - (0.7 * 2 / 3 + 0.3 * posterior)) < 1e-9)
    }

    @Test func expertsThatTakeNoPartKeepTheirShare() throws {
        let losses = [[[1.0, 1]], [[2, 2]], [[3, 3]]]
        var fixed = try DomainPrior(fixed: [0.2, 0.5, 0.3])
        #expect(EnsembleScore(losses, prior: &fixed, rule: .bayes, topCount: 1).loss == 4)
        var moving = DomainPrior(updating: 3)
        moving.observe([[0.2, 0.5, 0.3]])
        _ = EnsembleScore(losses, prior: &moving, rule: .bayes, topCount: 2)
        #expect(abs(moving.weights[0] - 0.2) < 1e-9)
        // Of the others' 0.8 by their losses on this block, with 0.5 and 0.3 before it.
        let second = 0.8 * 0.5 * exp(-4) / (0.5 * exp(-4) + 0.3 * exp(-6))
        #expect(abs(moving.weights[1] - (0.7 * 0.5 + 0.3 * second)) < 1e-9)
    }

    @Test func posteriorsOfSequencesOfTheirMeanAndOfAllTogether() {
        let weights = PosteriorWeights(losses: [[0, 2], [1, 0]], prior: nil)
        let first = 1 / (1 + exp(-1.0)), second = exp(-2.0) / (exp(-2.0) + 1)
        #expect(abs(weights.sequences[0][0] - first) < 1e-12 && abs(weights.sequences[1][0] - second) < 1e-12)
        #expect(abs(weights.mean[0] - (first + second) / 2) < 1e-12)
        #expect(abs(weights.joint[0] - exp(-2.0) / (exp(-2.0) + exp(-1.0))) < 1e-12)
        #expect(weights.argMax == [0, 1])
        #expect(PosteriorWeights(losses: [[0, 2], [1, 0]], prior: [1, 0]).mean == [1, 0])
    }
}
