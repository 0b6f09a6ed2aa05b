import OuterSync
import Testing

@Suite struct CoefficientsTests {
    private static func plain(_ shares: [(UInt64, UInt64)], cap: Double = 4) -> [Double] {
        Coefficients(shares.map { TrainingShare(tokens: $0.0, steps: $0.1) }, cap: cap).fixed.map {
            Double($0) / 0x1p24
        }
    }

    @Test(arguments: [1, 2, 4, 8, 64])
    func equalSharesGiveTheirFraction(count: Int) {
        let coefficients = Self.plain([(UInt64, UInt64)](repeating: (24_000, 30), count: count))
        #expect(coefficients.allSatisfy { $0 == 1 / Double(count) })
    }

    @Test func anAloneContributorCountsOnceWhateverItDid() {
        for share in [(1, 1), (8192, 1), (1 << 40, 1 << 32), (12_345, 678)] as [(UInt64, UInt64)] {
            #expect(Self.plain([share]) == [1])
        }
    }

    @Test func contributionsAreDividedByTheirStepsAndWeightedByTheirTokens() {
        // p = 0.75, 0.25; hbar = 0.75 * 30 + 0.25 * 10 = 25.
        let coefficients = Self.plain([(30_000, 30), (10_000, 10)])
        #expect(abs(coefficients[0] - 0.75 * 25 / 30) < 1e-7 && abs(coefficients[1] - 0.25 * 25 / 10) < 1e-7)
    }

    @Test func tokenWeightsAreTheSharesOfTheTokensWhateverTheSteps() {
        func weights(_ shares: [(UInt64, UInt64)]) -> [Double] {
            Coefficients(
                shares.map { TrainingShare(tokens: $0.0, steps: $0.1) }, cap: 4, weighting: .tokens
            ).fixed.map { Double($0) / 0x1p24 }
        }
        #expect(weights([(30_000, 30), (10_000, 10)]) == [0.75, 0.25])
        #expect(weights([(8_000, 10), (8_000, 1)]) == [0.5, 0.5])
        // Beyond four times the lower median a token counts no more.
        let boast = weights([(1_000, 1), (1_000, 1), (1_000, 1), (1 << 40, 1)])
        #expect(abs(boast[3] - 4.0 / 7) < 1e-6 && abs(boast[0] - 1.0 / 7) < 1e-6)
    }

    @Test func theCoefficientsDoNotDependOnTheOrder() {
        let shares: [(UInt64, UInt64)] = [(1 << 39, 3), (24_000, 30), (123_457, 17), (999, 999)]
        let reference = Self.plain(shares)
        for shift in 1..<4 {
            let rotated = shares.indices.map { shares[($0 + shift) % 4] }
            #expect(Self.plain(rotated) == shares.indices.map { reference[($0 + shift) % 4] })
        }
    }

    @Test func boastingGainsFourTimesTheMedianAtMostAndTakesLittleFromTheOthers() {
        let honest: [(UInt64, UInt64)] = [(24_000, 30), (24_000, 30), (24_000, 30)]
        let tokens = Self.plain(honest + [(1 << 40, 30)])
        #expect(tokens[3] <= 4.001 * tokens[0] && tokens[0] > 0.13)
        let oneStep = Self.plain(honest + [(1 << 40, 1)])
        #expect(oneStep[3] <= 4.001 * oneStep[0])
        let steps = Self.plain(honest + [(1 << 32, 1 << 32)])
        #expect(steps.allSatisfy { $0 <= 4 })
    }

    @Test func theLargestSharesDoNotOverflow() {
        let many = [(UInt64, UInt64)](repeating: (1 << 40, 1 << 32), count: Coefficients.contributorCountMax)
        #expect(Self.plain(many).allSatisfy { $0 == 1 / Double(Coefficients.contributorCountMax) })
    }

    @Test func impossibleSharesDoNotContribute() {
        for (tokens, steps) in [(0, 0), (5, 0), (5, 6), (1 << 41, 1), (1 << 40, 1 << 33)] as [(UInt64, UInt64)] {
            #expect(!TrainingShare(tokens: tokens, steps: steps).contributes)
        }
        #expect(TrainingShare(tokens: 1, steps: 1).contributes)
    }

    @Test func theEffectiveCountIsTheCountForEqualSharesAndLessForOthers() {
        let share = TrainingShare(tokens: 24_000, steps: 30)
        #expect(Coefficients([share, share, share, share], cap: 4).effectiveCount == 4)
        let mixed = Coefficients([share, TrainingShare(tokens: 8_000, steps: 30)], cap: 4)
        #expect(mixed.effectiveCount > 1.5 && mixed.effectiveCount < 1.7)
    }
}
